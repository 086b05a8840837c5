package informers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	fakecache "k8s.io/client-go/tools/cache/testing"

	"github.com/groupgate/groupgate/internal/guard"
)

// run runs an informer until the test ends.
func run(t *testing.T, i toolscache.SharedIndexInformer) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { // ends with ctx
		defer close(done)
		i.RunWithContext(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

func secretNamed(name string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "chat", Name: name}}
}

// A panic of whatever an informer calls would end the process, or leave the informer without its queue.
func TestInformerGoesOnAfterPanicsOfWhatItCalls(t *testing.T) {
	source := fakecache.NewFakeControllerSource()
	source.Add(secretNamed("bad"))
	registry := prometheus.NewRegistry()
	watches := NewWatches([]string{"chat"}, time.Now)
	watches.Guard = guard.New(registry, logr.Discard())
	i := watches.NewInformer(source, &corev1.Secret{}, 0, toolscache.Indexers{})
	must(t, i.SetTransform(inNamespace("chat", func(in any) (any, error) {
		secret, ok := in.(*corev1.Secret)
		if ok && secret.Name == "bad" {
			panic("transform")
		}
		return trimSecret(in)
	})))
	var (
		mu   sync.Mutex
		seen []string
	)
	record := func(event string, object any) {
		secret, ok := object.(*corev1.Secret)
		if !ok || secret.Name == "bad" {
			panic("handler")
		}
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, event+" "+secret.Name)
	}
	_, err := i.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { record("add", o) },
		UpdateFunc: func(_, o any) { record("update", o) },
		DeleteFunc: func(o any) { record("delete", o) },
	})
	must(t, err)
	run(t, i)
	eventually(t, func() error {
		if state := watches.States()[4]; !state.Synced || !state.FailingSince.IsZero() {
			return fmt.Errorf("%+v", state)
		}
		return nil
	})
	source.Modify(secretNamed("bad"))
	source.Delete(secretNamed("bad"))
	source.Add(secretNamed("good"))
	source.Modify(secretNamed("good"))
	source.Delete(secretNamed("good"))
	eventually(t, func() error {
		mu.Lock()
		defer mu.Unlock()
		if diff := cmp.Diff([]string{"add good", "update good", "delete good"}, seen); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
	metrics, err := registry.Gather()
	must(t, err)
	if got, _ := testutil.GatherAndCount(registry, "groupgate_panics_total"); got == 0 {
		t.Errorf("no panics counted: %v", metrics)
	}
}

// A namespace whose watch is refused must not keep readers of the cache, and so the whole process, waiting.
func TestInformerThatIsRefusedIsNotWaitedForLongerThanTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		for range 100 {
			s.answers <- errForbidden
		}
		watches := NewWatches(nil, time.Now)
		i := watches.NewInformer(s.lister(), &corev1.Secret{}, 0, toolscache.Indexers{})
		must(t, i.SetTransform(inNamespace("", trimSecret)))
		handle, err := i.AddEventHandler(toolscache.ResourceEventHandlerFuncs{})
		must(t, err)
		run(t, i)
		<-time.After(refusalLimit - time.Millisecond)
		if i.HasSynced() || handle.HasSynced() {
			t.Error("given up too early: a RoleBinding may be a moment late")
		}
		<-time.After(time.Millisecond)
		if !i.HasSynced() || !handle.HasSynced() {
			t.Error("still waited for")
		}
		if state := watches.States()[4]; state.Synced {
			t.Errorf("%+v, want the truth", state)
		}
		must(t, i.RemoveEventHandler(handle))
		if got := len(i.(*informer).track.handlers); got != 0 {
			t.Errorf("%d handlers after the removal of one", got)
		}
	})
}

func eventually(t *testing.T, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-time.After(10 * time.Millisecond)
	}
}
