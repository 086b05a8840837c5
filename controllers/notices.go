package controllers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/imclients"
	"github.com/groupgate/groupgate/internal/notices"
	"github.com/groupgate/groupgate/internal/prunerun"
	"github.com/groupgate/groupgate/internal/term"
)

const (
	// concurrentNotices is how many notices to one kind of receiver are under way at a time.
	concurrentNotices = 4
	// recordTimeout and recordTries bound the recording of what became of a notice.
	recordTimeout = 10 * time.Second
	recordTries   = 10
)

// noticeBackoff is between two attempts after a receiver failed.
var noticeBackoff = wait.Backoff{Duration: 5 * time.Second, Factor: 2, Jitter: 0.5, Steps: 10, Cap: 10 * time.Minute}

// Receiver gets the notices of plans that await approval.
type Receiver interface {
	// Notice returns a function that sends the notice about run, and a key of where it goes; nil if there is nothing
	// to send.
	Notice(ctx context.Context, run *v1alpha1.PruneRun) (send SendNotice, key string, err error)
}

// SendNotice sends the notice about a run as it is recorded. If the context ends, it waits for nothing more, but ends
// within seconds what it has begun to send: the outcome would be in doubt otherwise.
type SendNotice func(context.Context, *v1alpha1.PruneRun) notices.Outcome

// Notices tells a receiver of plans that await approval, in a term. What is still to be done is in the statuses of the
// runs, so nothing is lost with a process, and the queue holds names only.
//
// A receiver is told of a plan at most once, also by leaders that follow each other: a notice is sent only once its
// status says Sending, which the optimistic lock lets one leader write. A leader that finds this status took over from
// a process that ended before it knew the outcome, and does not send again. So it errs on the side of none.
type Notices struct {
	// Client reads runs from the cache and patches their statuses; Live reads them from the API server.
	Client client.Client
	Live   client.Reader
	Term   *term.Term
	To     v1alpha1.NoticeReceiver
	Receiver
	Now func() time.Time
	// Metrics, if set, counts.
	Metrics *NoticeMetrics

	pauses noticePauses
}

// SetupWithManager makes the manager run the controller.
func (n *Notices) SetupWithManager(mgr manager.Manager) error {
	everyReplica := false
	name := map[v1alpha1.NoticeReceiver]string{
		v1alpha1.NoticeReceiverWebhook: "notice-webhook", v1alpha1.NoticeReceiverGroup: "notice-group",
	}[n.To]
	err := builder.ControllerManagedBy(mgr).
		Named(name).
		For(&v1alpha1.PruneRun{}, builder.WithPredicates(predicate.NewPredicateFuncs(n.concerns))).
		Watches(&v1alpha1.IMApp{}, handler.EnqueueRequestsFromMapFunc(n.ofApp), builder.WithPredicates(specChanged)).
		WatchesRawSource(n.Term.Source(func(ctx context.Context) []reconcile.Request {
			return n.requests(ctx, func(*v1alpha1.PruneRun) bool { return true })
		})).
		WithOptions(controller.Options{
			LogConstructor:          logOf(mgr, name, "run"),
			NeedLeaderElection:      &everyReplica,
			MaxConcurrentReconciles: concurrentNotices,
			CacheSyncTimeout:        forever,
		}).
		Complete(n)
	if err != nil {
		return fmt.Errorf("set up the notices: %w", err)
	}
	return nil
}

// concerns reports whether there is something to do about the notice of a run.
func (n *Notices) concerns(object client.Object) bool {
	run, ok := object.(*v1alpha1.PruneRun)
	if !ok || !n.Term.Held() {
		return false
	}
	switch prunerun.NoticeTo(run, n.To) {
	case v1alpha1.NoticeResultSending: // what became of it is to be recorded, whatever became of the plan
		return true
	case "", v1alpha1.NoticeResultNotSent, v1alpha1.NoticeResultWithheld:
		return prunerun.WaitsForPerson(run) && !prunerun.PlanExpired(run, n.Now())
	}
	return false
}

