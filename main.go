// Command groupgate is the whole product in one binary: `groupgate manager` is the operator with its callback server,
// `groupgate emulator` is an IM backend for a laptop, `groupgate version` says what was built.
//
// This file only reads flags and joins the packages to each other; what they do is theirs to explain.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/controllers"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/im/imrest"
	"github.com/groupgate/groupgate/internal/informers"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/term"
	"github.com/groupgate/groupgate/webhookserver"
)

// version is set by the linker: `-ldflags "-X main.version=v1.2.3"`.
var version string

func main() {
	root := &cobra.Command{
		Use:           "groupgate",
		Short:         "The gatekeeper of chat groups on Tencent Cloud Chat (IM)",
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return flagsFromEnvironment(cmd.Flags())
		},
	}
	root.AddCommand(managerCommand(), emulatorCommand(), versionCommand())
	if err := root.ExecuteContext(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "groupgate: "+err.Error())
		os.Exit(1)
	}
}

// flagsFromEnvironment lets GROUPGATE_LOG_LEVEL stand for --log-level, and so on for every flag; what is said on the
// command line wins.
func flagsFromEnvironment(flags *pflag.FlagSet) error {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		name := "GROUPGATE_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, ok := os.LookupEnv(name)
		if !ok || f.Changed || f.Name == "help" {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			errs = append(errs, fmt.Errorf("environment variable %s: %w", name, err))
		}
	})
	return errors.Join(errs...)
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "groupgate %s %s %s/%s\n", builtVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

func builtVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// managerOptions are the flags of `groupgate manager`.
type managerOptions struct {
	kubeconfig string
	namespaces []string

	callbackAddress      string
	callbackCertDir      string
	callbackInsecureHTTP bool
	shutdownDelay        time.Duration

	metricsAddress string
	metricsSecure  bool
	probeAddress   string

	election term.Election

	imEndpoint    string
	sweepInterval time.Duration
	pruneRunTTL   time.Duration

	logging loggingOptions
}

func managerCommand() *cobra.Command {
	var o managerOptions
	cmd := &cobra.Command{
		Use:   "manager",
		Short: "Run the operator and its callback server",
		Long: "Run the operator and its callback server.\n\n" +
			"Every flag can also be set in the environment: GROUPGATE_ and its name, as in GROUPGATE_LOG_LEVEL.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			return o.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "path of a kubeconfig; default: KUBECONFIG, then the cluster this runs in")
	f.StringSliceVar(&o.namespaces, "namespace", nil, "namespace to watch, repeatable; default: all")
	f.StringVar(&o.callbackAddress, "callback-bind-address", ":8443", "address of the callback server")
	f.StringVar(&o.callbackCertDir, "callback-tls-cert-dir", "", "directory with tls.crt and tls.key of the callback server, reloaded on change")
	f.BoolVar(&o.callbackInsecureHTTP, "callback-insecure-http", false, "serve callbacks over plain HTTP: behind a proxy that ends TLS, or on a laptop")
	f.DurationVar(&o.shutdownDelay, "shutdown-delay", 5*time.Second, "how long to go on answering after SIGTERM, so that load balancers notice")
	f.StringVar(&o.metricsAddress, "metrics-bind-address", ":8080", "address of the metrics endpoint; 0 turns it off")
	f.BoolVar(&o.metricsSecure, "metrics-secure", true, "serve metrics over TLS to authenticated and authorised clients only")
	f.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "address of /healthz and /readyz")
	f.BoolVar(&o.election.Enabled, "leader-elect", true, "elect the one replica that writes status and prunes; every replica answers callbacks all the same")
	f.StringVar(&o.election.ID, "leader-election-id", "groupgate-manager", "name of the Lease")
	f.StringVar(&o.election.Namespace, "leader-election-namespace", "", "namespace of the Lease; default: the one this pod runs in")
	f.DurationVar(&o.election.LeaseDuration, "leader-election-lease-duration", 15*time.Second, "how long others wait before they take over from a silent holder")
	f.DurationVar(&o.election.RenewDeadline, "leader-election-renew-deadline", 10*time.Second, "how long the holder tries to renew before it gives up its term")
	f.DurationVar(&o.election.RetryPeriod, "leader-election-retry-period", 2*time.Second, "time between two tries")
	f.StringVar(&o.imEndpoint, "im-endpoint", "", "base URL of the IM REST API instead of the regions' own; http only towards loopback: for the emulator and tests")
	f.DurationVar(&o.sweepInterval, "sweep-interval", 10*time.Minute, "time between two looks for full groups whose callback was lost")
	f.DurationVar(&o.pruneRunTTL, "prune-run-ttl", 7*24*time.Hour, "how long the record of a run is kept, at least 24h; of those of a group that removed nobody, the last 3")
	o.logging.addFlags(f)
	return cmd
}

