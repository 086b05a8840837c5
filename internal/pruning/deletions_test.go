package pruning

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/im/imrest"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// lateDeletion sends the first deletion of a world, which is answered 502 at once, or by a process that ends.
// carriedOut makes the vendor carry it out 2 s later.
func lateDeletion(t *testing.T, w *world, killed bool) (carriedOut func() bool) {
	t.Helper()
	r := w.replica()
	if killed {
		w.OnPatch(2, func(_ *v1alpha1.PruneRun, send func() error) error {
			err := send()
			w.Once(apiDelete, 1, r.kill)
			return err
		})
	}
	w.Fault(emulator.Fault{API: apiDelete, Kind: emulator.FaultHTTP, Status: 502, Count: 1})
	_, _ = r.step("one")
	w.Serving.Wait()
	w.EachPatch(nil)
	w.Once(apiDelete, 0, nil)
	sent, batch := w.Clock.Now(), planOf(w.Get("one"))[:100]
	done := false
	return func() bool {
		if !done && w.Clock.Now().Sub(sent) >= 2*time.Second {
			_, err := w.Emulator.Quit(t.Context(), fullGroup, batch...)
			must(t, err)
			done = true
		}
		return done
	}
}

// The vendor answers 502, or the leader is replaced, and a second later the run ends. The vendor is still at work on
// the deletion, and carries it out.
func TestDeletionCarriedOutAfterTheRunWasStoppedIsOnRecord(t *testing.T) {
	t.Parallel()
	stops := map[string]func(w *world){
		"Suspended": func(w *world) { w.setPruning(v1alpha1.PruningSuspended) },
		"Denied":    func(w *world) { w.Decide("one", v1alpha1.ApprovalDenied) },
		"Superseded": func(w *world) {
			w.editPolicy("lounge", func(p *v1alpha1.GroupPolicy) { p.Spec.WhenFull.Prune.Reason = "other" })
			w.Publish()
		},
		"Expired": func(w *world) {
			w.editRecord("one", func(run *v1alpha1.PruneRun) {
				run.Status.Plan.CreatedAt.Time = w.Clock.Now().Add(-prunerun.PlanLife)
			})
		},
	}
	for reason, stop := range stops {
		for _, killed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, another leader %t", reason, killed), func(t *testing.T) {
				t.Parallel()
				w := enforcing(t)
				carriedOut := lateDeletion(t, w, killed)
				stop(w)
				w.Clock.Forward(time.Second)
				r := w.replica() // of a new process in any case: it knows of no deletion
				for !prunerun.Finished(w.Get("one")) {
					next, err := r.step("one")
					must(t, err)
					if w.Clock.Forward(min(next.After, time.Second)); next.After == 0 {
						break
					}
					carriedOut()
				}
				if !carriedOut() {
					t.Error("the run ended while the vendor was still at work")
				}
				run := w.Get("one")
				wantConditions(t, run, "Planned=True/Planned", "Complete=True/"+reason)
				if run.Status.Removed != 100 {
					t.Errorf("removed %d on record, 100 are gone", run.Status.Removed)
				}
				asked := budget{account: seatsOf("lounge"), limit: 1000, run: "other", now: w.Clock.Now()}
				ledger := r.ledgers.of(1, prunerun.KeyOf(run).AppName(), w.Client, w.Clock.Now)
				if left, _, err := ledger.Left(t.Context(), asked); err != nil || left != 900 {
					t.Errorf("%d are left of the budget, %v; want 900", left, err)
				}
			})
		}
	}
}

// A member that comes back after a late deletion is not removed by a second one.
func TestDeletionIsNotRepeatedWhileTheFirstMayStillBeCarriedOut(t *testing.T) {
	t.Parallel()
	for _, killed := range []bool{false, true} {
		t.Run(fmt.Sprintf("another leader %t", killed), func(t *testing.T) {
			t.Parallel()
			w := enforcing(t)
			carriedOut := lateDeletion(t, w, killed)
			r := w.replica()
			back := false
			for range 60 {
				_, _ = r.step("one")
				if w.Clock.Forward(time.Second); carriedOut() && !back {
					w.comesBack("i1")
					back = true
				}
			}
			run := w.Get("one")
			wantConditions(t, run, "Planned=True/Planned", removedCondition)
			if run.Status.Removed != plannedRemovals || !slices.Contains(w.Members(fullGroup), "i1") {
				t.Errorf("removed %d, want %d, and i1 to be a member again", run.Status.Removed, plannedRemovals)
			}
			if got, want := w.Happened(apiDelete), 3; got != want {
				t.Errorf("%d deletions, want %d", got, want)
			}
		})
	}
}

