package controllers

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/imclients"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/notices"
)

var (
	wasSent    = notices.Outcome{Result: v1alpha1.NoticeResultSent}
	wasNotSent = notices.Outcome{
		Result: v1alpha1.NoticeResultNotSent, Message: "It is busy.", Err: errors.New("busy"),
	}
)

// audience is a receiver that counts what it is told.
type audience struct {
	mu      sync.Mutex
	told    []string
	outcome func(n int) notices.Outcome // of the nth attempt; nil: sent
}

// Notice implements Receiver.
func (a *audience) Notice(context.Context, *v1alpha1.PruneRun) (SendNotice, string, error) {
	return func(_ context.Context, run *v1alpha1.PruneRun) notices.Outcome {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.told = append(a.told, run.Name)
		if a.outcome == nil {
			return wasSent
		}
		return a.outcome(len(a.told))
	}, "key", nil
}

func (a *audience) want(t *testing.T, runs ...string) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if diff := cmp.Diff(runs, a.told); diff != "" {
		t.Errorf("told of (-want,+got)\n%s", diff)
	}
}

// notices is the part of one replica that tells a receiver.
func (w *world) notices(to v1alpha1.NoticeReceiver, receiver Receiver) (_ *Notices, endTerm func()) {
	w.t.Helper()
	held, end := heldTerm(w.t)
	return &Notices{
		Client: w.Client, Live: w.Client, Term: held, To: to, Receiver: receiver, Now: w.Clock.Now,
		Metrics: NewNoticeMetrics(prometheus.NewPedanticRegistry()),
	}, end
}

// notice reconciles once.
func (w *world) notice(n *Notices, run string) (after time.Duration, err error) {
	w.t.Helper()
	result, err := n.Reconcile(w.t.Context(), reconcile.Request{NamespacedName: w.Key(run)})
	return result.RequeueAfter, err
}

func (w *world) mustNotice(n *Notices, run string) (after time.Duration) {
	w.t.Helper()
	after, err := w.notice(n, run)
	labtest.Must(w.t, err)
	return after
}

// wantNotice checks what a run says about its notice to a receiver: "" if nothing.
func (w *world) wantNotice(run string, to v1alpha1.NoticeReceiver, result v1alpha1.NoticeResult, says string) {
	w.t.Helper()
	var got v1alpha1.PruneNotice
	for _, notice := range w.Get(run).Status.Notices {
		if notice.To == to {
			got = notice
		}
	}
	if got.Result != result || !strings.Contains(got.Message, says) || (says == "") != (got.Message == "") {
		w.t.Errorf("run %s: notice %+v, want %s, %q", run, got, result, says)
	}
}

const (
	toWebhook = v1alpha1.NoticeReceiverWebhook
	toGroup   = v1alpha1.NoticeReceiverGroup
)

// plan makes a run in mode Approve, whose plan awaits approval.
func (w *world) plan(name string) *PruneRunReconciler {
	w.t.Helper()
	w.Group(labtest.FullGroup, 2, 3)
	w.Policy("club", v1alpha1.PruneRule{Mode: v1alpha1.PruneModeApprove})
	w.Run(name, v1alpha1.PruneTriggerManual)
	process := w.process()
	_, err := w.reconcile(process, name)
	labtest.Must(w.t, err)
	return process
}

