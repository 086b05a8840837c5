package controllers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/watchlist"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestUnreachable(t *testing.T) {
	cases := map[string]struct {
		err  error
		want bool
	}{
		"None":              {nil, false},
		"ConnectionRefused": {&url.Error{Op: "Get", URL: "https://x", Err: syscall.ECONNREFUSED}, true},
		"Wrapped":           {fmt.Errorf("list: %w", &url.Error{Op: "Get", URL: "https://x", Err: io.EOF}), true},
		"CutInTheBody":      {fmt.Errorf("unexpected error when reading response body: %w", io.ErrUnexpectedEOF), true},
		"DeadConnection":    {errors.New("http2: client connection lost"), true},
		"EmptyWatch":        {errWatchClosedUnopened, true},
		"Forbidden":         {apierrors.NewForbidden(corev1.Resource("secrets"), "", nil), false},
		"Unavailable":       {apierrors.NewServiceUnavailable("starting"), false},
		"Expired":           {apierrors.NewResourceExpired("too old"), false},
		"Other":             {errors.New("cannot decode"), false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := unreachable(tc.err); got != tc.want {
				t.Errorf("unreachable(%v) = %t, want %t", tc.err, got, tc.want)
			}
		})
	}
}

type watchListRefuser struct{ toolscache.ListWatch }

func (*watchListRefuser) IsWatchListSemanticsUnSupported() bool { return true }

func TestReconnectingKeepsWatchListSemantics(t *testing.T) {
	if watchlist.DoesClientNotSupportWatchListSemantics(reconnecting(&toolscache.ListWatch{})) {
		t.Error("streaming lists were switched off for a client that can")
	}
	if !watchlist.DoesClientNotSupportWatchListSemantics(reconnecting(&watchListRefuser{})) {
		t.Error("streaming lists were switched on for a client that cannot")
	}
}

func TestReconnectingPassesAnswersThroughAndStopsWithItsContext(t *testing.T) {
	refused := &url.Error{Op: "Get", URL: "https://x", Err: syscall.ECONNREFUSED}
	gone := apierrors.NewResourceExpired("too old")
	answers := []error{refused, gone}
	lw := toolscache.ToListerWatcherWithContext(reconnecting(&toolscache.ListWatch{
		ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
			err := answers[0]
			answers = answers[1:]
			return nil, err
		},
		WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) {
			return watch.NewEmptyWatch(), nil
		},
	}))
	if _, err := lw.ListWithContext(t.Context(), metav1.ListOptions{}); !apierrors.IsResourceExpired(err) {
		t.Errorf("List: %v, want the API server's answer after the connection error", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if w, err := lw.WatchWithContext(ctx, metav1.ListOptions{}); err == nil {
		t.Errorf("Watch: %v, want an error when the context ends", w)
	}
}

// The reflector on its own would be up to a minute late here, since it doubles its wait after every failure.
func TestInformerIsCurrentWithinFiveSecondsOfAnOutage(t *testing.T) {
	const outage = 12 * time.Second
	for name, begin := range map[string]func(*proxy){"Refused": (*proxy).Cut, "HungUp": (*proxy).HangUp} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cut, config := newProxy(t, apiServer)
			w := watchOne(t, config)
			begin(cut)
			w.edit("during")
			pause(t, outage)
			if err := w.has("before"); err != nil {
				t.Errorf("in the outage: %v", err)
			}
			cut.Restore()
			restored := time.Now()
			eventually(t, func() error { return w.has("during") })
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
	cut, config := newProxy(t, apiServer)
	w := watchOne(t, config)
	cut.Freeze()
	w.edit("after")
	eventually(t, func() error { return w.has("after") })
}

// watched is one object and an informer that watches it over a connection of its own.
type watched struct {
	t        *testing.T
	object   *corev1.ConfigMap
	informer cache.Cache
}

func watchOne(t *testing.T, config *rest.Config) *watched {
	t.Helper()
	namespace := newNamespace(t)
	w := &watched{t: t, object: &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "seen"}, Data: map[string]string{"edit": "before"},
	}}
	must(t, testClient(t).Create(t.Context(), w.object))
	informer, err := cache.New(ConnectionConfig(config), cache.Options{
		Scheme:            testScheme(t),
		NewInformer:       NewInformer,
		DefaultNamespaces: map[string]cache.Config{namespace: {}},
	})
	must(t, err)
	w.informer = informer
	start(t, informer.Start)
	eventually(t, func() error { return w.has("before") })
	return w
}

func (w *watched) edit(to string) {
	w.t.Helper()
	w.object.Data["edit"] = to
	must(w.t, testClient(w.t).Update(w.t.Context(), w.object))
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
