package term

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// WatchAge is groupgate_watch_age_seconds: the age of the last renewal of the election Lease that this replica's own
// watch received.
//
// The leader renews the Lease every few seconds, so a growing age finds a replica whose watches are dead while it is
// ready and serves an old snapshot. WatchAge is a manager.Runnable on every replica.
type WatchAge struct {
	cache     cache.Cache
	lease     time.Duration
	now       func() time.Time
	start     time.Time
	renewedAt atomic.Pointer[time.Time]
}

// NewWatchAge registers the metric with registerer. informers must select the election Lease and no other;
// leaseDuration is its duration.
func NewWatchAge(
	informers cache.Cache, leaseDuration time.Duration, now func() time.Time, registerer prometheus.Registerer,
) *WatchAge {
	w := &WatchAge{cache: informers, lease: leaseDuration, now: now, start: now()}
	registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "groupgate_watch_age_seconds",
		Help: "Age of the election Lease's last renewal as this replica's own watch saw it; " +
			"since the start of the process if it saw none.",
	}, func() float64 { return w.Age().Seconds() }))
	return w
}

// NeedLeaderElection is false: the metric is for the replicas that do not lead.
func (*WatchAge) NeedLeaderElection() bool { return false }

// Age is never negative: the leader's clock may be ahead of this one.
func (w *WatchAge) Age() time.Duration {
	since := w.start
	if renewed := w.renewedAt.Load(); renewed != nil {
		since = *renewed
	}
	return max(0, w.now().Sub(since))
}

// Silent reports whether, judging by the watch, the Lease has expired. The leader renews it itself; if its own watch
// does not deliver the renewals, the other watches may be behind as well.
func (w *WatchAge) Silent() bool { return w.Age() > w.lease }

// Start watches the Lease until ctx ends. A watch that cannot be set up is retried, and the metric shows it.
func (w *WatchAge) Start(ctx context.Context) error {
	for {
		err := w.watch(ctx)
		if err == nil {
			<-ctx.Done()
			return nil
		}
		log.FromContext(ctx).Info("The election Lease cannot be watched yet", "reason", err.Error())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait.Jitter(time.Second, 1)):
		}
	}
}

func (w *WatchAge) watch(ctx context.Context) error {
	informer, err := w.cache.GetInformer(ctx, &coordinationv1.Lease{}, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("make the informer: %w", err)
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    w.observe,
		UpdateFunc: func(_, lease any) { w.observe(lease) },
	})
	if err != nil {
		return fmt.Errorf("add a handler to the informer: %w", err)
	}
	return nil
}

func (w *WatchAge) observe(object any) {
	lease, ok := object.(*coordinationv1.Lease)
	if ok && lease.Spec.RenewTime != nil {
		w.renewedAt.Store(&lease.Spec.RenewTime.Time)
	}
}
