package informers

import (
	"context"
	"reflect"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/internal/guard"
)

// Counting returns c with informers that know up to which version the handlers that are added through it have been
// called with every event: WatchState.Delivered.
func Counting(c cache.Cache) cache.Cache { return countingCache{c} }

type countingCache struct{ cache.Cache }

// GetInformer implements cache.Cache.
func (c countingCache) GetInformer(
	ctx context.Context, object client.Object, options ...cache.InformerGetOption,
) (cache.Informer, error) {
	inner, err := c.Cache.GetInformer(ctx, object, options...)
	return countingInformer{inner}, err
}

type countingInformer struct{ cache.Informer }

// AddEventHandlerWithOptions implements cache.Informer.
func (i countingInformer) AddEventHandlerWithOptions(
	handler toolscache.ResourceEventHandler, options toolscache.HandlerOptions,
) (toolscache.ResourceEventHandlerRegistration, error) {
	return i.Informer.AddEventHandlerWithOptions(counted{handler}, options)
}

// counted asks an informer for a delivery.
type counted struct {
	toolscache.ResourceEventHandler
}

// unmarked is an event handler that is not called with marks.
type unmarked struct {
	toolscache.ResourceEventHandler
}

// OnDelete implements ResourceEventHandler.
func (u unmarked) OnDelete(object any) {
	if _, marked := readMark(object); !marked {
		u.ResourceEventHandler.OnDelete(object)
	}
}

// delivery is an event handler that knows up to which version it has been called with every event of its watch.
//
// The store of an informer is ahead of its handlers, so that its version says too much of them. Events of an open watch
// come in the order of their versions. Those of a list do not: they come in the order of the list, the newest perhaps
// first, and deletions have old versions. So an event that is not newer than the last list says nothing; a mark, which
// follows the list through the same queue, says that all of it has been delivered.
type delivery struct {
	toolscache.ResourceEventHandler
	track        *watchTrack
	registration toolscache.ResourceEventHandlerRegistration
	// before is the version of the store before the handler was added: of the objects that it begins with.
	before string

	// mu is held while the handler is called: what it sets off finds the version of the event.
	mu      sync.Mutex
	version string
	changed string // the version of the newest event
	missed  bool   // an event: from then on nothing can be said
}

// delivered returns up to which version every event has been delivered, empty before the first objects have been, and
// the version of the newest of them.
func (d *delivery) delivered() (version, changed string) {
	if !d.registration.HasSynced() {
		return "", ""
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.missed {
		return "", ""
	}
	return newer(d.before, d.version), d.changed
}

// OnAdd implements ResourceEventHandler.
func (d *delivery) OnAdd(object any, isInInitialList bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deliver(func() { d.ResourceEventHandler.OnAdd(object, isInInitialList) })
	if isInInitialList {
		d.change(object)
		return
	}
	d.passed(object)
}

// OnUpdate implements ResourceEventHandler.
func (d *delivery) OnUpdate(before, after any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deliver(func() { d.ResourceEventHandler.OnUpdate(before, after) })
	d.passed(after)
}

// OnDelete implements ResourceEventHandler.
func (d *delivery) OnDelete(object any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if version, marked := readMark(object); marked {
		d.version = newer(d.version, version)
		return
	}
	d.deliver(func() { d.ResourceEventHandler.OnDelete(object) })
	d.passed(object)
}

// deliver calls the handler, which misses the event if it panics.
func (d *delivery) deliver(call func()) {
	if d.track.guard.Run(guard.Informer, call) {
		d.missed = true
	}
}

// change records the version of an event.
func (d *delivery) change(object any) {
	version := d.track.listedVersion() // of a deletion that a list revealed
	if accessor, err := meta.Accessor(object); err == nil {
		version = accessor.GetResourceVersion()
	}
	d.changed = newer(d.changed, version)
}

func (d *delivery) passed(object any) {
	d.change(object)
	accessor, err := meta.Accessor(object)
	if err != nil { // a deletion that a list revealed
		return
	}
	version, listed := accessor.GetResourceVersion(), d.track.listedVersion()
	if version != listed && newer(version, listed) == version {
		d.version = newer(d.version, version)
	}
}

// newer returns the newer one of two versions; the other one if one is empty or malformed.
func newer(a, b string) string {
	order, err := resourceversion.CompareResourceVersion(a, b)
	switch {
	case err == nil && order >= 0:
		return a
	case err == nil:
		return b
	}
	if _, err := resourceversion.CompareResourceVersion(a, a); err == nil {
		return a
	}
	return b
}

// newMark is an event that no API server sends, the deletion of an object without a name: every event up to version
// comes before it. An informer has no other way to tell its handlers that a list is complete; its stores and its queues
// pass a deletion of what they do not have on.
func newMark(example runtime.Object, version string) (watch.Event, bool) {
	mark, ok := reflect.New(reflect.TypeOf(example).Elem()).Interface().(client.Object)
	if !ok || newer(version, "") == "" {
		return watch.Event{}, false
	}
	mark.SetResourceVersion(version)
	return watch.Event{Type: watch.Deleted, Object: mark}, true
}

func readMark(object any) (version string, ok bool) {
	accessor, err := meta.Accessor(object)
	if err != nil || accessor.GetName() != "" {
		return "", false
	}
	return accessor.GetResourceVersion(), true
}
