package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/groupgate/groupgate/internal/app"
	"github.com/groupgate/groupgate/internal/term"
)

// replicaCommand makes this program a manager: the lab starts it as it starts groupgate.
const replicaCommand = "manager"

// The signals of a replica.
const (
	forwardClock   = syscall.SIGUSR1 // by weekStep
	collectGarbage = syscall.SIGUSR2
)

// runReplica is `groupgate manager` with a clock that moves on a signal. args are the flags that the lab gives.
func runReplica(ctx context.Context, args []string) error {
	log := logr.FromSlogHandler(slog.NewTextHandler(os.Stderr, nil))
	ctrl.SetLogger(log)
	klog.SetLogger(log)
	o := app.Options{
		PruneRunTTL: 7 * 24 * time.Hour, Now: signalledClock(), Log: log,
		Election: term.Election{
			Enabled: true, ID: "groupgate-manager",
			LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
		},
	}
	flags := flag.NewFlagSet(replicaCommand, flag.ContinueOnError)
	namespace := flags.String("namespace", "", "")
	kubeconfig := flags.String("kubeconfig", "", "")
	flags.StringVar(&o.IMEndpoint, "im-endpoint", "", "")
	flags.StringVar(&o.CallbackAddress, "callback-bind-address", "", "")
	flags.StringVar(&o.MetricsAddress, "metrics-bind-address", "", "")
	flags.StringVar(&o.ProbeAddress, "health-probe-bind-address", "", "")
	flags.StringVar(&o.Election.Namespace, "leader-election-namespace", "", "")
	flags.DurationVar(&o.SweepInterval, "sweep-interval", 24*time.Hour, "")
	flags.DurationVar(&o.ShutdownDelay, "shutdown-delay", 0, "")
	flags.BoolVar(&o.MetricsSecure, "metrics-secure", false, "")
	flags.Bool("callback-insecure-http", true, "always true")
	err := flags.Parse(args)
	if err != nil {
		return err
	}
	o.Namespaces = []string{*namespace}
	if o.RESTConfig, err = app.RESTConfig(*kubeconfig, "groupgate-bench"); err != nil {
		return err
	}
	a, err := app.New(ctx, o)
	if err != nil {
		return fmt.Errorf("assemble the manager: %w", err)
	}
	return a.Run(ctx)
}

// signalledClock starts to obey the signals of a replica.
func signalledClock() (now func() time.Time) {
	var offset atomic.Int64
	signals := make(chan os.Signal, weekRounds)
	signal.Notify(signals, forwardClock, collectGarbage)
	go func() { // ends with the process
		for received := range signals {
			if received == forwardClock {
				offset.Add(int64(weekStep))
			} else {
				runtime.GC()
			}
		}
	}()
	return func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
}