// ofApp are the runs of an app that was edited.
func (n *Notices) ofApp(ctx context.Context, app client.Object) []reconcile.Request {
	return n.requests(ctx, func(run *v1alpha1.PruneRun) bool {
		return run.Namespace == app.GetNamespace() && run.Spec.AppRef.Name == app.GetName()
	})
}

func (n *Notices) requests(ctx context.Context, want func(*v1alpha1.PruneRun) bool) []reconcile.Request {
	var list v1alpha1.PruneRunList
	if err := n.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "Prune runs could not be listed: notices wait for their next change")
		return nil
	}
	return requestsFor(list.Items, func(run *v1alpha1.PruneRun) bool { return want(run) && n.concerns(run) })
}

// Reconcile sends the notice of one run, if there is one to send.
func (n *Notices) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	ctx, leave, ok := n.Term.Join(ctx)
	if !ok {
		return reconcile.Result{}, nil
	}
	defer leave()
	var run v1alpha1.PruneRun
	if err := n.Client.Get(ctx, request.NamespacedName, &run); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !n.concerns(&run) {
		return reconcile.Result{}, nil
	}
	after, err := n.notice(ctx, &run)
	if apierrors.IsConflict(err) { // the cache is behind, or another has written the run: look again
		return reconcile.Result{RequeueAfter: time.Second}, nil
	}
	return reconcile.Result{RequeueAfter: after}, client.IgnoreNotFound(err)
}

func (n *Notices) notice(ctx context.Context, run *v1alpha1.PruneRun) (again time.Duration, err error) {
	if prunerun.NoticeTo(run, n.To) == v1alpha1.NoticeResultSending {
		return 0, n.took(ctx, run)
	}
	send, key, err := n.Notice(ctx, run)
	if err != nil || send == nil {
		return 0, err
	}
	if left := n.pauses.left(key, n.Now()); left > 0 {
		return left, nil
	}
	if err := n.record(ctx, run, notices.Outcome{Result: v1alpha1.NoticeResultSending}); err != nil {
		return 0, err
	}
	outcome := send(ctx, run)
	if outcome.Err != nil {
		again = n.pauses.begin(key, n.Now())
		log.FromContext(ctx).Error(outcome.Err, "Notice failed", "to", n.To, "result", outcome.Result)
	} else {
		n.pauses.end(key)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout) // even if the term has ended
	defer cancel()
	return again, n.recordOutcome(ctx, run, outcome)
}

// took records that it is not known what became of a notice that another process sent.
func (n *Notices) took(ctx context.Context, run *v1alpha1.PruneRun) error {
	outcome := notices.Outcome{
		Result:  v1alpha1.NoticeResultUnknown,
		Message: "The manager ended while it sent the notice, which may have arrived.",
	}
	if err := n.record(ctx, run, outcome); err != nil {
		return err
	}
	n.Metrics.noticed(n.To, outcome.Result)
	return nil
}

// recordOutcome records what became of a notice, also if the run was written meanwhile, unless another leader has come
// to a conclusion.
func (n *Notices) recordOutcome(ctx context.Context, run *v1alpha1.PruneRun, outcome notices.Outcome) error {
	n.Metrics.noticed(n.To, outcome.Result)
	uid := run.UID
	for try := 1; ; try++ {
		err := n.record(ctx, run, outcome)
		if !apierrors.IsConflict(err) || try == recordTries {
			return err
		}
		if err := n.Live.Get(ctx, client.ObjectKeyFromObject(run), run); err != nil {
			return fmt.Errorf("read the prune run live: %w", err)
		}
		if run.UID != uid || prunerun.NoticeTo(run, n.To) != v1alpha1.NoticeResultSending {
			return nil
		}
	}
}

