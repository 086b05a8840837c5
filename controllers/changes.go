package controllers

import (
	"context"
	"reflect"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// changes collects what the watches bring until the next build takes it. Of an object that changes several times in between, only the
// last state counts. Its zero value is ready.
//
// An object always comes through the same watch, which tells of its changes in their order and of its deletion even when that happened
// while the watch was broken. So what was told last is what the cache holds.
type changes struct {
	mu      sync.Mutex
	objects map[objectKey]news
}

type objectKey struct {
	kind reflect.Type
	name types.NamespacedName
}

// news is what an object has become: shared with the cache, and not to be written to.
type news struct {
	object client.Object
	gone   bool
}

func (c *changes) note(object client.Object, gone bool) {
	key := objectKey{kind: reflect.TypeOf(object), name: client.ObjectKeyFromObject(object)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.objects == nil {
		c.objects = map[objectKey]news{}
	}
	c.objects[key] = news{object: object, gone: gone}
}

// take empties the collection.
func (c *changes) take() map[objectKey]news {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := c.objects
	c.objects = nil
	return taken
}

// handler notes the creations and updates that matter, and every deletion: whatever the object was when it went, it must not be left
// behind. It asks for a build of each.
func (c *changes) handler(matters predicate.Predicate) handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	noted := func(object client.Object, gone bool, q queue) {
		c.note(object, gone) // first: the build that is asked for must find it
		q.Add(buildRequest())
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) {
			if matters.Create(e) {
				noted(e.Object, false, q)
			}
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) {
			if matters.Update(e) {
				noted(e.ObjectNew, false, q)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) { noted(e.Object, true, q) },
	}
}
