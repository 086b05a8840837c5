package informers

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/guard"
)

// refusalLimit is how long a watch that is refused holds back what waits for the caches. The objects that it would
// deliver are missing from then on, until it syncs.
const refusalLimit = 10 * time.Second

// answerLimit is how long an attempt may be without a result before its watch counts as failing.
const answerLimit = 2 * time.Second

// Kinds returns an object of every kind that the snapshot depends on.
func Kinds() []client.Object {
	return []client.Object{
		&v1alpha1.IMApp{}, &v1alpha1.AccountList{}, &v1alpha1.GroupPolicy{}, &v1alpha1.PruneRun{}, &corev1.Secret{},
	}
}

// WatchState is the state of the watch of one kind in one namespace.
type WatchState struct {
	// Kind is that of an object of Kinds. Namespace is one of Options.Namespaces; empty if all of them are watched.
	Kind, Namespace string
	// FailingSince is when the watch ceased to be in order; zero while it is. It is in order while it is open and all
	// objects that it began with have been received. One that was never open has been failing since the start.
	FailingSince time.Time
	// Problem says in a few words why the watch fails; empty while it is in order, and before the first attempt ended.
	Problem string
	// RefusedSince is when the API server first answered 403 or 404, and RefusedAt when it last did. Another answer,
	// or none, makes both zero: they tell of an unbroken series.
	RefusedSince, RefusedAt time.Time
	// Synced says that the objects have been received once, and that every event handler has been called with them.
	Synced bool
	// ResourceVersion is the newest one that the informer's store has taken up, by an event, a bookmark or a list;
	// empty before the first. Event handlers are called with an object moments after the store has it.
	ResourceVersion string
	// Delivered is the version up to which the handlers that were added through Counting have been called with every
	// event; empty before they have been called with the objects that they begin with.
	Delivered string
	// Changed is the version of the newest event among these, at most Delivered: bookmarks and lists move Delivered on
	// without any change. Empty if there was no event.
	Changed string
}

// RefusedFor is how long the unbroken series of refusals lasted when it was last observed.
func (s WatchState) RefusedFor() time.Duration { return s.RefusedAt.Sub(s.RefusedSince) }

// String names the watch and its problem: "PruneRuns of namespace chat: connection refused".
func (s WatchState) String() string {
	text := s.Kind + "s"
	if stem, ok := strings.CutSuffix(s.Kind, "y"); ok {
		text = stem + "ies"
	}
	if s.Namespace != "" {
		text += " of namespace " + s.Namespace
	}
	if s.Problem != "" {
		text += ": " + s.Problem
	}
	return text
}

// Watches observes the watches of a cache that is made with its CacheOptions. All methods are safe for concurrent use.
type Watches struct {
	// Guard, if set, keeps what informers call from ending the process. It is set before the cache is made.
	Guard *guard.Guard

	now        func() time.Time
	start      time.Time
	namespaces []string // {""} for all of them

	mu      sync.Mutex
	tracked map[watchKey]*watchTrack
}

type watchKey struct{ kind, namespace string }

// NewWatches makes the Watches of a cache that is restricted to the namespaces; none means all of them.
func NewWatches(namespaces []string, now func() time.Time) *Watches {
	if len(namespaces) == 0 {
		namespaces = []string{corev1.NamespaceAll}
	}
	w := &Watches{now: now, start: now(), namespaces: slices.Clone(namespaces), tracked: map[watchKey]*watchTrack{}}
	slices.Sort(w.namespaces)
	w.namespaces = slices.Compact(w.namespaces)
	return w
}

// States returns the state of every watch that the snapshot depends on, ordered by namespace and kind. A watch is
// listed from the beginning, whether or not it has been started.
func (w *Watches) States() []WatchState {
	w.mu.Lock()
	defer w.mu.Unlock()
	states := make([]WatchState, 0, len(w.namespaces)*len(Kinds()))
	for _, namespace := range w.namespaces {
		for _, kind := range Kinds() {
			state := WatchState{FailingSince: w.start}
			key := watchKey{kindOf(kind), namespace}
			if track := w.tracked[key]; track != nil {
				state = track.current()
			}
			state.Kind, state.Namespace = key.kind, key.namespace
			states = append(states, state)
		}
	}
	return states
}

// Waiting says what the first snapshot still waits for; empty if every watch has synced.
func (w *Watches) Waiting() string {
	return summary(w.States(), func(s WatchState) bool { return !s.Synced })
}

// summary names the first of the states that are selected, and counts the others.
func summary(states []WatchState, selected func(WatchState) bool) string {
	states = slices.DeleteFunc(states, func(s WatchState) bool { return !selected(s) })
	if len(states) == 0 {
		return ""
	}
	// What fails for the longest time explains the most; without a problem it only takes its time.
	first := slices.MinFunc(states, func(a, b WatchState) int {
		if order := cmp.Compare(min(1, len(b.Problem)), min(1, len(a.Problem))); order != 0 {
			return order
		}
		return a.FailingSince.Compare(b.FailingSince)
	})
	if len(states) == 1 {
		return first.String()
	}
	return fmt.Sprintf("%s (and %d more)", first, len(states)-1)
}

// kindOf returns the kind of an object of Kinds, and the type of any other, which is not listed in States.
func kindOf(object runtime.Object) string {
	switch object.(type) {
	case *v1alpha1.IMApp:
		return "IMApp"
	case *v1alpha1.AccountList:
		return "AccountList"
	case *v1alpha1.GroupPolicy:
		return "GroupPolicy"
	case *v1alpha1.PruneRun:
		return "PruneRun"
	case *corev1.Secret:
		return "Secret"
	}
	return fmt.Sprintf("%T", object)
}