func TestOnlyPlansThatAskForApprovalAreToldOf(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		mode   v1alpha1.PruneMode
		before func(w *world)
		want   []string
	}{
		"Approve": {v1alpha1.PruneModeApprove, nil, []string{"run"}},
		"Preview": {v1alpha1.PruneModePreview, nil, nil},
		"Enforce": {v1alpha1.PruneModeEnforce, nil, nil},
		"denied":  {v1alpha1.PruneModeApprove, func(w *world) { w.Decide("run", v1alpha1.ApprovalDenied) }, nil},
		"approved": {
			v1alpha1.PruneModeApprove, func(w *world) { w.Decide("run", v1alpha1.ApprovalApproved) }, nil,
		},
		"void": {v1alpha1.PruneModeApprove, func(w *world) { w.Clock.Forward(25 * time.Hour) }, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.Group(labtest.FullGroup, 2, 3)
			w.Policy("club", v1alpha1.PruneRule{Mode: tc.mode})
			w.Run("run", v1alpha1.PruneTriggerManual)
			a := &audience{}
			n, _ := w.notices(toWebhook, a)
			w.mustNotice(n, "run")
			a.want(t) // not planned yet
			_, err := w.reconcile(w.process(), "run")
			labtest.Must(t, err)
			if tc.before != nil {
				tc.before(w)
			}
			w.mustNotice(n, "run")
			w.mustNotice(n, "run")
			a.want(t, tc.want...)
			if tc.want != nil {
				w.wantNotice("run", toWebhook, v1alpha1.NoticeResultSent, "")
			}
		})
	}
}

func TestEachReceiverIsToldOnceAndTheRunGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	process := w.plan("run")
	hook, group := &audience{}, &audience{}
	n, _ := w.notices(toWebhook, hook)
	m, _ := w.notices(toGroup, group)
	w.mustNotice(n, "run")
	w.mustNotice(m, "run")
	w.Decide("run", v1alpha1.ApprovalApproved)
	if got := w.finish(process, "run").Status.Removed; got == 0 {
		t.Error("the run removed no member")
	}
	w.mustNotice(n, "run")
	hook.want(t, "run")
	group.want(t, "run")
	w.wantNotice("run", toWebhook, v1alpha1.NoticeResultSent, "")
	w.wantNotice("run", toGroup, v1alpha1.NoticeResultSent, "")
	if got := testutil.ToFloat64(n.Metrics.notices.WithLabelValues("Webhook", "Sent")); got != 1 {
		t.Errorf("%v notices counted, want 1", got)
	}
}

func TestNoticeIsNotSentUnlessItIsRecorded(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		patch labtest.PatchHook
		told  []string
		want  v1alpha1.NoticeResult
		says  string
	}{
		"the API server is out of reach": {
			func(*v1alpha1.PruneRun, func() error) error { return errBroken },
			[]string{"run"}, v1alpha1.NoticeResultSent, "",
		},
		"its answer is lost": {func(_ *v1alpha1.PruneRun, send func() error) error {
			return errors.Join(send(), errBroken)
		}, nil, v1alpha1.NoticeResultUnknown, "may have arrived"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.plan("run")
			a := &audience{}
			n, _ := w.notices(toWebhook, a)
			w.OnPatch(1, tc.patch)
			if _, err := w.notice(n, "run"); err == nil {
				t.Error("no error: nothing tries again")
			}
			a.want(t)
			w.EachPatch(nil)
			w.mustNotice(n, "run")
			a.want(t, tc.told...)
			w.wantNotice("run", toWebhook, tc.want, tc.says)
		})
	}
}

// The API server drops fields that the CustomResourceDefinition does not have, and reports success.
func TestNoticeIsNotSentIfTheDefinitionHasNoNotices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plan("run")
	a := &audience{}
	w.EachPatch(func(run *v1alpha1.PruneRun, send func() error) error {
		run.Status.Notices = nil
		return send()
	})
	for range 2 {
		n, _ := w.notices(toWebhook, a)
		if _, err := w.notice(n, "run"); err == nil || !strings.Contains(err.Error(), "apply the one of this version") {
			t.Errorf("error %v", err)
		}
	}
	a.want(t)
}

