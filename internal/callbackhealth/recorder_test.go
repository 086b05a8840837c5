package callbackhealth

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var now = time.Unix(1700000000, 0)

func TestSeen(t *testing.T) {
	var r Recorder
	id := ID{"chat", "prod", "uid-1"}
	if diff := cmp.Diff(Seen{}, r.Seen(id)); diff != "" {
		t.Errorf("before the app is known (-want,+got):\n%s", diff)
	}
	app := r.App(id)
	if diff := cmp.Diff(Seen{}, r.Seen(id)); diff != "" {
		t.Errorf("before the first callback (-want,+got):\n%s", diff)
	}
	app.Right(now.Add(999 * time.Millisecond))
	app.Wrong(now.Add(time.Second))
	app.Unsigned(now.Add(2 * time.Second))
	app.Skewed(now.Add(3*time.Second), -90*time.Second)
	want := Seen{
		Right: now, Wrong: now.Add(time.Second), Unsigned: now.Add(2 * time.Second),
		Skewed: now.Add(3 * time.Second), Skew: -90 * time.Second,
	}
	if diff := cmp.Diff(want, r.Seen(id)); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
	if diff := cmp.Diff(Seen{}, r.Seen(ID{"chat", "prod", "uid-2"})); diff != "" {
		t.Errorf("an app created again under the same name (-want,+got):\n%s", diff)
	}
	if r.App(id) != app {
		t.Error("the app has a second record")
	}
}

func TestDeletedAppsAreForgotten(t *testing.T) {
	var r Recorder
	stays, goes := ID{"chat", "prod", "1"}, ID{"chat", "test", "2"}
	r.App(stays).Right(now)
	r.App(goes).Right(now)
	r.Retain(func(id ID) bool { return id == stays })
	if got := r.Seen(goes); got != (Seen{}) {
		t.Errorf("the deleted app is still there: %v", got)
	}
	if got := r.Seen(stays).Right; !got.Equal(now) {
		t.Errorf("the other app has %v, want %v", got, now)
	}
}

func TestRecordingAllocatesNothing(t *testing.T) {
	app := new(App)
	if n := testing.AllocsPerRun(100, func() { app.Right(now); app.Wrong(now); app.Skewed(now, time.Hour) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestConcurrentUse(t *testing.T) {
	var r Recorder
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			id := ID{Name: string(rune('a' + i%2))}
			for second := range 200 {
				r.App(id).Right(now.Add(time.Duration(second) * time.Second))
				r.Seen(id)
				r.Retain(func(ID) bool { return true })
			}
		})
	}
	all.Wait()
	for _, name := range []string{"a", "b"} {
		if r.Seen(ID{Name: name}).Right.IsZero() {
			t.Errorf("app %s was lost", name)
		}
	}
}