// track adds the watch of an informer. Without a kind of Kinds it is not listed in States.
func (w *Watches) track(key watchKey, t *watchTrack) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tracked[key] = t
}

// watchTrack is what is known of one watch. Its ListerWatcher reports every attempt.
type watchTrack struct {
	now      func() time.Time
	guard    *guard.Guard
	informer toolscache.SharedIndexInformer // set before it runs
	example  runtime.Object

	mu       sync.Mutex
	state    WatchState
	asked    time.Time // since when an attempt has had no result; zero if there is none
	skipped  bool      // refused for refusalLimit before it synced
	handlers []toolscache.ResourceEventHandlerRegistration
	counted  []*delivery
	listed   string // the version of the last list
	marked   string // that of the last mark
}

// asking reports the beginning of an attempt.
func (t *watchTrack) asking() {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked = now
}

// opened reports that the watch is open and complete.
func (t *watchTrack) opened() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked = time.Time{}
	t.state = WatchState{ResourceVersion: t.state.ResourceVersion}
}

// answered reports an answer that says nothing about whether the watch is in order.
func (t *watchTrack) answered() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked = time.Time{}
	t.state.RefusedSince, t.state.RefusedAt = time.Time{}, time.Time{}
}

// failed reports an attempt, or a watch, that ended with err.
func (t *watchTrack) failed(err error) {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state.FailingSince.IsZero() {
		t.state.FailingSince = now
		if !t.asked.IsZero() { // the watch was not open meanwhile
			t.state.FailingSince = t.asked
		}
	}
	t.asked = time.Time{}
	t.state.Problem = Problem(err)
	if !refused(err) {
		t.state.RefusedSince, t.state.RefusedAt = time.Time{}, time.Time{}
		return
	}
	t.state.RefusedAt = now
	if t.state.RefusedSince.IsZero() {
		t.state.RefusedSince = now
	}
}

func (t *watchTrack) addHandler(handler toolscache.ResourceEventHandlerRegistration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.handlers = append(t.handlers, handler)
}

func (t *watchTrack) removeHandler(handler toolscache.ResourceEventHandlerRegistration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.handlers = slices.DeleteFunc(t.handlers, func(h toolscache.ResourceEventHandlerRegistration) bool {
		return h == handler
	})
	t.counted = slices.DeleteFunc(t.counted, func(d *delivery) bool { return d.registration == handler })
}

func (t *watchTrack) addDelivery(d *delivery) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counted = append(t.counted, d)
}

// list reports the version of a list before any handler is called with its objects.
func (t *watchTrack) list(version string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.listed = newer(t.listed, version)
}

// unmarked returns the version with which a watch goes on if it is that of a list which no mark has followed yet, and
// otherwise nothing. A mark before each watch would keep the reflector from pausing between watches that end at once.
func (t *watchTrack) unmarked(version string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if version != t.listed || version == t.marked {
		return ""
	}
	return version
}

// mark reports that a mark was sent.
func (t *watchTrack) mark(version string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.marked = version
}

func (t *watchTrack) listedVersion() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.listed
}

// current returns the state.
func (t *watchTrack) current() WatchState {
	delivered, changed := t.delivered()
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	state := t.state
	// client-go repeats some requests by itself, for up to ten seconds, and others hang for as long.
	if state.FailingSince.IsZero() && !t.asked.IsZero() && now.Sub(t.asked) >= answerLimit {
		state.FailingSince, state.Problem = t.asked, "no answer"
	}
	state.Synced = t.informer.HasSynced()
	for _, handler := range t.handlers {
		state.Synced = state.Synced && handler.HasSynced()
	}
	state.ResourceVersion, state.Delivered, state.Changed = t.newestVersion(), delivered, changed
	return state
}

// delivered returns the lowest version of the handlers that are counted, and the newest event of any.
func (t *watchTrack) delivered() (lowest, changed string) {
	t.mu.Lock()
	counted := slices.Clone(t.counted)
	t.mu.Unlock()
	for i, d := range counted { // without the lock, for which their handlers may wait
		version, event := d.delivered()
		if i == 0 || newer(lowest, version) == lowest {
			lowest = version
		}
		changed = newer(changed, event)
	}
	return lowest, changed
}

// newestVersion never goes back: a list may be older than what was taken up before it.
func (t *watchTrack) newestVersion() string {
	version := t.informer.GetIndexer().LastStoreSyncResourceVersion()
	if order, err := resourceversion.CompareResourceVersion(version, t.state.ResourceVersion); err == nil && order < 0 {
		return t.state.ResourceVersion
	}
	t.state.ResourceVersion = version
	return version
}

// skip reports whether what waits for this watch goes on without it: it has been refused for refusalLimit. That is
// final, so that no reader of the cache blocks again when the API server becomes unreachable later.
func (t *watchTrack) skip() bool {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.skipped = t.skipped || !t.state.RefusedSince.IsZero() && now.Sub(t.state.RefusedSince) >= refusalLimit
	return t.skipped
}

// refused reports whether err is the answer that the objects may not be read, or that there is no such kind.
func refused(err error) bool { return apierrors.IsForbidden(err) || apierrors.IsNotFound(err) }

// Problem is err in a few words: without addresses, since anybody may ask the readiness probe.
func Problem(err error) string {
	var answer apierrors.APIStatus
	if errors.As(err, &answer) {
		switch {
		case apierrors.IsForbidden(err):
			return "forbidden"
		case apierrors.IsNotFound(err):
			return "not found"
		}
		return fmt.Sprintf("the API server answers %d", answer.Status().Code)
	}
	var (
		number  syscall.Errno
		network net.Error
	)
	switch {
	case errors.As(err, &number):
		return number.Error()
	case errors.As(err, &network) && network.Timeout():
		return "timeout"
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err.Error()
}