// A process that is killed, or loses the API server, between the record and the end of sending. The next leader says
// so, also of a plan that was decided about meanwhile: it would seem to be told of for ever.
func TestNoticeIsNotSentAgainByTheNextLeader(t *testing.T) {
	t.Parallel()
	for name, meanwhile := range map[string]func(w *world){
		"the plan waits":       func(*world) {},
		"the plan is approved": func(w *world) { w.Decide("run", v1alpha1.ApprovalApproved) },
		"the plan is void":     func(w *world) { w.Clock.Forward(25 * time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testNoticeOfALeaderThatEnded(t, meanwhile)
		})
	}
}

func testNoticeOfALeaderThatEnded(t *testing.T, meanwhile func(w *world)) {
	t.Helper()
	w := newWorld(t)
	w.plan("run")
	a := &audience{}
	first, end := w.notices(toWebhook, a)
	w.EachPatch(func(run *v1alpha1.PruneRun, send func() error) error {
		if run.Status.Notices[0].Result != v1alpha1.NoticeResultSending {
			return errBroken
		}
		return send()
	})
	if _, err := w.notice(first, "run"); !errors.Is(err, errBroken) {
		t.Errorf("error %v", err)
	}
	w.wantNotice("run", toWebhook, v1alpha1.NoticeResultSending, "")
	end()
	w.EachPatch(nil)
	meanwhile(w)
	second, _ := w.notices(toWebhook, a)
	w.mustNotice(second, "run")
	w.mustNotice(second, "run")
	a.want(t, "run")
	w.wantNotice("run", toWebhook, v1alpha1.NoticeResultUnknown, "may have arrived")
}

// Two replicas may both take themselves for the leader for a moment.
func TestTwoLeadersTellOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plan("run")
	a := &audience{}
	first, _ := w.notices(toWebhook, a)
	second, _ := w.notices(toWebhook, a)
	var workers sync.WaitGroup
	for _, n := range []*Notices{first, second, first, second} {
		workers.Go(func() { _, _ = w.notice(n, "run") })
	}
	workers.Wait()
	a.want(t, "run")
}

func TestNoticeThatWasNotSentIsSentLaterAndHoldsOthersBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	process := w.plan("run")
	w.Group("other", 2, 3)
	w.PolicyFor("other", "other", v1alpha1.PruneRule{Mode: v1alpha1.PruneModeApprove})
	w.Publish()
	w.RunFor("next", "other", v1alpha1.PruneTriggerManual)
	_, err := w.reconcile(process, "next")
	labtest.Must(t, err)

	a := &audience{outcome: func(n int) notices.Outcome {
		if n <= 2 {
			return wasNotSent
		}
		return wasSent
	}}
	n, end := w.notices(toWebhook, a)
	first := w.mustNotice(n, "run")
	if first < 5*time.Second || first > 8*time.Second {
		t.Errorf("the next attempt is after %s, want 5 s with jitter", first)
	}
	w.wantNotice("run", toWebhook, v1alpha1.NoticeResultNotSent, "It is busy.")
	if left := w.mustNotice(n, "next"); left == 0 || left > first {
		t.Errorf("another notice waits for %s, want the rest of %s", left, first)
	}
	w.wantNotice("next", toWebhook, "", "")
	w.Clock.Forward(first)
	if second := w.mustNotice(n, "run"); second < 10*time.Second || second > 16*time.Second {
		t.Errorf("the second pause is %s, want 10 s with jitter", second)
	}
	// The next leader goes on where this one stopped.
	end()
	n, _ = w.notices(toWebhook, a)
	w.mustNotice(n, "run")
	w.mustNotice(n, "next")
	a.want(t, "run", "run", "run", "next")
	w.wantNotice("run", toWebhook, v1alpha1.NoticeResultSent, "")
}

func TestPausesEndAtTenMinutes(t *testing.T) {
	var p noticePauses
	at := time.Now()
	var last time.Duration
	for range 20 {
		last = p.begin("key", at)
		at = at.Add(last)
	}
	if last < 10*time.Minute || last > 15*time.Minute {
		t.Errorf("the last pause is %s, want 10 to 15 min", last)
	}
}

