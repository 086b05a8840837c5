package informers

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
)

// deliveries is an informer of Secrets whose API server and event handler are the test.
type deliveries struct {
	*testing.T
	informer toolscache.SharedIndexInformer
	track    *watchTrack
	watches  chan *watch.FakeWatcher // each one that the informer opened
	handled  chan string             // each call of the handler, which waits for the test
}

func newDeliveries(t *testing.T, streams bool) *deliveries {
	t.Helper()
	d := &deliveries{T: t, watches: make(chan *watch.FakeWatcher, 1), handled: make(chan string)}
	open := func(_ context.Context, o metav1.ListOptions) (watch.Interface, error) {
		if o.SendInitialEvents != nil && !streams {
			return nil, apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("ListOptions").GroupKind(), "", nil)
		}
		w := watch.NewFake()
		d.watches <- w
		return w, nil
	}
	list := func(context.Context, metav1.ListOptions) (runtime.Object, error) {
		return &corev1.SecretList{
			ListMeta: metav1.ListMeta{ResourceVersion: "10"}, Items: []corev1.Secret{*secret("b", "9"), *secret("a", "5")},
		}, nil
	}
	d.informer = NewWatches(nil, time.Now).NewInformer(
		&toolscache.ListWatch{WatchFuncWithContext: open, ListWithContextFunc: list}, &corev1.Secret{}, 0, nil)
	d.track = d.informer.(*informer).track
	return d
}

func secret(name, version string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "chat", Name: name, ResourceVersion: version}}
}

// addHandler adds the handler.
func (d *deliveries) addHandler() {
	d.Helper()
	_, err := d.informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { d.handled <- "add " + o.(*corev1.Secret).Name },
		UpdateFunc: func(_, o any) { d.handled <- "update " + o.(*corev1.Secret).Name },
		DeleteFunc: func(o any) {
			if unknown, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = unknown.Obj
			}
			d.handled <- "delete " + o.(*corev1.Secret).Name
		},
	})
	must(d.T, err)
}

// run runs the informer until the test ends, and returns its first watch.
func (d *deliveries) run() *watch.FakeWatcher {
	go d.informer.RunWithContext(d.Context()) // ends with the test
	return <-d.watches
}

// stream sends what a streaming watch begins with.
func stream(w *watch.FakeWatcher, version string, objects ...*corev1.Secret) {
	for _, o := range objects {
		w.Add(o)
	}
	end := secret("", version)
	end.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
	w.Action(watch.Bookmark, end)
}

// handle lets the handler be called once, and checks with what, and what has been delivered by then.
func (d *deliveries) handle(wantDelivered string, want ...string) {
	d.Helper()
	got := <-d.handled
	synctest.Wait()
	for _, w := range want {
		if got == w {
			d.delivered(wantDelivered)
			return
		}
	}
	d.Errorf("handled %q, want one of %q", got, want)
}

func (d *deliveries) delivered(want string) {
	d.Helper()
	synctest.Wait()
	if got := d.track.current().Delivered; got != want {
		d.Errorf("delivered up to %q, want %q", got, want)
	}
}

// A list comes in any order of versions, and with deletions that carry old ones: the newest version in it says nothing
// about the rest.
func TestNothingOfAListIsClaimedBeforeAllOfItIsDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeliveries(t, true)
		d.addHandler()
		w := d.run()
		d.delivered("")
		stream(w, "10", secret("a", "5"), secret("b", "9"))
		d.handle("", "add a", "add b")
		d.handle("10", "add a", "add b")

		w.Modify(secret("a", "12"))
		w.Delete(secret("b", "14"))
		d.handle("12", "update a")
		d.handle("14", "delete b")
		w.Add(secret("c", "15"))
		w.Add(secret("d", "16"))
		d.handle("15", "add c")
		d.handle("16", "add d")

		w.Modify(secret("a", "17")) // still in the queue when the next list comes
		w.Error(&apierrors.NewResourceExpired("too old").ErrStatus)
		stream(<-d.watches, "30", secret("a", "29"), secret("c", "18"), secret("e", "28"))
		synctest.Wait()
		d.handle("16", "update a")
		d.handle("16", "delete d")
		for range 2 {
			d.handle("16", "update a", "update c", "add e")
		}
		d.handle("30", "update a", "update c", "add e")
	})
}

func TestListWithoutAnEventIsDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeliveries(t, true)
		d.addHandler()
		w := d.run()
		stream(w, "10", secret("a", "5"))
		d.handle("10", "add a")
		w.Delete(secret("a", "11"))
		d.handle("11", "delete a")
		w.Error(&apierrors.NewResourceExpired("too old").ErrStatus)
		w = <-d.watches
		stream(w, "30")
		d.delivered("30")
		w.Add(secret("b", "31"))
		d.handle("31", "add b")
	})
}

// Controllers add their handlers to informers that have synced.
func TestHandlerThatIsAddedLateHasTheObjectsThatItBeginsWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeliveries(t, true)
		w := d.run()
		stream(w, "10", secret("a", "5"), secret("b", "9"))
		w.Modify(secret("a", "11"))
		synctest.Wait()
		d.addHandler()
		d.handle("", "add a", "add b")
		d.handle("11", "add a", "add b")
		w.Modify(secret("a", "12"))
		d.handle("12", "update a")
	})
}

func TestListOfAnAPIServerThatDoesNotStreamIsDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeliveries(t, false)
		d.addHandler()
		w := d.run()
		d.handle("", "add a", "add b")
		d.handle("10", "add a", "add b")
		w.Modify(secret("b", "11"))
		d.handle("11", "update b")
	})
}
