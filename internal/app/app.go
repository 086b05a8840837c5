package app

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/controllers"
	"github.com/groupgate/groupgate/internal/callbackhealth"
	"github.com/groupgate/groupgate/internal/decisionlog"
	"github.com/groupgate/groupgate/internal/guard"
	"github.com/groupgate/groupgate/internal/informers"
	"github.com/groupgate/groupgate/internal/notices"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/refusals"
	"github.com/groupgate/groupgate/internal/replicas"
	"github.com/groupgate/groupgate/internal/term"
	"github.com/groupgate/groupgate/webhookserver"
)

// Options are what a process is told by its flags. They are not validated again.
type Options struct {
	// RESTConfig reaches the API server; see RESTConfig.
	RESTConfig *rest.Config
	// Namespaces are those to watch; none means all of them.
	Namespaces []string

	// CallbackAddress is that of the callback server.
	CallbackAddress string
	// CallbackListener, if set, is used instead of CallbackAddress. Run closes it.
	CallbackListener net.Listener
	// CallbackCertDir holds tls.crt and tls.key of the callback server, which are reloaded when they change. Empty
	// means plain HTTP.
	CallbackCertDir string
	// MaxConnections is the limit of open connections of the callback server; 0 is its default.
	MaxConnections int
	// ShutdownDelay is how long callbacks are answered after the end of Run's context, so that load balancers notice.
	ShutdownDelay time.Duration

	// MetricsAddress and ProbeAddress are those of the endpoints; "0" turns one off.
	MetricsAddress, ProbeAddress string
	// MetricsSecure serves metrics over TLS to authenticated and authorised clients only.
	MetricsSecure bool
	// MetricsCertDir holds tls.crt and tls.key of the metrics endpoint, which are reloaded when they change. Empty
	// means a certificate that the process signs itself.
	MetricsCertDir string

	// RefusalsKept is how many refusals of all apps this process remembers; 0 is none.
	RefusalsKept int

	// ProfilingAddress is that of /debug/pprof/; "0" turns it off. See ValidateProfilingAddress.
	ProfilingAddress string

	// Decisions say what the decision log is; zero is none.
	Decisions decisionlog.Options

	// Build says what the process was built from.
	Build Build

	Election term.Election
	// Pod is the one that this process runs in; zero outside of a Pod.
	Pod replicas.Pod

	// IMEndpoint, if set, is used instead of the hosts of the regions.
	IMEndpoint    string
	SweepInterval time.Duration
	PruneRunTTL   time.Duration

	// PageURL is the URL of the page, empty if there is none.
	PageURL string
	// Webhook, if set, is told of plans that await approval.
	Webhook *notices.Webhook

	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Registerer gets the metrics; nil is the registry that the metrics endpoint serves.
	Registerer prometheus.Registerer
	Log        logr.Logger
}

// App is an assembled process that is not running yet.
type App struct {
	// Store has the published snapshot.
	Store *policy.Store

	options     Options
	watches     *informers.Watches
	guard       *guard.Guard
	manager     manager.Manager
	server      *webhookserver.Server
	decisions   *decisionlog.Log // nil where decisions are neither logged nor remembered
	ring        *refusals.Ring
	counts      *refusals.Counts
	reporter    *replicas.Reporter // nil outside of a Pod
	known       atomic.Bool        // once the others know of this replica
	certificate *certificate       // nil without TLS
}

// New assembles a process. ctx must outlive Run.
func New(ctx context.Context, o Options) (*App, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Registerer == nil {
		o.Registerer = metrics.Registry
	}
	a := &App{Store: &policy.Store{}, options: o, watches: informers.NewWatches(o.Namespaces, o.Now)}
	name := cmp.Or(o.Pod.Name, hostname())
	a.ring = refusals.NewRing(o.RefusalsKept, name, o.Now().UTC())
	a.counts = &refusals.Counts{Replica: name, Totals: a.joins, Freshness: a.freshness, Now: o.Now}
	if o.RefusalsKept > 0 {
		o.Decisions.Keep = a.ring.Keep
	}
	a.guard = guard.New(o.Registerer, o.Log.WithName("guard"))
	a.watches.Guard = a.guard
	o.Registerer.MustRegister(a.guard.Collector(a.watches), o.Build.collector())
	if err := a.newManager(); err != nil {
		return nil, err
	}
	if err := o.Webhook.Check(); err != nil {
		o.Log.WithName("notices").Error(err, "No notice can be sent to the webhook until its files can be read")
	}
	health := new(callbackhealth.Recorder)
	running, err := controllers.Setup(ctx, a.manager, controllers.Config{
		Store:         a.Store,
		Watches:       a.watches,
		Members:       replicas.NewMembers(o.Pod, o.Now),
		Health:        health,
		Guard:         a.guard,
		Election:      o.Election,
		IMEndpoint:    o.IMEndpoint,
		SweepInterval: o.SweepInterval,
		PruneRunTTL:   o.PruneRunTTL,
		PageURL:       o.PageURL,
		Webhook:       o.Webhook,
		Now:           o.Now,
		Registerer:    o.Registerer,
	})
	if err != nil {
		return nil, err
	}
	a.decisions = decisionlog.NewLog(o.Decisions, o.Registerer, o.Log.WithName("decisions"))
	a.server = &webhookserver.Server{
		Addr:     o.CallbackAddress,
		Listener: o.CallbackListener,

		MaxConnections: o.MaxConnections,

		Snapshots:  a.Store,
		FullGroups: running.Intake,
		Leaks:      running.Leaks,
		Now:        o.Now,
		Log:        o.Log.WithName("callback"),
		Metrics:    webhookserver.NewMetrics(o.Registerer),
		Health:     health,
		Decisions:  a.decisions,
	}
	if dir := o.CallbackCertDir; dir != "" {
		if a.certificate, err = newCertificate(dir, o.Registerer, o.Log.WithName("certificate")); err != nil {
			return nil, err
		}
		a.server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: a.certificate.Get}
	}
	err = errors.Join(
		a.addReplica(running.Replica),
		a.manager.Add(a.guard.Runnable(guard.Memory, &memoryRelease{
			Store: a.Store, Published: running.Published, Began: running.TermBegan,
			Delay: releaseDelay, Release: debug.FreeOSMemory,
		})),
		a.manager.Add(a.guard.Runnable(guard.Metrics, a.counts)),
	)
	if o.ProbeAddress != "0" {
		probes := newProbes(o.ProbeAddress, readiness{{"snapshot", a.Ready}, {"replica", a.reported}})
		err = errors.Join(err, a.manager.Add(&manager.Server{Name: "health probe", Server: probes}))
	}
	if err != nil {
		return nil, fmt.Errorf("add to the manager: %w", err)
	}
	return a, nil
}

