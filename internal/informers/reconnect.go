package informers

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"reflect"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/groupgate/groupgate/internal/guard"
)

// dialTimeout bounds one attempt to connect. The kernel repeats a lost SYN after 1, 3, 7 and 15 s: an attempt that
// started during an outage would succeed up to 15 s after its end, a new attempt succeeds at once.
const dialTimeout = 3 * time.Second

const (
	// refusalRetry is the time between two attempts of a watch that is refused, up to twice as long.
	refusalRetry = 5 * time.Second
	// refusalPatience is how long a streaming watch is attempted before the reflector may try a list instead: longer
	// than the two minutes after which the reflector forgets its backoff.
	refusalPatience = 3 * time.Minute
)

// errWatchClosedUnopened stands for the connection error that client-go swallows (see reconnecting).
var errWatchClosedUnopened = errors.New("connection closed")

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

// reconnecting wraps lw so that List and Watch return only with an answer of the API server, or when their ctx has
// ended. A Watch that streams all objects, as informers begin with, does not return with a refusal either, for a while.
// track learns of every attempt.
//
// client-go's reflector doubles its wait after every failure, up to [30, 60) s, which is not configurable: after an
// outage of a minute, callbacks would be answered from old policies for another minute. So connection errors are
// retried below the reflector, every 1 to 2 s, and refusals every 5 to 10 s, without the reflector noticing. It handles
// the other answers of the API server, errors included.
func reconnecting(lw toolscache.ListerWatcher, track *watchTrack) toolscache.ListerWatcher {
	inner := toolscache.ToListerWatcherWithContext(lw)
	outer := &toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			listed, err := persist(ctx, track, 0, func() (runtime.Object, error) {
				return inner.ListWithContext(ctx, options)
			})
			if list, ok := listed.(metav1.ListInterface); ok && err == nil {
				track.list(list.GetResourceVersion())
			}
			return listed, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			streams := options.SendInitialEvents != nil && *options.SendInitialEvents
			if version := track.unmarked(options.ResourceVersion); version != "" && !streams {
				// A list is complete whether or not a watch can be opened after it. The reflector asks for one again.
				return observe(watch.NewEmptyWatch(), track, version), nil
			}
			patience := time.Duration(0)
			if streams {
				patience = refusalPatience
			}
			w, err := persist(ctx, track, patience, func() (watch.Interface, error) {
				w, err := inner.WatchWithContext(ctx, options)
				// rest.Request.Watch turns EOF and timeouts into an empty watch without an error, which the reflector
				// would take for a very short watch, and back off.
				if err == nil && reflect.TypeOf(w) == reflect.TypeOf(watch.NewEmptyWatch()) {
					return nil, errWatchClosedUnopened
				}
				return w, err
			})
			if err != nil {
				return nil, err
			}
			if streams {
				return observe(w, track, ""), nil
			}
			track.opened() // it goes on from a version that the store has
			return observe(w, track, ""), nil
		},
	}
	// Whether lists are streamed (WatchList) depends on lw.
	return toolscache.ToListWatcherWithWatchListSemantics(outer, lw)
}

// persist repeats attempt while the API server cannot be reached, and while it refuses, for at most patience.
func persist[T any](
	ctx context.Context, track *watchTrack, patience time.Duration, attempt func() (T, error),
) (T, error) {
	var refusals time.Duration
	for {
		track.asking()
		got, err := attempt()
		var pause time.Duration
		switch {
		case ctx.Err() != nil:
			return got, err
		case unreachable(err):
			track.failed(err)
			pause = wait.Jitter(time.Second, 1)
		case refused(err):
			track.failed(err)
			pause = wait.Jitter(refusalRetry, 1)
			if refusals += pause; refusals > patience {
				return got, err
			}
		case err == nil || apierrors.IsResourceExpired(err) || apierrors.IsGone(err):
			track.answered() // the reflector lists anew at once if what it knows has expired
			return got, err
		default:
			track.failed(err)
			return got, err
		}
		select {
		case <-ctx.Done():
			return got, err
		case <-time.After(pause):
		}
	}
}

// observe passes the events of w on, and tells track what they mean for the watch. A mark follows what the watch begins
// with, which are the objects that it streams, or those up to version, and every bookmark: of kinds that do not change,
// replicas would otherwise claim different versions for as long as their watches last.
func observe(w watch.Interface, track *watchTrack, version string) watch.Interface {
	o := &observedWatch{inner: w, events: make(chan watch.Event), stopped: make(chan struct{})}
	go track.guard.Run(guard.Informer, func() { o.pass(track, version) }) // ends with w, or when it is stopped
	return o
}

type observedWatch struct {
	inner   watch.Interface
	events  chan watch.Event
	stop    sync.Once
	stopped chan struct{}
}

// ResultChan implements watch.Interface.
func (o *observedWatch) ResultChan() <-chan watch.Event { return o.events }

// Stop implements watch.Interface.
func (o *observedWatch) Stop() {
	o.stop.Do(func() { close(o.stopped) })
	o.inner.Stop()
}

func (o *observedWatch) pass(track *watchTrack, version string) {
	defer close(o.events)
	if !o.mark(track, version) {
		return
	}
	for event := range o.inner.ResultChan() {
		complete := ""
		switch event.Type {
		case watch.Bookmark:
			object, err := meta.Accessor(event.Object)
			if err != nil {
				break
			}
			complete = object.GetResourceVersion()
			if object.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true" {
				track.list(complete)
				track.opened()
			}
		case watch.Error:
			if err := apierrors.FromObject(event.Object); !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
				track.failed(err)
			}
		}
		if !o.send(event) || !o.mark(track, complete) {
			return
		}
	}
}

// mark sends a mark for a version that is not empty. It reports whether the watch goes on.
func (o *observedWatch) mark(track *watchTrack, version string) bool {
	mark, ok := newMark(track.example, version)
	switch {
	case !ok:
		return true
	case !o.send(mark):
		return false
	}
	track.mark(version)
	return true
}

func (o *observedWatch) send(event watch.Event) bool {
	select {
	case o.events <- event:
		return true
	case <-o.stopped:
		return false
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
