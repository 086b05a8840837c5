package controllers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/policy"
)

// leakTo is a leak that the policy refuses.
func (w *world) leakTo(name string) policy.Leak {
	return policy.Leak{
		App: w.object(), Group: "lounge", Account: "mallory", Reason: policy.ReasonNotListed,
		Policy: &policy.Object{Namespace: w.Namespace, Name: name, UID: "uid-of-" + name},
	}
}

func (w *world) leakEvents(c client.Writer) *LeakEvents {
	return &LeakEvents{Client: c, Now: w.Clock.Now, Log: logr.Discard()}
}

// awaitLeakEvents waits until there are events on these policies, in the order of their names.
func (w *world) awaitLeakEvents(want ...string) {
	w.t.Helper()
	labtest.Eventually(w.t, func() error {
		var all eventsv1.EventList
		labtest.Must(w.t, w.Client.List(w.t.Context(), &all, client.InNamespace(w.Namespace)))
		var got []string
		for _, e := range all.Items {
			got = append(got, e.Regarding.Name)
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			return fmt.Errorf("events on %v, want %v", got, want)
		}
		return nil
	})
}

// What comes last is told of last, so that nothing else comes once it is there.
func TestPolicyHasOneEventAnHourAboutLeaks(t *testing.T) {
	w := newWorld(t)
	one, two := w.leakEvents(w.Client), w.leakEvents(w.Client) // two replicas
	start(t, one.Start)
	start(t, two.Start)
	for range 300 {
		one.Leaked(w.leakTo("a"))
		two.Leaked(w.leakTo("a"))
	}
	w.awaitLeakEvents("a")
	w.Clock.Forward(leakInterval - time.Second)
	one.Leaked(w.leakTo("a"))
	one.Leaked(w.leakTo("b"))
	w.awaitLeakEvents("a", "b")
	w.Clock.Forward(time.Second)
	one.Leaked(w.leakTo("a"))
	one.Leaked(policy.Leak{App: w.object(), Group: "lounge", Account: "carol", Reason: policy.ReasonPruned})
	one.Leaked(w.leakTo("c"))
	w.awaitLeakEvents("a", "a", "b", "c")
}

func TestEventAboutALeakIsWrittenOnceTheAPIServerAnswers(t *testing.T) {
	w := newWorld(t)
	api := &failingCreate{Client: w.Client}
	api.down.Store(true)
	leaks := w.leakEvents(api)
	start(t, leaks.Start)
	tried := func(times int64) {
		t.Helper()
		labtest.Eventually(t, func() error {
			if got := api.tries.Load(); got != times {
				return fmt.Errorf("tried %d times, want %d", got, times)
			}
			return nil
		})
	}
	leaks.Leaked(w.leakTo("a"))
	tried(1)
	api.down.Store(false)
	for range 300 { // an API server that refuses events is not asked for each leak
		leaks.Leaked(w.leakTo("a"))
	}
	leaks.Leaked(w.leakTo("b"))
	w.awaitLeakEvents("b")
	tried(2)
	w.Clock.Forward(leakRetry)
	leaks.Leaked(w.leakTo("a"))
	w.awaitLeakEvents("a", "b")
}

// failingCreate fails while it is down.
type failingCreate struct {
	client.Client
	down  atomic.Bool
	tries atomic.Int64
}

func (f *failingCreate) Create(ctx context.Context, object client.Object, o ...client.CreateOption) error {
	defer f.tries.Add(1)
	if f.down.Load() {
		return errors.New("the API server is down")
	}
	return f.Client.Create(ctx, object, o...)
}
