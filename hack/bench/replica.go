package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/controllers"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/webhookserver"
)

// replicaCommand makes this program a manager: lab starts it as it starts groupgate.
const replicaCommand = "manager"

// runReplica is `groupgate manager` with a clock that forwardClock moves and a garbage collection on collectGarbage.
func runReplica(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet(replicaCommand, flag.ContinueOnError)
	namespace := flags.String("namespace", "", "")
	kubeconfig := flags.String("kubeconfig", "", "")
	endpoint := flags.String("im-endpoint", "", "")
	callback := flags.String("callback-bind-address", "", "")
	metricsAddress := flags.String("metrics-bind-address", "", "")
	probe := flags.String("health-probe-bind-address", "", "")
	leaseNamespace := flags.String("leader-election-namespace", "", "")
	flags.Bool("callback-insecure-http", true, "always")
	flags.Bool("metrics-secure", false, "never")
	flags.Duration("shutdown-delay", 0, "always 0")
	sweep := flags.Duration("sweep-interval", 24*time.Hour, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	log := logr.FromSlogHandler(slog.NewTextHandler(os.Stderr, nil))
	ctrl.SetLogger(log)
	klog.SetLogger(log)
	now := signalledClock()

	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return fmt.Errorf("read the kubeconfig: %w", err)
	}
	config.QPS = -1
	objects := apiruntime.NewScheme()
	if err := errors.Join(scheme.AddToScheme(objects), v1alpha1.AddToScheme(objects)); err != nil {
		return fmt.Errorf("build the scheme: %w", err)
	}
	election := controllers.ElectionConfig{
		Enabled: true, ID: "groupgate-manager", Namespace: *leaseNamespace,
		LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
	}
	store := &policy.Store{}
	mgr, err := ctrl.NewManager(controllers.ConnectionConfig(config), ctrl.Options{
		Scheme:                 objects,
		MapperProvider:         controllers.NewRESTMapper,
		Cache:                  controllers.CacheOptions([]string{*namespace}, election, store, now),
		Metrics:                metricsserver.Options{BindAddress: *metricsAddress},
		HealthProbeBindAddress: *probe,
	})
	if err != nil {
		return fmt.Errorf("create the manager: %w", err)
	}
	intake, err := controllers.Setup(ctx, mgr, controllers.Config{
		Store: store, Election: election, IMEndpoint: *endpoint, SweepInterval: *sweep, PruneRunTTL: 7 * 24 * time.Hour,
		Now: now, Registerer: metrics.Registry,
	})
	if err != nil {
		return err
	}
	server := &webhookserver.Server{
		Addr: *callback, Snapshots: store, FullGroups: intake, Now: now, Log: log,
		Metrics: webhookserver.NewMetrics(metrics.Registry),
	}
	if err := mgr.AddReadyzCheck("snapshot", server.Ready); err != nil {
		return fmt.Errorf("add the health check: %w", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return server.Start(ctx) })
	g.Go(func() error { return mgr.Start(ctx) })
	return g.Wait()
}

// signalledClock obeys the signals of a replica.
func signalledClock() (now func() time.Time) {
	var offset atomic.Int64
	signals := make(chan os.Signal, weekRounds)
	signal.Notify(signals, forwardClock, collectGarbage)
	go func() { // ends with the process
		for received := range signals {
			if received == forwardClock {
				offset.Add(int64(weekStep))
				continue
			}
			runtime.GC()
		}
	}()
	return func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
}
