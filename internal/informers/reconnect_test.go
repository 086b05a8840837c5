package informers

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
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/watchlist"
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
	if watchlist.DoesClientNotSupportWatchListSemantics(reconnecting(&toolscache.ListWatch{}, newTrack())) {
		t.Error("streaming lists were switched off for a client that can")
	}
	if !watchlist.DoesClientNotSupportWatchListSemantics(reconnecting(&watchListRefuser{}, newTrack())) {
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
	}, newTrack()))
	if _, err := lw.ListWithContext(t.Context(), metav1.ListOptions{}); !apierrors.IsResourceExpired(err) {
		t.Errorf("List: %v, want the API server's answer after the connection error", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if w, err := lw.WatchWithContext(ctx, metav1.ListOptions{}); err == nil {
		t.Errorf("Watch: %v, want an error when the context ends", w)
	}
}