// What a process knows of a deletion ends with its term: another leader may have sent one since.
func TestDeletionsAreKnownWithinATermOnly(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var d deletions
	left := func(term uint64, after time.Duration) time.Duration { return d.left(term, "run", now.Add(after)) }
	d.begin(1, "run")
	d.end(1, "run", false, now)
	got := []time.Duration{left(1, 2*time.Second), left(1, 10*time.Second)}
	d.end(1, "run", true, now.Add(10*time.Second))
	got = append(got, left(1, 10*time.Second), left(2, 11*time.Second), left(2, 15*time.Second),
		left(2, 20*time.Second), left(1, 21*time.Second))
	want := []time.Duration{7 * time.Second, 0, 0, answerDelay, 5 * time.Second, 0, answerDelay}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("left (-want,+got)\n%s", diff)
	}
}

// callAtMost sets the calls a second of the app.
func (w *world) callAtMost(rate int) {
	w.t.Helper()
	change(w, &v1alpha1.IMApp{}, labtest.App,
		func(app *v1alpha1.IMApp) { app.Spec.REST.RequestsPerSecond = int32(rate) })
	w.Publish()
}

// refuseToRemove makes the vendor answer 10004 to every deletion that names the account; "" is any.
func (w *world) refuseToRemove(account string) {
	w.t.Helper()
	w.proxied(func(next http.Handler, rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil && path.Base(r.URL.Path) == apiDelete &&
			(account == "" || strings.Contains(string(body), `"`+account+`"`)) {
			w.refusals.Add(1)
			_, _ = io.WriteString(rw, `{"ActionStatus":"FAIL","ErrorCode":10004,"ErrorInfo":"bad account"}`)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(rw, r)
	})
}

// The vendor refuses to remove one account, and with it every call that names it.
func TestAccountThatTheVendorRefusesToRemoveIsKeptAndStopsNoOther(t *testing.T) {
	t.Parallel()
	for _, rate := range []int{1, 200} {
		t.Run(fmt.Sprintf("%d calls a second", rate), func(t *testing.T) {
			t.Parallel()
			w := enforcing(t)
			w.callAtMost(rate)
			w.refuseToRemove("i1")
			r := w.replica()
			r.queue("one", time.Hour)
			run := w.Get("one")
			wantConditions(t, run, "Planned=True/Planned", removedCondition)
			want := map[string]v1alpha1.KeptReason{"i1": v1alpha1.KeptReasonVendorRefused}
			if diff := cmp.Diff(want, labtest.Kept(run)); diff != "" || run.Status.Removed != plannedRemovals-1 {
				t.Errorf("removed %d, kept (-want,+got)\n%s", run.Status.Removed, diff)
			}

			// The next plan begins with others, as long as the record of this one says so.
			w.Put(fullGroup, emulator.MemberSpec{Prefix: "n", Count: 229, InactiveFor: "35d"})
			w.editPolicy("lounge", func(p *v1alpha1.GroupPolicy) {
				p.Spec.WhenFull.Prune.Mode = v1alpha1.PruneModePreview
			})
			w.Publish()
			for _, next := range []string{"two", "three"} {
				w.Run(next, v1alpha1.PruneTriggerManual)
				r.mustStep(next)
				planned := slices.Contains(planOf(w.Get(next)), "i1")
				if want := next == "three"; planned != want {
					t.Errorf("run %s: i1 is planned: %t, want %t", next, planned, want)
				}
				w.Clock.Forward(7 * 24 * time.Hour)
			}
		})
	}
}

// A vendor that refuses every account is not asked for each, and its words are those of the end, so that somebody looks
// into it.
func TestRunOfWhichTheVendorRefusesEveryAccountFails(t *testing.T) {
	t.Parallel()
	for _, rate := range []int{1, 200} {
		t.Run(fmt.Sprintf("%d calls a second", rate), func(t *testing.T) {
			t.Parallel()
			w := enforcing(t)
			w.callAtMost(rate)
			w.refuseToRemove("")
			w.replica().queue("one", time.Hour)
			run := w.Get("one")
			wantConditions(t, run, "Planned=True/Planned", "Complete=False/VendorRefused", "Failed=True/VendorRefused")
			message := apimeta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionFailed).Message
			if !strings.Contains(message, "code 10004: bad account") {
				t.Errorf("it failed with %q", message)
			}
			if kept, asked := len(run.Status.Kept), w.refusals.Load(); kept > 2*imrest.MaxRefusals || asked > 60 {
				t.Errorf("%d are kept after %d refusals, want some %d", kept, asked, imrest.MaxRefusals)
			}
		})
	}
}
