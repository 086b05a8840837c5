package controllers

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/internal/informers"
	"github.com/groupgate/groupgate/internal/lab/labtest"
)

// The reflector on its own would be up to a minute late here, since it doubles its wait after every failure.
func TestInformerIsCurrentWithinFiveSecondsOfAnOutage(t *testing.T) {
	t.Parallel()
	const outage = 12 * time.Second
	for name, begin := range map[string]func(*proxy){"Refused": (*proxy).Cut, "HungUp": (*proxy).HangUp} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cut, config := newProxy(t, labtest.APIServer)
			w := watchOne(t, config)
			begin(cut)
			w.edit("during")
			pause(t, outage)
			if err := w.has("before"); err != nil {
				t.Errorf("in the outage: %v", err)
			}
			cut.Restore()
			restored := time.Now()
			labtest.Eventually(t, func() error { return w.has("during") })
			if late := time.Since(restored); late > 5*time.Second {
				t.Errorf("current %s after the return, want within 5s", late)
			}
		})
	}
}

// A watch on a connection that lost its other end would stay silent for good.
func TestDeadConnectionIsNoticed(t *testing.T) {
	t.Setenv("HTTP2_READ_IDLE_TIMEOUT_SECONDS", "1")
	t.Setenv("HTTP2_PING_TIMEOUT_SECONDS", "1")
	cut, config := newProxy(t, labtest.APIServer)
	w := watchOne(t, config)
	cut.Freeze()
	w.edit("after")
	labtest.Eventually(t, func() error { return w.has("after") })
}

// watched is one object and an informer that watches it over a connection of its own.
type watched struct {
	t        *testing.T
	object   *corev1.ConfigMap
	informer cache.Cache
}

func watchOne(t *testing.T, config *rest.Config) *watched {
	t.Helper()
	namespace := labtest.NewNamespace(t)
	w := &watched{t: t, object: &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "seen"}, Data: map[string]string{"edit": "before"},
	}}
	labtest.Must(t, labtest.Client(t).Create(t.Context(), w.object))
	informer, err := cache.New(informers.ConnectionConfig(config), cache.Options{
		Scheme:            labtest.Scheme(),
		NewInformer:       informers.NewWatches(nil, time.Now).NewInformer,
		DefaultNamespaces: map[string]cache.Config{namespace: {}},
	})
	labtest.Must(t, err)
	w.informer = informer
	start(t, informer.Start)
	labtest.Eventually(t, func() error { return w.has("before") })
	return w
}

func (w *watched) edit(to string) {
	w.t.Helper()
	w.object.Data["edit"] = to
	labtest.Must(w.t, labtest.Client(w.t).Update(w.t.Context(), w.object))
}

func (w *watched) has(want string) error {
	var got corev1.ConfigMap
	if err := w.informer.Get(w.t.Context(), client.ObjectKeyFromObject(w.object), &got); err != nil {
		return err
	}
	if got.Data["edit"] != want {
		return fmt.Errorf("the informer has %q, want %q", got.Data["edit"], want)
	}
	return nil
}