// Whether a notice arrived is recorded whatever happens to the run, or to the term, while it is sent.
func TestOutcomeIsRecordedThoughMuchHappensMeanwhile(t *testing.T) {
	t.Parallel()
	cases := map[string]func(w *world, endTerm func()){
		"the plan is approved": func(w *world, _ func()) { w.Decide("run", v1alpha1.ApprovalApproved) },
		"the term ends":        func(_ *world, endTerm func()) { endTerm() },
	}
	for name, happens := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.plan("run")
			var end func()
			a := &audience{outcome: func(int) notices.Outcome {
				happens(w, end)
				return wasSent
			}}
			var n *Notices
			n, end = w.notices(toWebhook, a)
			w.mustNotice(n, "run")
			w.wantNotice("run", toWebhook, v1alpha1.NoticeResultSent, "")
		})
	}
}

// groupNotices are those into the group that the app names.
func (w *world) groupNotices(group string) *Notices {
	w.t.Helper()
	change(w, &v1alpha1.IMApp{}, labtest.App, func(app *v1alpha1.IMApp) {
		app.Spec.Notify = &v1alpha1.NotifySettings{Group: group}
	})
	n, _ := w.notices(toGroup, groupReceiver{&notices.Group{
		Reader: w.Client, Page: "https://page.example.com", Now: w.Clock.Now,
		Clients: &imclients.Pool{Reader: w.Client, Endpoint: w.URL, Now: w.Clock.Now, Sleep: w.Clock.Sleep},
	}})
	return n
}

func (w *world) messages(group string) []string {
	w.t.Helper()
	list, err := w.Emulator.Messages(w.t.Context(), group)
	labtest.Must(w.t, err)
	var texts []string
	for _, message := range list {
		texts = append(texts, message.Text)
	}
	return texts
}

func TestMessageIntoAGroup(t *testing.T) {
	t.Parallel()
	truncated := func(effect bool, count int) *emulator.Fault {
		return &emulator.Fault{Kind: emulator.FaultTruncate, AfterEffect: effect, Count: count}
	}
	cases := map[string]struct {
		fault    *emulator.Fault
		messages int
		want     v1alpha1.NoticeResult
		says     string
	}{
		"sent": {nil, 1, v1alpha1.NoticeResultSent, ""},
		"refused": {
			&emulator.Fault{Kind: emulator.FaultCode, Code: 80001}, 0, v1alpha1.NoticeResultNotSent, "80001",
		},
		"arrived, answer lost":    {truncated(true, 1), 1, v1alpha1.NoticeResultSent, ""},
		"lost, perhaps":           {truncated(false, 1), 1, v1alpha1.NoticeResultSent, ""},
		"arrived, no answer ever": {truncated(true, 0), 1, v1alpha1.NoticeResultUnknown, "may have arrived"},
		"a proxy answers 502": {
			&emulator.Fault{Kind: emulator.FaultHTTP, Status: 502}, 0, v1alpha1.NoticeResultUnknown, "502",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.plan("run")
			w.Group("moderators", 1, 0)
			n := w.groupNotices("moderators")
			if tc.fault != nil {
				tc.fault.API = "send_group_msg"
				w.Fault(*tc.fault)
			}
			w.mustNotice(n, "run")
			w.wantNotice("run", toGroup, tc.want, tc.says)
			got := w.messages("moderators")
			if len(got) != tc.messages {
				t.Fatalf("messages %q, want %d", got, tc.messages)
			}
			for _, text := range got {
				if !strings.Contains(text, "https://page.example.com/runs/"+w.Namespace+"/run") ||
					!strings.Contains(text, "(7 of 7 seats taken)") || strings.Contains(text, "i1") {
					t.Errorf("message %q", text)
				}
			}
		})
	}
}

func TestNoGroupIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plan("run")
	n := w.groupNotices("moderators")
	change(w, &v1alpha1.IMApp{}, labtest.App, func(app *v1alpha1.IMApp) { app.Spec.Notify = nil })
	w.mustNotice(n, "run")
	w.wantNotice("run", toGroup, "", "")
}