// record writes into the status of run, under optimistic lock. With an error run is as it was. What is not recorded
// must not be sent: each change of the leader would send it again.
func (n *Notices) record(ctx context.Context, run *v1alpha1.PruneRun, outcome notices.Outcome) error {
	next := run.DeepCopy()
	prunerun.SetNotice(next, n.To, outcome.Result, outcome.Message, n.Now())
	patch := client.MergeFromWithOptions(run, client.MergeFromWithOptimisticLock{})
	if err := n.Client.Status().Patch(ctx, next, patch); err != nil {
		return fmt.Errorf("record the notice: %w", err)
	}
	if prunerun.NoticeTo(next, n.To) != outcome.Result { // the API server drops what it does not know, without an error
		return errors.New("record the notice: the CustomResourceDefinition of PruneRun has no status.notices: " +
			"apply the one of this version")
	}
	*run = *next
	return nil
}

// setUpNotices adds the controllers of the receivers that there may be.
func setUpNotices(mgr manager.Manager, c Config, leader *term.Term, clients *imclients.Pool) error {
	metrics := NewNoticeMetrics(c.Registerer)
	receivers := map[v1alpha1.NoticeReceiver]Receiver{
		v1alpha1.NoticeReceiverGroup: groupReceiver{&notices.Group{
			Reader: mgr.GetClient(), Clients: clients, Page: c.PageURL, Now: c.Now,
		}},
	}
	if c.Webhook != nil {
		receivers[v1alpha1.NoticeReceiverWebhook] = webhookReceiver{c.Webhook}
	}
	for to, receiver := range receivers {
		n := &Notices{
			Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Term: leader, To: to, Receiver: receiver,
			Now: c.Now, Metrics: metrics,
		}
		if err := n.SetupWithManager(mgr); err != nil {
			return err
		}
	}
	return nil
}

// noticePauses hold notices back from receivers that fail, so that a thousand plans make a few attempts, not a
// thousand.
type noticePauses struct {
	mu     sync.Mutex
	pauses map[string]*noticePause
}

type noticePause struct {
	until   time.Time
	backoff wait.Backoff
}

// begin begins a pause, unless one lasts, and returns how long it lasts.
func (p *noticePauses) begin(key string, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pauses == nil {
		p.pauses = map[string]*noticePause{}
	}
	pause := p.pauses[key]
	if pause == nil {
		pause = &noticePause{backoff: noticeBackoff}
		p.pauses[key] = pause
	}
	if !now.Before(pause.until) {
		pause.until = now.Add(pause.backoff.Step())
	}
	return pause.until.Sub(now)
}

// left is how long a pause lasts, 0 if there is none.
func (p *noticePauses) left(key string, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pause := p.pauses[key]; pause != nil {
		return max(pause.until.Sub(now), 0)
	}
	return 0
}

func (p *noticePauses) end(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.pauses, key)
}

// webhookReceiver is the webhook that flags name.
type webhookReceiver struct{ *notices.Webhook }

// Notice implements Receiver.
func (w webhookReceiver) Notice(context.Context, *v1alpha1.PruneRun) (SendNotice, string, error) {
	// The webhook waits for nothing but the answer.
	send := func(ctx context.Context, run *v1alpha1.PruneRun) notices.Outcome {
		return w.Send(context.WithoutCancel(ctx), run)
	}
	return send, "", nil
}

// groupReceiver is the group that the IMApp names.
type groupReceiver struct{ *notices.Group }

// Notice implements Receiver.
func (g groupReceiver) Notice(ctx context.Context, run *v1alpha1.PruneRun) (SendNotice, string, error) {
	app, err := g.Names(ctx, run)
	if err != nil || app == nil {
		return nil, "", err
	}
	send := func(ctx context.Context, run *v1alpha1.PruneRun) notices.Outcome { return g.Send(ctx, app, run) }
	return send, client.ObjectKeyFromObject(app).String() + "/" + app.Spec.Notify.Group, nil
}