func (o *managerOptions) validate() error {
	var errs []error
	if (o.callbackCertDir == "") == !o.callbackInsecureHTTP {
		errs = append(errs, errors.New("say how callbacks are served: either --callback-tls-cert-dir=DIR with tls.crt and tls.key, or --callback-insecure-http"))
	}
	for _, d := range []struct {
		flag       string
		value, min time.Duration
	}{
		{"shutdown-delay", o.shutdownDelay, 0},
		{"sweep-interval", o.sweepInterval, time.Second},
		{"prune-run-ttl", o.pruneRunTTL, 24 * time.Hour},
	} {
		if d.value < d.min {
			errs = append(errs, fmt.Errorf("--%s must be at least %s, not %s", d.flag, d.min, d.value))
		}
	}
	if o.imEndpoint != "" {
		if _, err := imrest.ParseEndpoint(o.imEndpoint); err != nil {
			errs = append(errs, fmt.Errorf("--im-endpoint: %w", err))
		}
	}
	if o.election.Enabled && o.election.Namespace == "" {
		o.election.Namespace = podNamespace()
	}
	if err := o.election.Validate(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// podNamespace is the namespace this pod runs in, empty outside a cluster.
func podNamespace() string {
	data, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// run joins the packages and serves until SIGTERM or SIGINT; a second signal ends the process at once.
//
// The callback server stands beside the manager, not inside it: it listens before the caches are filled, so that a
// callback before the first snapshot gets an answer, and it outlives every controller on the way out.
func (o *managerOptions) run(parent context.Context) error {
	log := o.logging.logger(os.Stderr)
	ctrl.SetLogger(log)
	klog.SetLogger(log.WithName("client-go"))

	restConfig, err := o.restConfig()
	if err != nil {
		return err
	}
	apiScheme := apiruntime.NewScheme()
	if err := errors.Join(scheme.AddToScheme(apiScheme), v1alpha1.AddToScheme(apiScheme)); err != nil {
		return fmt.Errorf("build the scheme: %w", err)
	}
	store := &policy.Store{}
	mgr, err := ctrl.NewManager(restConfig, ctrl.Options{
		Scheme:         apiScheme,
		MapperProvider: informers.NewRESTMapper,
		Logger:         log,
		Cache: informers.CacheOptions(informers.Options{
			Namespaces: o.namespaces, Lease: o.election.Lease(), Store: store, Now: time.Now,
		}),
		Metrics:                o.metricsOptions(),
		HealthProbeBindAddress: o.probeAddress,
		// The manager's own election ends the process when the lease is lost, and with it the gate; see term.Term.
		LeaderElection: false,
	})
	if err != nil {
		return fmt.Errorf("create the manager: %w", err)
	}

	intake, err := controllers.Setup(parent, mgr, controllers.Config{
		Store:         store,
		Election:      o.election,
		IMEndpoint:    o.imEndpoint,
		SweepInterval: o.sweepInterval,
		PruneRunTTL:   o.pruneRunTTL,
		Now:           time.Now,
		Registerer:    metrics.Registry,
	})
	if err != nil {
		return err
	}
	server := &webhookserver.Server{
		Addr:       o.callbackAddress,
		Snapshots:  store,
		FullGroups: intake,
		Now:        time.Now,
		Log:        log.WithName("callback"),
		Metrics:    webhookserver.NewMetrics(metrics.Registry),
	}
	// Beside the manager, as the server is: a renewed certificate is served during an outage, too.
	reloadCertificate := func(context.Context) error { return nil }
	if o.callbackCertDir != "" {
		watcher, err := o.callbackCertificate()
		if err != nil {
			return err
		}
		server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: watcher.GetCertificate}
		reloadCertificate = watcher.Start
	}
	if err := errors.Join(mgr.AddHealthzCheck("ping", healthz.Ping), mgr.AddReadyzCheck("snapshot", server.Ready)); err != nil {
		return fmt.Errorf("add the health checks: %w", err)
	}

	log.Info("starting", "version", builtVersion(), "callbackAddress", o.callbackAddress, "tls", server.TLS != nil, "namespaces", o.namespaces)
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	defer drainOnSignal(log, server, o.shutdownDelay, cancel)()

	// All end with ctx; whichever fails first ends the others.
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return reloadCertificate(ctx) })
	g.Go(func() error { return server.Start(ctx) })
	g.Go(func() error { return startManager(ctx, mgr) })
	if err := g.Wait(); err != nil {
		return err
	}
	log.Info("stopped")
	return nil
}

