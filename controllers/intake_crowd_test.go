package controllers

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/guard"
	"github.com/groupgate/groupgate/internal/imclients"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// askingIntake asks the vendor about groups when many are pending.
func (w *world) askingIntake() *Intake {
	intake := w.intake()
	intake.Clients = &imclients.Pool{Reader: w.Client, Endpoint: w.URL, Now: w.Clock.Now, Sleep: w.Clock.Sleep}
	return intake
}

func (w *world) pruneAllGroups() {
	w.t.Helper()
	w.Policy("everywhere", v1alpha1.PruneRule{})
	change(w, &v1alpha1.GroupPolicy{}, "everywhere", func(p *v1alpha1.GroupPolicy) {
		p.Spec.Groups = []v1alpha1.GroupMatcher{{Type: v1alpha1.GroupMatcherAll}}
	})
	w.Publish()
}

func TestFloodOfForgedGroupsMakesFewRuns(t *testing.T) {
	w := newWorld(t)
	w.pruneAllGroups()
	w.Group(labtest.FullGroup, 2, 5)
	intake := w.askingIntake()
	const forged = 500
	for n := range forged {
		intake.GroupFull(w.object(), fmt.Sprintf("forged-%d", n))
	}
	intake.GroupFull(w.object(), labtest.FullGroup)
	start(t, intake.Start)
	labtest.Eventually(t, intake.empty)
	key := prunerun.Key{Namespace: w.Namespace, App: labtest.App, Group: labtest.FullGroup}
	if !w.Exists(key.Name(1)) {
		t.Error("the full group has no run")
	}
	if got := len(w.RunNames()); got > crowdFrom+1 {
		t.Errorf("%d runs for %d forged groups", got, forged)
	}
	if got := intake.count(intakeRefuted); got < forged-crowdFrom {
		t.Errorf("refuted = %v, want nearly %d", got, forged)
	}
	if calls := w.Happened(labtest.GetGroup); calls > forged/10 {
		t.Errorf("%d calls about %d groups", calls, forged)
	}
	labtest.Eventually(t, func() error {
		intake.mu.Lock()
		defer intake.mu.Unlock()
		if len(intake.crowds) != 0 {
			return fmt.Errorf("left behind: %v", intake.crowds)
		}
		return nil
	})
}

func TestGroupThatIsReportedAgainPassesAFlood(t *testing.T) {
	w := newWorld(t)
	w.pruneAllGroups()
	intake := w.askingIntake()
	intake.Client = staleCache{w.Client}
	intake.init()
	key := prunerun.Key{Namespace: w.Namespace, App: labtest.App, Group: labtest.FullGroup}
	intake.crowdOf(key.AppName()).asking = true // by this test
	park := func() {
		t.Helper()
		key, _ := intake.queue.Get()
		if asking, err := intake.asksFirst(t.Context(), key); err != nil || !asking {
			t.Fatalf("asking = %v, %v", asking, err)
		}
		intake.queue.Done(key)
	}
	for n := range maxPendingGroups {
		intake.GroupFull(w.object(), fmt.Sprintf("forged-%d", n))
	}
	labtest.Must(t, func() error {
		if intake.GroupFull(w.object(), "one too many"); intake.count(intakeOverflow) != 1 {
			return errors.New("no overflow")
		}
		return nil
	}())
	for range 100 {
		park()
	}
	intake.GroupFull(w.object(), labtest.FullGroup)
	intake.GroupFull(w.object(), labtest.FullGroup)
	for n := range 50 {
		intake.GroupFull(w.object(), fmt.Sprintf("more-%d", n))
	}
	for range maxPendingGroups - 100 + 51 {
		park()
	}
	if batch := intake.nextToAsk(key.AppName()); len(batch) != 50 || batch[0] != key {
		t.Errorf("asked about %d groups, first %v: want the one that was reported again first", len(batch), batch[0])
	}
	if got := len(intake.pending); got != maxPendingGroups {
		t.Errorf("%d groups are pending, want %d", got, maxPendingGroups)
	}
}

// crowded is an intake with groups about which the vendor is to be asked.
func (w *world) crowded() (intake *Intake, app types.NamespacedName) {
	w.t.Helper()
	w.pruneAllGroups()
	intake = w.askingIntake()
	app = types.NamespacedName{Namespace: w.Namespace, Name: labtest.App}
	intake.init()
	intake.crowdOf(app).asking = true // by the test
	for n := range crowdFrom + 1 {
		intake.GroupFull(w.object(), fmt.Sprintf("full-%d", n))
	}
	intake.processed(w.t, crowdFrom+1)
	return intake, app
}

// processed processes that many groups.
func (i *Intake) processed(t *testing.T, groups int) {
	t.Helper()
	for range groups {
		key, _ := i.queue.Get()
		i.process(t.Context(), key)
		i.queue.Done(key)
	}
}

func TestCrowdOfADeletedOrSuspendedAppIsDropped(t *testing.T) {
	for name, end := range map[string]func(w *world){
		"deleted":   func(w *world) { w.Remove(&v1alpha1.IMApp{}, labtest.App) },
		"suspended": func(w *world) { w.pruning(v1alpha1.PruningSuspended) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			intake, app := w.crowded()
			end(w)
			w.Publish()
			intake.askAbout(t.Context(), app, intake.nextToAsk(app))
			if got := intake.queue.Len(); got != crowdFrom+1 {
				t.Fatalf("%d groups are judged again, want all", got)
			}
			intake.processed(t, crowdFrom+1)
			labtest.Must(t, intake.empty())
			if calls := w.Happened(labtest.GetGroup); calls != 0 {
				t.Errorf("%d calls", calls)
			}
		})
	}
}

// brokenGets panics in Get.
type brokenGets struct{ client.Client }

func (brokenGets) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	panic("get")
}

func TestGroupIsAskedAboutAgainAfterAPanic(t *testing.T) {
	w := newWorld(t)
	intake, app := w.crowded()
	intake.Client = brokenGets{w.Client}
	if !intake.Guard.Run(guard.Intake, func() { intake.ask(t.Context(), app) }) {
		t.Fatal("no panic")
	}
	if got := intake.nextToAsk(app); len(got) != crowdFrom+1 {
		t.Errorf("%d of %d groups are asked about again", len(got), crowdFrom+1)
	}
}
