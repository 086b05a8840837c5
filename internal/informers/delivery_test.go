package informers

import (
	"context"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
)

// deliveries is an informer of Secrets whose API server is the test.
type deliveries struct {
	*testing.T
	informer toolscache.SharedIndexInformer
	track    *watchTrack
	watches  chan *watch.FakeWatcher // each one that the informer opened
	handled  []string                // what the event handler was called with
	listed   *corev1.SecretList
	denied   chan struct{} // unless nil, no watch can be opened, and this gets each attempt
}

func newDeliveries(t *testing.T, streams bool) *deliveries {
	t.Helper()
	d := &deliveries{T: t, watches: make(chan *watch.FakeWatcher, 1), listed: &corev1.SecretList{
		ListMeta: metav1.ListMeta{ResourceVersion: "10"},
		Items:    []corev1.Secret{*secret("b", "9"), *secret("a", "5")},
	}}
	open := func(_ context.Context, o metav1.ListOptions) (watch.Interface, error) {
		if o.SendInitialEvents != nil && !streams {
			return nil, apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("ListOptions").GroupKind(), "", nil)
		}
		if d.denied != nil {
			select {
			case d.denied <- struct{}{}:
			default:
			}
			return nil, syscall.ECONNREFUSED
		}
		w := watch.NewFake()
		d.watches <- w
		return w, nil
	}
	list := func(context.Context, metav1.ListOptions) (runtime.Object, error) {
		return d.listed, nil
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
	_, err := d.informer.AddEventHandler(counted{toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { d.handled = append(d.handled, "add "+o.(*corev1.Secret).Name) },
		UpdateFunc: func(_, o any) { d.handled = append(d.handled, "update "+o.(*corev1.Secret).Name) },
		DeleteFunc: func(o any) {
			if unknown, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = unknown.Obj
			}
			d.handled = append(d.handled, "delete "+o.(*corev1.Secret).Name)
		},
	}, func(calls func()) { calls() }})
	must(d.T, err)
}

// run runs the informer until the test ends, and returns its first watch.
func (d *deliveries) run() *watch.FakeWatcher {
	return <-d.runs()
}

// runs runs the informer until the test ends, and returns its watches.
func (d *deliveries) runs() <-chan *watch.FakeWatcher {
	go d.informer.RunWithContext(d.Context()) // ends with the test
	return d.watches
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

// check checks what the handler was called with since the last check, in any order, and what has been delivered.
func (d *deliveries) check(wantDelivered string, want ...string) {
	d.Helper()
	synctest.Wait()
	slices.Sort(d.handled)
	if diff := cmp.Diff(want, d.handled); diff != "" {
		d.Errorf("handled (-want,+got):\n%s", diff)
	}
	d.handled = nil
	if got := d.track.current().Delivered; got != wantDelivered {
		d.Errorf("delivered up to %q, want %q", got, wantDelivered)
	}
}

func TestWhatTheHandlersHaveIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeliveries(t, true)
		d.addHandler()
		w := d.run()
		d.check("")
		stream(w, "10", secret("a", "5"), secret("b", "9"))
		d.check("10", "add a", "add b")
		w.Modify(secret("a", "12"))
		d.check("12", "update a")
		w.Delete(secret("b", "14"))
		d.check("14", "delete b")
		w.Add(secret("c", "15"))
		w.Add(secret("d", "16"))
		d.check("16", "add c", "add d")

		w.Error(&apierrors.NewResourceExpired("too old").ErrStatus)
		w = <-d.watches
		stream(w, "30", secret("a", "29"), secret("c", "15"), secret("e", "28"))
		d.check("30", "add e", "delete d", "update a", "update c")
		w.Error(&apierrors.NewResourceExpired("too old").ErrStatus)
		w = <-d.watches
		stream(w, "40")
		d.check("40", "delete a", "delete c", "delete e")
		w.Error(&apierrors.NewResourceExpired("too old").ErrStatus)
		stream(<-d.watches, "50")
		d.check("50")
	})
}

// A list comes in any order of versions, and with deletions that carry old ones: the newest version in it says nothing
// about the rest.
func TestNothingOfAListIsClaimedBeforeAllOfItIsDelivered(t *testing.T) {
	track := newTrack()
	d := &delivery{
		ResourceEventHandler: toolscache.ResourceEventHandlerFuncs{}, track: track,
		registration: synced{}, before: "10",
	}
	d.together = func(calls func()) { calls() }
	check := func(want string) {
		t.Helper()
		if got, _ := d.delivered(); got != want {
			t.Errorf("delivered up to %q, want %q", got, want)
		}
	}
	mark := func(version string) {
		t.Helper()
		event, ok := newMark(&corev1.Secret{}, version)
		if !ok {
			t.Fatal("no mark")
		}
		d.OnDelete(event.Object)
	}
	d.OnUpdate(secret("a", "5"), secret("a", "16"))
	check("16")
	track.list("30") // known before any of its objects comes
	d.OnUpdate(secret("a", "16"), secret("a", "17"))
	check("16")
	d.OnDelete(toolscache.DeletedFinalStateUnknown{Key: "chat/b", Obj: secret("b", "9")})
	d.OnUpdate(secret("c", "7"), secret("c", "29"))
	d.OnAdd(secret("d", "30"), false)
	check("16")
	mark("30")
	check("30")
	d.OnDelete(secret("d", "31"))
	check("31")
}