// startManager runs mgr until ctx ends and all that it runs has ended.
//
// A manager that is still waiting for its caches at the end of ctx is not waited for: controller-runtime v0.25.2 would go on
// waiting for ever, at full speed, while the API server cannot be reached. Nothing that writes has begun by then.
func startManager(ctx context.Context, mgr manager.Manager) error {
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }() // ends after ctx, or with the process
	select {
	case err := <-ended:
		return err
	case <-mgr.Elected(): // by nobody: without an election it says that all has been started
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

// drainOnSignal makes the first SIGTERM or SIGINT turn readiness off and, after delay, call stop; the second one ends
// the process. The function it returns stops listening for signals.
func drainOnSignal(log logr.Logger, server *webhookserver.Server, delay time.Duration, stop func()) func() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	// Ends with the process, or when the channel is closed below.
	go func() {
		received, ok := <-signals
		if !ok {
			return
		}
		log.Info("stopping", "signal", received.String(), "shutdownDelay", delay.String())
		server.Drain()
		select {
		case <-time.After(delay):
			stop()
		case _, ok := <-signals:
			if ok {
				os.Exit(1)
			}
			return
		}
		if _, ok := <-signals; ok {
			os.Exit(1)
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
	}
}

func (o *managerOptions) restConfig() (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.kubeconfig
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("find the cluster (set --kubeconfig or KUBECONFIG, or run in a cluster): %w", err)
	}
	cfg.UserAgent = "groupgate/" + builtVersion()
	// The API server's own fairness paces us; client-go's limit of 5 a second would delay statuses and the Lease.
	cfg.QPS = -1
	if err := noticeDeadConnections(); err != nil {
		return nil, err
	}
	return informers.ConnectionConfig(cfg), nil
}

// noticeDeadConnections has client-go ping a connection that says nothing after 5 s and give it up after 3 s more. Its own defaults (30 and
// 15 s) would leave a replica blind for 45 s when the API server vanishes without a word; and it takes them from the environment only.
func noticeDeadConnections() error {
	for name, value := range map[string]string{"HTTP2_READ_IDLE_TIMEOUT_SECONDS": "5", "HTTP2_PING_TIMEOUT_SECONDS": "3"} {
		if _, chosen := os.LookupEnv(name); chosen {
			continue
		}
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}

func (o *managerOptions) metricsOptions() metricsserver.Options {
	opts := metricsserver.Options{BindAddress: o.metricsAddress, SecureServing: o.metricsSecure}
	if o.metricsSecure {
		opts.FilterProvider = filters.WithAuthenticationAndAuthorization
	}
	return opts
}

func (o *managerOptions) callbackCertificate() (*certwatcher.CertWatcher, error) {
	watcher, err := certwatcher.New(filepath.Join(o.callbackCertDir, "tls.crt"), filepath.Join(o.callbackCertDir, "tls.key"))
	if err != nil {
		return nil, fmt.Errorf("load the callback certificate from --callback-tls-cert-dir: %w", err)
	}
	return watcher, nil
}

func emulatorCommand() *cobra.Command {
	var (
		address, callbackURL string
		appTexts             []string
		logging              loggingOptions
	)
	cmd := &cobra.Command{
		Use:   "emulator",
		Short: "Run an IM backend on loopback, in memory: groups, members, REST API, callbacks, faults",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runEmulator(cmd.Context(), address, callbackURL, appTexts, logging)
		},
	}
	f := cmd.Flags()
	f.StringVar(&address, "bind-address", "127.0.0.1:8090", "loopback address to listen on")
	f.StringVar(&callbackURL, "callback-url", "", "where callbacks are sent, as in the vendor's console; default: nowhere")
	f.StringArrayVar(&appTexts, "app", nil, "sdkAppID:secretKey:callbackToken, split at the first two colons; repeatable")
	logging.addFlags(f)
	return cmd
}

