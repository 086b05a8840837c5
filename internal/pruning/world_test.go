package pruning

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/imclients"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
)

func TestMain(m *testing.M) { os.Exit(labtest.Main(m)) }

// Short names of what nearly every test uses.
const (
	fullGroup   = labtest.FullGroup
	statusPatch = labtest.StatusPatch
	apiGroup    = labtest.GetGroup
	apiList     = labtest.ListMembers
	apiNamed    = labtest.NamedMembers
	apiDelete   = labtest.Delete
	apiAdd      = labtest.Add
)

var (
	must, eventually = labtest.Must, labtest.Eventually
	wantConditions   = labtest.WantConditions
	seats            = labtest.Seats
	planOf           = labtest.Planned
	without          = labtest.Without
)

// world is a namespace with an emulated vendor, in which replicas take Steps.
type world struct {
	*labtest.World
	t        *testing.T
	refusals atomic.Int32 // of deletions, see refuseToRemove
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{World: labtest.NewWorld(t), t: t}
}

// change edits an object of the world.
func change[T client.Object](w *world, object T, name string, edit func(T)) {
	w.t.Helper()
	labtest.Edit(w.World, object, name, edit)
}

// setPruning edits the app; the snapshot does not show that before the next Publish.
func (w *world) setPruning(state v1alpha1.PruningState) {
	w.t.Helper()
	change(w, &v1alpha1.IMApp{}, labtest.App, func(app *v1alpha1.IMApp) { app.Spec.Pruning = state })
}

// editPolicy edits a policy; the snapshot does not show that before the next Publish.
func (w *world) editPolicy(name string, edit func(*v1alpha1.GroupPolicy)) {
	w.t.Helper()
	change(w, &v1alpha1.GroupPolicy{}, name, edit)
}

// editRecord edits the record of a run.
func (w *world) editRecord(name string, edit func(*v1alpha1.PruneRun)) {
	w.t.Helper()
	run := w.Get(name)
	edit(run)
	must(w.t, w.Client.Status().Update(w.t.Context(), run))
}

// proxied puts a proxy before the vendor, for replicas that are made later.
func (w *world) proxied(serve func(next http.Handler, rw http.ResponseWriter, r *http.Request)) {
	w.t.Helper()
	vendor, err := url.Parse(w.URL)
	must(w.t, err)
	next := httputil.NewSingleHostReverseProxy(vendor)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { serve(next, rw, r) }))
	w.t.Cleanup(server.Close)
	w.URL = server.URL
}

func listNamed(name string) []v1alpha1.AccountListReference {
	return []v1alpha1.AccountListReference{{Name: name}}
}

// replica is one process that believes to be the leader.
type replica struct {
	*Engine
	w    *world
	ctx  context.Context
	end  context.CancelCauseFunc
	term uint64
}

var errTermEnded = errors.New("the term has ended")

func (w *world) replica() *replica {
	w.t.Helper()
	ctx, end := context.WithCancelCause(w.t.Context())
	return &replica{
		Engine: &Engine{
			Client: w.Client, Live: w.Client, Snapshots: w.Store, Events: w.Events, Now: w.Clock.Now,
			Clients: &imclients.Pool{Reader: w.Client, Endpoint: w.URL, Now: w.Clock.Now, Sleep: w.Clock.Sleep},
		},
		w: w, ctx: ctx, end: end, term: 1,
	}
}

// kill ends the term of the replica.
func (r *replica) kill() { r.end(errTermEnded) }

// step takes one Step, with the run as a cache without delay has it.
func (r *replica) step(name string) (Next, error) {
	r.w.t.Helper()
	return r.Step(r.ctx, r.term, r.w.Get(name))
}

// mustStep takes one Step without an error.
func (r *replica) mustStep(name string) {
	r.w.t.Helper()
	_, err := r.step(name)
	must(r.w.t, err)
}

// finish takes Steps until the run has ended. A run that needs more than 20 never ends.
func (r *replica) finish(name string) *v1alpha1.PruneRun { return r.stepUntil(name, prunerun.Finished) }

// finishUndo takes Steps until the undo of the run has ended.
func (r *replica) finishUndo(name string) *v1alpha1.PruneRun {
	return r.stepUntil(name, prunerun.UndoEnded)
}

// stepUntil moves the clock only as far as it takes until a deletion without an answer has ended.
func (r *replica) stepUntil(name string, done func(*v1alpha1.PruneRun) bool) *v1alpha1.PruneRun {
	r.w.t.Helper()
	var last error
	for range 20 {
		var next Next
		next, last = r.step(name)
		if run := r.w.Get(name); done(run) {
			return run
		}
		r.w.Clock.Forward(min(next.After, answerDelay))
	}
	r.w.t.Fatalf("run %s does not end: %v\n%+v", name, last, r.w.Get(name).Status.Conditions)
	return nil
}

// queue takes Steps as the queue of the controller does, by the clock of the world, for as long as that time lasts.
func (r *replica) queue(name string, during time.Duration) {
	r.w.t.Helper()
	const firstRetry, lastRetry = time.Second, time.Minute
	backoff, clock := firstRetry, r.w.Clock
	for end := clock.Now().Add(during); clock.Now().Before(end); {
		next, err := r.step(name)
		switch {
		case err != nil:
			clock.Forward(backoff)
			backoff = min(2*backoff, lastRetry)
		case next.After > 0:
			backoff = firstRetry
			clock.Forward(next.After)
		default:
			return
		}
	}
}

// storeNever has never seen a snapshot.
type storeNever struct{}

func (storeNever) Load() *policy.Snapshot { return nil }

var errBroken = errors.New("the API server is out of reach")

// brokenReader fails to read some objects.
type brokenReader struct {
	client.Reader
	broken func(any) bool
}

func (b brokenReader) Get(
	ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption,
) error {
	if b.broken(obj) {
		return errBroken
	}
	return b.Reader.Get(ctx, key, obj, opts...)
}

func (b brokenReader) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if b.broken(list) {
		return errBroken
	}
	return b.Reader.List(ctx, list, opts...)
}
