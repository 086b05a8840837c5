package controllers

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/guard"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
)

const (
	// leakInterval is the time between two events on one policy.
	leakInterval = time.Hour
	// maxPendingLeaks bounds the events that wait for the API server. The counter has all leaks.
	maxPendingLeaks = 100
	leakTimeout     = 10 * time.Second
	// leakRetry is the time after which a leak is told of although the last event on its policy could not be written.
	leakRetry = time.Minute
)

// LeakTakers pass a leak on, each of which must neither do I/O nor wait.
type LeakTakers []interface{ Leaked(leak policy.Leak) }

// Leaked implements webhookserver.Leaks.
func (l LeakTakers) Leaked(leak policy.Leak) {
	for _, taker := range l {
		taker.Leaked(leak)
	}
}

// LeakEvents writes an event on the policy that refuses a member, at most one an hour for each policy, on every
// replica. The name of an event holds the policy and the hour, so that the replicas do not repeat each other.
type LeakEvents struct {
	Client client.Writer
	Now    func() time.Time
	// Guard, if set, logs and counts panics.
	Guard *guard.Guard
	Log   logr.Logger

	once    sync.Once
	mu      sync.Mutex
	told    map[string]time.Time // by the UID of the policy; where that failed, as long before as leaves leakRetry
	pending chan policy.Leak
}

// NeedLeaderElection is false: the replica that took the callback writes the event.
func (*LeakEvents) NeedLeaderElection() bool { return false }

func (l *LeakEvents) init() {
	l.once.Do(func() {
		l.told = make(map[string]time.Time)
		l.pending = make(chan policy.Leak, maxPendingLeaks)
	})
}

// Leaked takes a leak. It never blocks on I/O, and may be called before Start.
func (l *LeakEvents) Leaked(leak policy.Leak) {
	if leak.Policy == nil {
		return
	}
	l.init()
	now := l.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.told[leak.Policy.UID]; ok && now.Sub(at) < leakInterval {
		return
	}
	select {
	case l.pending <- leak:
		maps.DeleteFunc(l.told, func(_ string, at time.Time) bool { return now.Sub(at) >= leakInterval })
		l.told[leak.Policy.UID] = now
	default:
	}
}

// Start writes events until ctx ends.
func (l *LeakEvents) Start(ctx context.Context) error {
	l.init()
	for {
		select {
		case <-ctx.Done():
			return nil
		case leak := <-l.pending:
			l.Guard.Run(guard.Leaks, func() { l.tell(ctx, &leak) })
		}
	}
}

// tell writes the event. If that fails, a leak after leakRetry is told of: each would be a call otherwise.
func (l *LeakEvents) tell(ctx context.Context, leak *policy.Leak) {
	ctx, cancel := context.WithTimeout(ctx, leakTimeout)
	defer cancel()
	err := l.Client.Create(ctx, leakEvent(leak, l.Now()))
	if err == nil || apierrors.IsAlreadyExists(err) {
		return
	}
	l.Log.Error(err, "Cannot write the event about a leak", "policy", leak.Policy.Key())
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told[leak.Policy.UID] = l.Now().Add(leakRetry - leakInterval)
}

func leakEvent(leak *policy.Leak, now time.Time) *eventsv1.Event {
	note := fmt.Sprintf("Account %q is in group %q of IMApp %s, and this policy refuses it (%s). Either the IM "+
		"backend admitted it without an answer or without asking, or the policy changed since. "+
		"groupgate_leaks_total counts all leaks.", leak.Account, leak.Group, leak.App.Name, leak.Reason)
	return &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: leak.Policy.Namespace,
			Name:      fmt.Sprintf("leak-%s-%d", leak.Policy.UID, now.Unix()/int64(leakInterval/time.Second)),
		},
		EventTime:           metav1.NewMicroTime(now),
		ReportingController: eventSource,
		ReportingInstance:   eventSource,
		Action:              "Judge",
		Reason:              v1alpha1.ReasonLeaked,
		Type:                corev1.EventTypeWarning,
		Regarding: corev1.ObjectReference{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: "GroupPolicy",
			Namespace: leak.Policy.Namespace, Name: leak.Policy.Name, UID: types.UID(leak.Policy.UID),
		},
		Note: prunerun.Clip(note, prunerun.MaxEventNote),
	}
}
