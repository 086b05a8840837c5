package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/controllers"
	"github.com/groupgate/groupgate/internal/informers"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/term"
	"github.com/groupgate/groupgate/webhookserver"
)

// reading is what a replica tells of itself.
type reading struct {
	Ready bool
	Term  bool
	Ended int // runs that it has brought to their end
	// Live is the heap that is there after a garbage collection, if one was asked for.
	Live uint64
}

// runReplica is `groupgate manager` in all but two things: its clock is moved from the outside, and it answers questions on stdin. A
// line is `read`, `collect`, which collects garbage first, or a duration to move the clock by; the answer to each is a line of JSON.
func runReplica(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("replica", flag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig")
	endpoint := flags.String("im-endpoint", "", "base URL of the REST API")
	callback := flags.String("callback-bind-address", "", "address of the callback server")
	if err := flags.Parse(args); err != nil {
		return err
	}
	log := logr.FromSlogHandler(slog.NewTextHandler(os.Stderr, nil))
	ctrl.SetLogger(log)
	klog.SetLogger(log)

	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return fmt.Errorf("read the kubeconfig: %w", err)
	}
	config.QPS = -1
	objects := apiruntime.NewScheme()
	if err := errors.Join(scheme.AddToScheme(objects), v1alpha1.AddToScheme(objects)); err != nil {
		return fmt.Errorf("build the scheme: %w", err)
	}
	var offset atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	election := term.Election{
		Enabled: true, ID: "groupgate-manager", Namespace: "groupgate-system",
		LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
	}
	store, registry := &policy.Store{}, prometheus.NewRegistry()
	mgr, err := ctrl.NewManager(informers.ConnectionConfig(config), ctrl.Options{
		Scheme:         objects,
		MapperProvider: informers.NewRESTMapper,
		Cache: informers.CacheOptions(informers.Options{
			Namespaces: []string{namespace}, Lease: election.Lease(), Store: store, Now: now,
		}),
		Metrics: metricsserver.Options{BindAddress: "0"},
	})
	if err != nil {
		return fmt.Errorf("create the manager: %w", err)
	}
	intake, err := controllers.Setup(ctx, mgr, controllers.Config{
		Store: store, Election: election, IMEndpoint: *endpoint, SweepInterval: 24 * time.Hour, PruneRunTTL: 7 * 24 * time.Hour,
		Now: now, Registerer: registry,
	})
	if err != nil {
		return err
	}
	server := &webhookserver.Server{
		Addr: *callback, Snapshots: store, FullGroups: intake, Now: now, Log: log, Metrics: webhookserver.NewMetrics(registry),
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return server.Start(ctx) })
	g.Go(func() error { return mgr.Start(ctx) })
	g.Go(func() error {
		defer stop()
		lines := bufio.NewScanner(os.Stdin) // until the parent closes it
		for lines.Scan() {
			var live uint64
			switch line := lines.Text(); line {
			case "read":
			case "collect":
				live = collect()
			default:
				d, err := time.ParseDuration(line)
				if err != nil {
					return fmt.Errorf("move the clock: %w", err)
				}
				offset.Add(int64(d))
			}
			r := read(store, registry)
			r.Live = live
			if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
				return fmt.Errorf("answer: %w", err)
			}
		}
		return lines.Err()
	})
	return g.Wait()
}

func read(store *policy.Store, registry *prometheus.Registry) reading {
	r := reading{Ready: store.Load() != nil}
	families, err := registry.Gather()
	if err != nil {
		return r
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			switch {
			case family.GetName() == "groupgate_term":
				r.Term = m.GetGauge().GetValue() == 1
			case strings.HasSuffix(family.GetName(), "_prune_runs_total"):
				r.Ended += int(m.GetCounter().GetValue())
			}
		}
	}
	return r
}

// collect returns the heap that is left.
func collect() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
