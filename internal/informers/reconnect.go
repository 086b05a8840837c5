package informers

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"reflect"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

// dialTimeout bounds one attempt to connect. The kernel repeats a lost SYN after 1, 3, 7 and 15 s: an attempt that
// started during an outage would succeed up to 15 s after its end, a new attempt succeeds at once.
const dialTimeout = 3 * time.Second

// errWatchClosedUnopened stands for the connection error that client-go swallows (see reconnecting).
var errWatchClosedUnopened = errors.New("the connection was closed before the watch began")

// ConnectionConfig returns a copy of config for connections to the API server that come back quickly after an outage:
// an attempt to connect lasts at most 3 s.
//
// A connection that is open but dead is noticed by HTTP/2 pings: after HTTP2_READ_IDLE_TIMEOUT_SECONDS (client-go: 30)
// without a frame one is sent, and after another HTTP2_PING_TIMEOUT_SECONDS (15) without an answer every watch on it
// ends and is opened again. client-go reads both from the environment only, when the first client is made.
func ConnectionConfig(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	if config.Dial == nil {
		config.Dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext
	}
	return config
}

// NewInformer makes informers that are current within seconds of the API server's return; it is
// cache.Options.NewInformer.
//
// client-go's reflector doubles its wait after every failure, up to [30, 60) s, which is not configurable: after an
// outage of a minute, callbacks would be answered from old policies for another minute. So connection errors are
// retried below the reflector, every 1 to 2 s, without the reflector noticing. It handles the answers of the API
// server, errors included.
func NewInformer(
	lw toolscache.ListerWatcher, example runtime.Object, resync time.Duration, indexers toolscache.Indexers,
) toolscache.SharedIndexInformer {
	return toolscache.NewSharedIndexInformer(reconnecting(lw), example, resync, indexers)
}

// reconnecting wraps lw so that List and Watch return only with an answer of the API server, or when their ctx has
// ended.
func reconnecting(lw toolscache.ListerWatcher) toolscache.ListerWatcher {
	inner := toolscache.ToListerWatcherWithContext(lw)
	outer := &toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return persist(ctx, func() (runtime.Object, error) { return inner.ListWithContext(ctx, options) })
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return persist(ctx, func() (watch.Interface, error) {
				w, err := inner.WatchWithContext(ctx, options)
				// rest.Request.Watch turns EOF and timeouts into an empty watch without an error, which the reflector
				// would take for a very short watch, and back off.
				if err == nil && reflect.TypeOf(w) == reflect.TypeOf(watch.NewEmptyWatch()) {
					return nil, errWatchClosedUnopened
				}
				return w, err
			})
		},
	}
	// Whether lists are streamed (WatchList) depends on lw.
	return toolscache.ToListWatcherWithWatchListSemantics(outer, lw)
}

// persist repeats attempt while the API server cannot be reached.
func persist[T any](ctx context.Context, attempt func() (T, error)) (T, error) {
	log := logf.FromContext(ctx)
	for failures := 0; ; failures++ {
		got, err := attempt()
		if !unreachable(err) || ctx.Err() != nil {
			if failures > 0 && err == nil {
				log.Info("API server reachable again")
			}
			return got, err
		}
		if failures == 0 { // once per outage and informer
			log.Info("API server unreachable, retrying until it is back", "reason", err.Error())
		}
		select {
		case <-ctx.Done():
			return got, err
		case <-time.After(wait.Jitter(time.Second, 1)):
		}
	}
}

// unreachable reports whether err means that no answer came, as opposed to an answer that is an error.
func unreachable(err error) bool {
	var answered apierrors.APIStatus
	if err == nil || errors.As(err, &answered) {
		return false
	}
	var request *url.Error
	var network net.Error
	return errors.Is(err, errWatchClosedUnopened) ||
		errors.As(err, &request) ||
		errors.As(err, &network) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		utilnet.IsProbableEOF(err) || utilnet.IsHTTP2ConnectionLost(err)
}
