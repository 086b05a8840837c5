package controllers

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

// WatchAge is groupgate_watch_age_seconds: how old the last renewal of the election Lease is that this replica's own watch saw.
//
// The Lease is renewed every few seconds by whoever holds it, so an age that grows finds the replica whose watches are dead while it is
// ready and serves an old view. It is a manager.Runnable on every replica.
type WatchAge struct {
	cache cache.Cache
	lease time.Duration
	now   func() time.Time
	start time.Time
	seen  atomic.Pointer[time.Time]
}

// NewWatchAge registers the metric with registerer. informers must hold the election Lease and no other (see CacheOptions); leaseDuration is
// its.
func NewWatchAge(informers cache.Cache, leaseDuration time.Duration, now func() time.Time, registerer prometheus.Registerer) *WatchAge {
	w := &WatchAge{cache: informers, lease: leaseDuration, now: now, start: now()}
	registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "groupgate_watch_age_seconds",
		Help: "Age of the election Lease's last renewal as this replica's own watch saw it; since the start of the process if it saw none.",
	}, func() float64 { return w.Age().Seconds() }))
	return w
}

// NeedLeaderElection is false: the replicas without the term are those it is for.
func (*WatchAge) NeedLeaderElection() bool { return false }

// Age is never negative: the holder's clock may be ahead of ours.
func (w *WatchAge) Age() time.Duration {
	since := w.start
	if seen := w.seen.Load(); seen != nil {
		since = *seen
	}
	return max(0, w.now().Sub(since))
}

// Silent says whether the Lease would have expired by what the watch has shown. In a term that cannot be: it was renewed, and the watch has
// not shown it, so there is no telling what else it has not.
func (w *WatchAge) Silent() bool { return w.Age() > w.lease }

// Start watches the Lease until ctx ends. A watch that cannot be set up is tried again: it is the metric's business to show that.
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
		AddFunc:    w.saw,
		UpdateFunc: func(_, lease any) { w.saw(lease) },
	})
	if err != nil {
		return fmt.Errorf("listen to the informer: %w", err)
	}
	return nil
}

func (w *WatchAge) saw(object any) {
	lease, ok := object.(*coordinationv1.Lease)
	if ok && lease.Spec.RenewTime != nil {
		w.seen.Store(&lease.Spec.RenewTime.Time)
	}
}