func runEmulator(parent context.Context, address, callbackURL string, appTexts []string, logging loggingOptions) error {
	apps := make([]emulator.App, 0, len(appTexts))
	for _, text := range appTexts {
		app, err := emulator.ParseApp(text)
		if err != nil {
			return fmt.Errorf("--app: %w", err)
		}
		apps = append(apps, app)
	}
	if len(apps) == 0 {
		return errors.New("name at least one app: --app=1400000000:secretKey:callbackToken")
	}
	if err := emulator.ValidateBindAddress(address); err != nil {
		return fmt.Errorf("--bind-address: %w", err)
	}
	config := emulator.Config{Apps: apps, CallbackURL: callbackURL, Log: logging.slogger(os.Stderr)}
	if err := config.Validate(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(parent, syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	backend := emulator.New(config)
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("--bind-address: %w", err)
	}
	server := &http.Server{Handler: backend, ReadHeaderTimeout: 5 * time.Second}
	fmt.Fprintf(os.Stderr, "IM emulator on http://%s, see http://%[1]s/emulator/\n", listener.Addr())

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		// First the backend: it ends the answers that a fault holds back, which the server would wait for.
		err := backend.Close()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		return errors.Join(err, server.Shutdown(grace))
	})
	return g.Wait()
}

// loggingOptions are the flags that both commands have.
type loggingOptions struct {
	level  logLevel
	format logFormat
}

func (o *loggingOptions) addFlags(f *pflag.FlagSet) {
	o.format = "json"
	f.Var(&o.level, "log-level", "error, info or debug (one line per decision, with account ids)")
	f.Var(&o.format, "log-format", "json or console")
}

func (o *loggingOptions) slogger(w *os.File) *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.Level(o.level), ReplaceAttr: plainLevel}
	if o.format == "console" {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

func (o *loggingOptions) logger(w *os.File) logr.Logger {
	return logr.FromSlogHandler(o.slogger(w).Handler())
}

// plainLevel prints logr's V(1) and beyond as DEBUG; slog would say DEBUG+3.
func plainLevel(_ []string, a slog.Attr) slog.Attr {
	if level, ok := a.Value.Any().(slog.Level); ok && a.Key == slog.LevelKey && level < slog.LevelInfo {
		a.Value = slog.StringValue("DEBUG")
	}
	return a
}

// logLevel is the value of --log-level; zero is info.
type logLevel slog.Level

func (l *logLevel) Set(s string) error {
	switch s {
	case "error":
		*l = logLevel(slog.LevelError)
	case "info":
		*l = logLevel(slog.LevelInfo)
	case "debug":
		*l = logLevel(slog.LevelDebug)
	default:
		return fmt.Errorf("%q is no level: use error, info or debug", s)
	}
	return nil
}

func (l *logLevel) Type() string { return "level" }

func (l *logLevel) String() string { return strings.ToLower(slog.Level(*l).String()) }

// logFormat is the value of --log-format.
type logFormat string

func (f *logFormat) Set(s string) error {
	if s != "json" && s != "console" {
		return fmt.Errorf("%q is no format: use json or console", s)
	}
	*f = logFormat(s)
	return nil
}

func (f *logFormat) Type() string   { return "format" }
func (f *logFormat) String() string { return string(*f) }
