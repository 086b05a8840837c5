package informers

import (
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/groupgate/groupgate/internal/guard"
)

// NewInformer makes informers that are current within seconds of the API server's return, and whose watches are
// observed; it is cache.Options.NewInformer.
func (w *Watches) NewInformer(
	lw toolscache.ListerWatcher, example runtime.Object, resync time.Duration, indexers toolscache.Indexers,
) toolscache.SharedIndexInformer {
	track := &watchTrack{
		now: w.now, guard: w.Guard, example: example, state: WatchState{FailingSince: w.start},
	}
	track.informer = toolscache.NewSharedIndexInformer(reconnecting(lw, track), example, resync, indexers)
	return &informer{SharedIndexInformer: track.informer, watches: w, track: track, kind: kindOf(example)}
}

// informer is a SharedIndexInformer that does not make its readers wait for a namespace that may not be read: it
// reports that it has synced once its watch has been refused for refusalLimit. Otherwise one lost RoleBinding would
// keep a process from serving every namespace. watchTrack knows whether it really has.
type informer struct {
	toolscache.SharedIndexInformer
	watches *Watches
	track   *watchTrack
	kind    string
}

// namespaceQuery asks a transform of CacheOptions which namespace it is for. controller-runtime tells NewInformer the
// kind, but not the namespace; the transform is the one thing that an informer gets and that depends on it.
type namespaceQuery struct{ namespace string }

// inNamespace makes transform answer a namespaceQuery.
func inNamespace(namespace string, transform toolscache.TransformFunc) toolscache.TransformFunc {
	return func(in any) (any, error) {
		if query, ok := in.(*namespaceQuery); ok {
			query.namespace = namespace
			return query, nil
		}
		return transform(in)
	}
}

// SetTransform is called once, before the informer runs.
func (i *informer) SetTransform(transform toolscache.TransformFunc) error {
	if transform != nil {
		var query namespaceQuery
		if _, err := transform(&query); err != nil {
			return err
		}
		i.watches.track(watchKey{i.kind, query.namespace}, i.track)
		transform = i.guarded(transform)
	}
	return i.SharedIndexInformer.SetTransform(transform)
}

// guarded leaves an object whose transformation panics as it came. Without it the informer would serve its previous
// state, and nothing would tell; if the object is beyond what the snapshot can hold, its build fails, which shows.
func (i *informer) guarded(transform toolscache.TransformFunc) toolscache.TransformFunc {
	return func(in any) (out any, err error) {
		if i.watches.Guard.Run(guard.Informer, func() { out, err = transform(in) }) {
			return in, nil
		}
		return out, err
	}
}

// HasSynced implements SharedIndexInformer.
func (i *informer) HasSynced() bool { return i.SharedIndexInformer.HasSynced() || i.track.skip() }

// AddEventHandler implements SharedIndexInformer.
func (i *informer) AddEventHandler(
	handler toolscache.ResourceEventHandler,
) (toolscache.ResourceEventHandlerRegistration, error) {
	return i.AddEventHandlerWithOptions(handler, toolscache.HandlerOptions{})
}

// AddEventHandlerWithResyncPeriod implements SharedIndexInformer.
func (i *informer) AddEventHandlerWithResyncPeriod(
	handler toolscache.ResourceEventHandler, period time.Duration,
) (toolscache.ResourceEventHandlerRegistration, error) {
	return i.AddEventHandlerWithOptions(handler, toolscache.HandlerOptions{ResyncPeriod: &period})
}

// AddEventHandlerWithOptions implements SharedIndexInformer.
func (i *informer) AddEventHandlerWithOptions(
	handler toolscache.ResourceEventHandler, options toolscache.HandlerOptions,
) (toolscache.ResourceEventHandlerRegistration, error) {
	if asks, ok := handler.(counted); ok {
		return i.addCounted(asks, options)
	}
	guarded := &guardedHandler{unmarked{handler}, i.watches.Guard}
	inner, err := i.SharedIndexInformer.AddEventHandlerWithOptions(guarded, options)
	if err != nil {
		return nil, err
	}
	i.track.addHandler(inner)
	return &registration{ResourceEventHandlerRegistration: inner, track: i.track}, nil
}

func (i *informer) addCounted(
	handler counted, options toolscache.HandlerOptions,
) (toolscache.ResourceEventHandlerRegistration, error) {
	d := &delivery{
		ResourceEventHandler: handler.ResourceEventHandler, together: handler.together, track: i.track,
		before: i.GetIndexer().LastStoreSyncResourceVersion(),
	}
	inner, err := i.SharedIndexInformer.AddEventHandlerWithOptions(d, options)
	if err != nil {
		return nil, err
	}
	d.registration = inner
	i.track.addHandler(inner)
	i.track.addDelivery(d)
	return &registration{ResourceEventHandlerRegistration: inner, track: i.track}, nil
}

// RemoveEventHandler implements SharedIndexInformer.
func (i *informer) RemoveEventHandler(handle toolscache.ResourceEventHandlerRegistration) error {
	if ours, ok := handle.(*registration); ok {
		handle = ours.ResourceEventHandlerRegistration
		i.track.removeHandler(handle)
	}
	return i.SharedIndexInformer.RemoveEventHandler(handle)
}

// guardedHandler is a ResourceEventHandler that misses the events on which it panics, and no others.
type guardedHandler struct {
	handler toolscache.ResourceEventHandler
	guard   *guard.Guard
}

// OnAdd implements ResourceEventHandler.
func (h *guardedHandler) OnAdd(object any, isInInitialList bool) {
	h.guard.Run(guard.Informer, func() { h.handler.OnAdd(object, isInInitialList) })
}

// OnUpdate implements ResourceEventHandler.
func (h *guardedHandler) OnUpdate(before, after any) {
	h.guard.Run(guard.Informer, func() { h.handler.OnUpdate(before, after) })
}

// OnDelete implements ResourceEventHandler.
func (h *guardedHandler) OnDelete(object any) {
	h.guard.Run(guard.Informer, func() { h.handler.OnDelete(object) })
}

// registration has synced when its informer says so.
type registration struct {
	toolscache.ResourceEventHandlerRegistration
	track *watchTrack
}

// HasSynced implements ResourceEventHandlerRegistration.
func (r *registration) HasSynced() bool {
	return r.ResourceEventHandlerRegistration.HasSynced() || r.track.skip()
}