// Between two events of a list the handler would have a state that there never was.
func TestHandlerIsCalledWithAListOnceItIsComplete(t *testing.T) {
	track, calls, lists := newTrack(), []string{}, 0
	d := &delivery{
		ResourceEventHandler: toolscache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { calls = append(calls, "add "+o.(*corev1.Secret).Name) },
			UpdateFunc: func(_, o any) { calls = append(calls, "update "+o.(*corev1.Secret).Name) },
			DeleteFunc: func(any) { calls = append(calls, "delete") },
		},
		together: func(calls func()) { lists++; calls() }, track: track, registration: synced{},
	}
	check := func(wantLists int, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, calls, cmpopts.EquateEmpty()); diff != "" || lists != wantLists {
			t.Errorf("%d lists, want %d; called (-want,+got):\n%s", lists, wantLists, diff)
		}
		calls = nil
	}
	mark := func(version string) {
		t.Helper()
		event, _ := newMark(&corev1.Secret{}, version)
		d.OnDelete(event.Object)
	}
	track.list("10")
	d.OnAdd(secret("a", "5"), true)
	check(0, "add a") // HasSynced tells when the first list is complete
	mark("10")
	check(0)
	d.OnUpdate(secret("a", "5"), secret("a", "11"))
	check(0, "update a")
	mark("12")
	check(0)
	track.list("30")
	d.OnUpdate(secret("a", "11"), secret("a", "15")) // of the watch before the list
	d.OnDelete(toolscache.DeletedFinalStateUnknown{Key: "chat/a", Obj: secret("a", "15")})
	d.OnAdd(secret("b", "29"), false)
	check(0)
	if _, changed := d.delivered(); changed != "11" {
		t.Errorf("the newest change is said to be %q, want 11", changed)
	}
	track.list("40") // the next one comes before the handler has this one
	mark("30")
	check(1, "update a", "delete", "add b")
	d.OnAdd(secret("c", "39"), false)
	check(1)
	mark("40")
	check(2, "add c")
	d.OnUpdate(secret("c", "39"), secret("c", "41"))
	check(2, "update c")
}

// A role may allow to list and not to watch, and the API server may be gone again a moment after the list.
func TestListIsDeliveredWithoutAWatchAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeliveries(t, false)
		d.addHandler()
		w := d.run()
		d.check("10", "add a", "add b")
		d.listed = &corev1.SecretList{
			ListMeta: metav1.ListMeta{ResourceVersion: "20"}, Items: []corev1.Secret{*secret("b", "19")},
		}
		d.denied = make(chan struct{}, 1)
		w.Error(&apierrors.NewResourceExpired("too old").ErrStatus)
		<-d.denied
		d.check("20", "delete a", "update b")
	})
}

type synced struct {
	toolscache.ResourceEventHandlerRegistration
}

func (synced) HasSynced() bool { return true }

// Controllers add their handlers to informers that have synced.
func TestHandlerThatIsAddedLateHasTheObjectsThatItBeginsWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeliveries(t, true)
		w := d.run()
		stream(w, "10", secret("a", "5"), secret("b", "9"))
		w.Modify(secret("a", "11"))
		synctest.Wait()
		d.addHandler()
		d.check("11", "add a", "add b")
		w.Modify(secret("a", "12"))
		d.check("12", "update a")
	})
}

func TestListOfAnAPIServerThatDoesNotStreamIsDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeliveries(t, false)
		d.addHandler()
		w := d.run()
		d.check("10", "add a", "add b")
		w.Modify(secret("b", "11"))
		d.check("11", "update b")
	})
}

// Bookmarks tell that a replica has what another one began with, even of kinds whose objects are not edited.
func TestBookmarksAreDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeliveries(t, true)
		changed := func(want string) {
			t.Helper()
			if got := d.track.current().Changed; got != want {
				t.Errorf("changed at %q, want %q", got, want)
			}
		}
		d.addHandler()
		w := d.run()
		stream(w, "10", secret("a", "5"), secret("b", "9"))
		d.check("10", "add a", "add b")
		changed("9")
		w.Action(watch.Bookmark, secret("", "20"))
		d.check("20")
		changed("9")
		w.Modify(secret("a", "21"))
		d.check("21", "update a")
		changed("21")
		w.Error(&apierrors.NewResourceExpired("too old").ErrStatus)
		stream(<-d.watches, "30", secret("a", "21"))
		d.check("30", "delete b", "update a")
		changed("30") // b may have been deleted at any time before
	})
}

// A proxy that ends every watch at once must not be asked for one without a pause.
func TestWatchesThatEndAtOnceAreNotRepeatedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeliveries(t, false)
		d.addHandler()
		(<-d.runs()).Stop()
		const limit = 10
		var opened int
		for end := time.After(10 * time.Second); opened <= limit; {
			select {
			case w := <-d.watches:
				opened++
				w.Stop()
				continue
			case <-end:
			}
			break
		}
		if opened > limit {
			t.Errorf("more than %d watches opened in 10 s", limit)
		}
		synctest.Wait()
		if got := d.track.current().Delivered; got != "10" {
			t.Errorf("delivered up to %q, want the list", got)
		}
	})
}

func TestOtherHandlersAreNotCalledWithMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeliveries(t, true)
		_, err := d.informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			DeleteFunc: func(o any) { t.Errorf("deleted %v", o) },
		})
		must(t, err)
		stream(d.run(), "10", secret("a", "5"))
		synctest.Wait()
		if got := d.track.current().Delivered; got != "" {
			t.Errorf("delivered up to %q, want nothing of a handler that is not counted", got)
		}
	})
}

// BenchmarkEvent measures what is between an informer and its handler for each event of an open watch.
func BenchmarkEvent(b *testing.B) {
	track := newTrack()
	d := &delivery{ResourceEventHandler: toolscache.ResourceEventHandlerFuncs{}, track: track, registration: synced{}}
	track.list("1000")
	event, _ := newMark(&corev1.Secret{}, "1000")
	d.OnDelete(event.Object)
	before, after := secret("a", "1001"), secret("a", "1002")
	for b.Loop() {
		d.OnUpdate(before, after)
	}
}
