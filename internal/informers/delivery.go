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
// called with every event: WatchState.Delivered. After a list that replaces what an informer had, they call a handler
// with all changes in one call of together, once the list is complete.
func Counting(c cache.Cache, together func(calls func())) cache.Cache {
	return countingCache{c, together}
}

type countingCache struct {
	cache.Cache
	together func(func())
}

// GetInformer implements cache.Cache.
func (c countingCache) GetInformer(
	ctx context.Context, object client.Object, options ...cache.InformerGetOption,
) (cache.Informer, error) {
	inner, err := c.Cache.GetInformer(ctx, object, options...)
	return countingInformer{inner, c.together}, err
}

type countingInformer struct {
	cache.Informer
	together func(func())
}

// AddEventHandlerWithOptions implements cache.Informer.
func (i countingInformer) AddEventHandlerWithOptions(
	handler toolscache.ResourceEventHandler, options toolscache.HandlerOptions,
) (toolscache.ResourceEventHandlerRegistration, error) {
	return i.Informer.AddEventHandlerWithOptions(counted{handler, i.together}, options)
}

// counted asks an informer for a delivery.
type counted struct {
	toolscache.ResourceEventHandler
	together func(func())
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
//
// Neither are these events called for one by one: what reads the handler's work between two of them would find a state
// that never existed, such as a list of accounts that was split, without those of its shards that come later. They wait
// for the mark. The events that a handler begins with do not: its HasSynced says when they are complete.
type delivery struct {
	toolscache.ResourceEventHandler
	together     func(func())
	track        *watchTrack
	registration toolscache.ResourceEventHandlerRegistration
	// before is the version of the store before the handler was added: of the objects that it begins with.
	before string

	// mu is held while the handler is called: what it sets off finds the version of the event.
	mu      sync.Mutex
	version string
	changed string // the version of the newest event
	missed  bool   // an event: from then on nothing can be said
	// complete is the version of the last list whose mark has come, and waiting the events of those without one.
	complete string
	waiting  []func()
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
	listed := d.track.listedVersion()
	add := func() {
		d.deliver(func() { d.ResourceEventHandler.OnAdd(object, isInInitialList) })
		d.passed(object, listed, isInInitialList)
	}
	if isInInitialList || d.isComplete(listed) {
		add()
		return
	}
	d.waiting = append(d.waiting, add)
}

// OnUpdate implements ResourceEventHandler.
func (d *delivery) OnUpdate(before, after any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	listed := d.track.listedVersion()
	if !d.isComplete(listed) {
		d.waiting = append(d.waiting, func() { d.update(before, after, listed) })
		return
	}
	d.update(before, after, listed)
}

func (d *delivery) update(before, after any, listed string) {
	d.deliver(func() { d.ResourceEventHandler.OnUpdate(before, after) })
	d.passed(after, listed, false)
}

// OnDelete implements ResourceEventHandler.
func (d *delivery) OnDelete(object any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if version, marked := readMark(object); marked {
		d.deliverWaiting()
		d.version = newer(d.version, version)
		return
	}
	listed := d.track.listedVersion()
	remove := func() {
		d.deliver(func() { d.ResourceEventHandler.OnDelete(object) })
		d.passed(object, listed, false)
	}
	if d.isComplete(listed) {
		remove()
		return
	}
	d.waiting = append(d.waiting, remove)
}

// isComplete reports whether the mark of the last list has come.
func (d *delivery) isComplete(listed string) bool {
	if listed == d.complete {
		return true
	}
	if newerThan(listed, newer(d.before, d.version)) {
		return false
	}
	d.complete = listed
	return true
}

func (d *delivery) deliverWaiting() {
	if len(d.waiting) == 0 {
		return
	}
	d.together(func() {
		for _, event := range d.waiting {
			event()
		}
	})
	d.waiting = nil
}

// deliver calls the handler, which misses the event if it panics.
func (d *delivery) deliver(call func()) {
	if d.track.guard.Run(guard.Informer, call) {
		d.missed = true
	}
}

// passed records the version of an event. A deletion that a list revealed has that of the list.
func (d *delivery) passed(object any, listed string, isInInitialList bool) {
	version := listed
	if accessor, err := meta.Accessor(object); err == nil {
		version = accessor.GetResourceVersion()
	}
	d.changed = newer(d.changed, version)
	if !isInInitialList && newerThan(version, listed) {
		d.version = newer(d.version, version)
	}
}

// newerThan reports whether a is newer than b, or the only one of the two that is a version.
func newerThan(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order > 0 || err != nil && newer(a, b) == a && newer(b, a) == a
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