// Those whom a plan is about must not read that they are to be removed.
func TestMessageIsWithheldFromTheGroupOfThePlan(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plan("run")
	n := w.groupNotices(labtest.FullGroup)
	w.mustNotice(n, "run")
	w.wantNotice("run", toGroup, v1alpha1.NoticeResultWithheld, "its members would read it")
	if got := w.messages(labtest.FullGroup); got != nil {
		t.Errorf("messages %q", got)
	}
	version := w.Get("run").ResourceVersion
	w.mustNotice(n, "run")
	if got := w.Get("run").ResourceVersion; got != version {
		t.Error("that a notice is withheld is recorded again and again")
	}

	// Once the app names another group, that is told.
	w.Group("moderators", 1, 0)
	w.wantNoticeAfterEdit(n)
}

// wantNoticeAfterEdit lets the app name the group moderators, which is told then.
func (w *world) wantNoticeAfterEdit(n *Notices) {
	w.t.Helper()
	app := &v1alpha1.IMApp{}
	change(w, app, labtest.App, func(app *v1alpha1.IMApp) { app.Spec.Notify.Group = "moderators" })
	if got := n.ofApp(w.t.Context(), app); len(got) != 1 {
		w.t.Errorf("an edit enqueues %v", got)
	}
	w.mustNotice(n, "run")
	w.wantNotice("run", toGroup, v1alpha1.NoticeResultSent, "")
}

// An edit of the app need not wait for the end of the pause.
func TestGroupThatDoesNotExistIsCorrected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plan("run")
	w.Group("moderators", 1, 0)
	n := w.groupNotices("moderator")
	if after := w.mustNotice(n, "run"); after == 0 {
		t.Error("it is not tried again")
	}
	w.wantNotice("run", toGroup, v1alpha1.NoticeResultNotSent, "10010")
	w.wantNoticeAfterEdit(n)
}

// The next leader must not wait for the turn of a message, which is minutes away at a low rate.
func TestLeaderThatStopsDoesNotWaitForTheTurnOfAMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plan("run")
	w.Group("moderators", 1, 0)
	next := w.groupNotices("moderators")
	app := &v1alpha1.IMApp{}
	labtest.Must(t, w.Client.Get(t.Context(), w.Key(labtest.App), app))
	waits := make(chan struct{}, 10)
	pool := &imclients.Pool{
		Reader: w.Client, Endpoint: w.URL, Now: w.Clock.Now,
		Sleep: func(ctx context.Context, _ time.Duration) error {
			waits <- struct{}{}
			select {
			case <-ctx.Done():
			case <-t.Context().Done():
			}
			return context.Canceled
		},
	}
	rest, err := pool.Client(t.Context(), app)
	labtest.Must(t, err)
	_, err = rest.Group(t.Context(), "moderators", time.Time{}) // the message comes after it
	labtest.Must(t, err)
	leader, end := w.notices(toGroup, groupReceiver{&notices.Group{Reader: w.Client, Clients: pool, Now: w.Clock.Now}})
	noticed := make(chan error, 1)
	go func() { // ends with the term
		_, err := leader.Reconcile(t.Context(), reconcile.Request{NamespacedName: w.Key("run")})
		noticed <- err
	}()
	<-waits
	end()
	select {
	case err := <-noticed:
		labtest.Must(t, err)
	case <-time.After(10 * time.Second):
		t.Fatal("the message still waits for its turn")
	}
	w.wantNotice("run", toGroup, v1alpha1.NoticeResultNotSent, "term of this replica has ended")
	w.mustNotice(next, "run")
	w.wantNotice("run", toGroup, v1alpha1.NoticeResultSent, "")
	if got := w.messages("moderators"); len(got) != 1 {
		t.Errorf("messages %q, want 1", got)
	}
}