// hostname is the name of a replica outside of a Pod.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "this process"
	}
	return name
}

func (a *App) newManager() error {
	o := a.options
	objects := apiruntime.NewScheme()
	if err := errors.Join(scheme.AddToScheme(objects), v1alpha1.AddToScheme(objects)); err != nil {
		return fmt.Errorf("build the scheme: %w", err)
	}
	metricsOptions := metricsserver.Options{
		BindAddress: o.MetricsAddress, SecureServing: o.MetricsSecure, CertDir: o.MetricsCertDir,
		ExtraHandlers: a.viewerPaths(),
	}
	if o.MetricsSecure {
		metricsOptions.FilterProvider = o.metricsFilter
	}
	severalPerProcess := o.Registerer != metrics.Registry // of tests
	mgr, err := ctrl.NewManager(informers.ConnectionConfig(o.RESTConfig), ctrl.Options{
		Scheme:         objects,
		MapperProvider: informers.NewRESTMapper,
		Logger:         o.Log,
		Cache: informers.CacheOptions(informers.Options{
			Namespaces: o.Namespaces, Lease: o.Election.Lease(), Store: a.Store, Now: o.Now, Watches: a.watches,
		}),
		Controller: config.Controller{SkipNameValidation: &severalPerProcess},
		Metrics:    metricsOptions,
		// newProbes serves the probes.
		HealthProbeBindAddress: "0",
		PprofBindAddress:       o.ProfilingAddress,
		// The manager's own election ends the process when the Lease is lost, and callbacks with it; see term.Term.
		LeaderElection: false,
	})
	if err != nil {
		return fmt.Errorf("create the manager: %w", err)
	}
	a.manager = mgr
	return nil
}

// Ready returns nil once a snapshot is published, until the end of Run's context. The error names what the first one
// waits for.
func (a *App) Ready() error {
	err := a.server.Ready(nil)
	if waiting := a.watches.Waiting(); waiting != "" && errors.Is(err, webhookserver.ErrNotReady) {
		return fmt.Errorf("%w: waiting for %s", err, waiting)
	}
	return err
}

// Run serves until ctx ends. Then it reports not ready at once, answers callbacks for ShutdownDelay more, stops and
// returns nil. It returns an error if a part of the process fails, and ends the others.
//
// The callback server runs beside the manager, not inside it: it listens before the caches are filled, so that a
// callback before the first snapshot gets an answer, and it outlives every controller during a stop. So does the
// reloading of its certificate, which must not depend on the API server either.
func (a *App) Run(ctx context.Context) error {
	running, stop := drained(ctx, a.server, a.options.ShutdownDelay)
	defer stop()
	g, running := errgroup.WithContext(running)
	if a.certificate != nil {
		g.Go(func() error {
			a.guard.Repeat(running, guard.Certificate, func() { a.certificate.poll(running) })
			return nil
		})
	}
	logging, answered := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error {
		defer answered()
		return a.server.Start(running)
	})
	g.Go(func() error {
		a.logDecisions(logging)
		return nil
	})
	g.Go(func() error {
		log := a.options.Log.WithName("watches")
		a.guard.Repeat(running, guard.Informer, func() { a.watches.Report(running, log) })
		return nil
	})
	g.Go(func() error { return startManager(running, a.manager) })
	err := g.Wait()
	a.leave(ctx)
	return err
}

// drained returns a context that ends delay after ctx. Readiness of the server is off from the end of ctx on.
func drained(
	ctx context.Context, server *webhookserver.Server, delay time.Duration,
) (context.Context, context.CancelFunc) {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	unhook := context.AfterFunc(ctx, func() {
		server.Drain()
		select {
		case <-running.Done():
		case <-time.After(delay):
			stop()
		}
	})
	return running, func() {
		unhook()
		stop()
	}
}

// startManager runs mgr until ctx ends and everything that mgr runs has returned.
//
// A manager that still waits for its caches when ctx ends is not waited for: controller-runtime v0.25.2 would go on
// waiting forever, in a busy loop, while the API server cannot be reached. Nothing that writes has started by then.
func startManager(ctx context.Context, mgr manager.Manager) error {
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }() // ends after ctx, or with the process
	select {
	case err := <-ended:
		return err
	case <-mgr.Elected(): // without an election: everything has been started
		return <-ended
	case <-ctx.Done():
	}
	select {
	case <-mgr.Elected():
		return <-ended
	default:
		return nil
	}
}
