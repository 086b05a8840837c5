package pruning

import (
	"container/heap"
	"context"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/groupgate/groupgate/internal/prunerun"
)

// turns lets one Step at a time work on a group, and few on the groups of an app. The live list of runs excludes other
// processes; turns exclude other workers of this one. A run that gets no turn waits here: it is woken once its turn has
// come, and costs nothing until then. Runs of a higher class go first, those of one class in the order in which they
// came. The zero value is ready.
type turns struct {
	mu      sync.Mutex
	taken   map[types.NamespacedName]turn // of the runs at work, and of those that were woken for one
	waiting map[types.NamespacedName]*queueOfRuns
	arrived uint64
	wake    func(types.NamespacedName, prunerun.Class)
}

// turn is that of one run.
type turn struct {
	run     types.NamespacedName
	key     prunerun.Key
	class   prunerun.Class
	arrived uint64
	index   int // in the heap
}

// take reports whether the run may be worked on now; leave must be called afterwards. If it may not, it is woken later.
func (t *turns) take(run types.NamespacedName, key prunerun.Key, class prunerun.Class) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.taken == nil {
		t.taken = make(map[types.NamespacedName]turn)
		t.waiting = make(map[types.NamespacedName]*queueOfRuns)
	}
	if woken, was := t.taken[run]; was { // for what it was then; it is judged by what it is now
		delete(t.taken, run)
		defer t.wakeNext(woken.key.AppName())
	}
	t.arrived++
	now, queue := turn{run: run, key: key, class: class, arrived: t.arrived}, t.waitingOf(key.AppName())
	if t.groupBusy(key) || t.appBusy(&now) {
		queue.put(now)
		return false
	}
	queue.remove(run)
	t.taken[run] = now
	return true
}

// leave ends the turn of a run, if it has one.
func (t *turns) leave(run types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if left, has := t.taken[run]; has {
		delete(t.taken, run)
		t.wakeNext(left.key.AppName())
	}
}

// wakeNext wakes the runs of an app that may be worked on now.
func (t *turns) wakeNext(app types.NamespacedName) {
	queue := t.waitingOf(app)
	var others []turn
	for t.wake != nil && queue.Len() > 0 {
		next := queue.pop()
		if t.appBusy(&next) {
			others = append(others, next) // and so it is for those after it
			break
		}
		if t.groupBusy(next.key) {
			others = append(others, next)
			continue
		}
		t.taken[next.run] = next
		t.wake(next.run, next.class)
	}
	for _, other := range others {
		queue.put(other)
	}
	if queue.Len() == 0 {
		delete(t.waiting, app)
	}
}

// appBusy reports whether the app has all its turns. Urgent runs have some of their own, so that they need not wait for
// the calls of the others to the vendor.
func (t *turns) appBusy(now *turn) bool {
	bound := stepsPerApp
	if now.class.Urgent() {
		bound += urgentStepsPerApp
	}
	for _, other := range t.taken {
		if other.key.AppName() == now.key.AppName() {
			bound--
		}
	}
	return bound <= 0
}

func (t *turns) groupBusy(key prunerun.Key) bool {
	for _, other := range t.taken {
		if other.key == key {
			return true
		}
	}
	return false
}

// urgentWaits reports whether an urgent run of the group waits for a turn.
func (t *turns) urgentWaits(key prunerun.Key) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	queue := t.waiting[key.AppName()]
	return queue != nil && slices.ContainsFunc(queue.inOrder, func(other *turn) bool {
		return other.key == key && other.class.Urgent()
	})
}

func (t *turns) waitingOf(app types.NamespacedName) *queueOfRuns {
	if t.waiting[app] == nil {
		t.waiting[app] = &queueOfRuns{byName: make(map[types.NamespacedName]*turn)}
	}
	return t.waiting[app]
}

// queueOfRuns are the runs of one app that wait for a turn.
type queueOfRuns struct {
	inOrder turnHeap
	byName  map[types.NamespacedName]*turn
}

func (q *queueOfRuns) Len() int { return len(q.inOrder) }

// put adds a run. One that waits already keeps its place in its class.
func (q *queueOfRuns) put(now turn) {
	if have := q.byName[now.run]; have != nil {
		if have.class == now.class {
			now.arrived = have.arrived
		}
		q.remove(now.run)
	}
	q.byName[now.run] = &now
	heap.Push(&q.inOrder, &now)
}

func (q *queueOfRuns) pop() turn {
	next := heap.Pop(&q.inOrder).(*turn)
	delete(q.byName, next.run)
	return *next
}

func (q *queueOfRuns) remove(run types.NamespacedName) {
	if have := q.byName[run]; have != nil {
		heap.Remove(&q.inOrder, have.index)
		delete(q.byName, run)
	}
}

// turnHeap implements heap.Interface.
type turnHeap []*turn

func (h turnHeap) Len() int { return len(h) }

func (h turnHeap) Less(i, j int) bool {
	if h[i].class != h[j].class {
		return h[i].class > h[j].class
	}
	return h[i].arrived < h[j].arrived
}

func (h turnHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *turnHeap) Push(x any) {
	added := x.(*turn)
	added.index = len(*h)
	*h = append(*h, added)
}

// Pop implements heap.Interface.
func (h *turnHeap) Pop() any {
	last := len(*h) - 1
	popped := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return popped
}

// Source enqueues the runs whose turn has come. Every one of them must be followed by a Step or a Skip.
func (e *Engine) Source() source.Source {
	return source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		e.turns.mu.Lock()
		defer e.turns.mu.Unlock()
		e.turns.wake = func(run types.NamespacedName, class prunerun.Class) { Enqueue(queue, run, class) }
		return nil
	})
}

// Skip gives up the turn for which the run was woken, if it was: nothing is left to do for it.
func (e *Engine) Skip(run types.NamespacedName) { e.turns.leave(run) }

// Enqueue adds a run to the queue of the controller, before those of lower classes.
func Enqueue(
	queue workqueue.TypedRateLimitingInterface[reconcile.Request], run types.NamespacedName, class prunerun.Class,
) {
	request := reconcile.Request{NamespacedName: run}
	if byPriority, ok := queue.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
		byPriority.AddWithOpts(priorityqueue.AddOpts{Priority: new(int(class))}, request)
		return
	}
	queue.Add(request)
}
