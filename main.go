// Command groupgate is the whole product in one binary: `groupgate manager` is the operator with its callback server,
// `groupgate emulator` is an IM backend for a laptop, `groupgate version` says what was built.
//
// This package reads flags and signals. Package app assembles the manager.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
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
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/groupgate/groupgate/internal/app"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/im/imrest"
	"github.com/groupgate/groupgate/internal/refusals"
	"github.com/groupgate/groupgate/internal/replicas"
	"github.com/groupgate/groupgate/internal/terminal"
	"github.com/groupgate/groupgate/webhookserver"
)

// version and revision, a commit, are set by the linker: `-ldflags "-X main.version=v1.2.3 -X main.revision=4f5e6d7"`.
var version, revision string

func main() {
	if err := rootCommand(os.Args).ExecuteContext(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "groupgate: "+terminal.Visible(withSignIn(err).Error(), '\n', '\t'))
		if _, bad := errors.AsType[badInputError](err); bad {
			os.Exit(2)
		}
		os.Exit(1)
	}
}

// rootCommand executes words, of which the first is the name of the binary: as kubectl-groupgate it is a plugin of
// kubectl, and as kubectl_complete-groupgate it completes the command lines of the plugin.
func rootCommand(words []string) *cobra.Command {
	root := &cobra.Command{
		Use:           "groupgate",
		Short:         "The gatekeeper of chat groups on Tencent Cloud Chat (IM)",
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return flagsFromEnvironment(cmd.Flags())
		},
	}
	root.AddCommand(managerCommand(), emulatorCommand(), explainCommand(), testCommand(), versionCommand())
	root.AddCommand(schemaCommand())
	root.AddCommand(simulateCommand())
	root.AddCommand(checkCommand(), runsCommand(), refusedCommand(), nowCommand())
	root.AddCommand(listsCommand())
	root.AddCommand(pageCommand())
	root.AddCommand(decideCommands()...)
	root.SetArgs(words[1:])
	switch name := filepath.Base(words[0]); {
	case strings.HasPrefix(name, "kubectl-"):
		root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl groupgate"}
	case strings.HasPrefix(name, "kubectl_complete-"):
		root.SetArgs(append([]string{cobra.ShellCompRequestCmd}, words[1:]...))
	}
	return root
}

// flagsFromEnvironment sets --log-level from GROUPGATE_LOG_LEVEL, and so on for every flag. The command line takes
// precedence.
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
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "groupgate %s %s %s/%s\n",
				builtVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
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

// builtRevision is the commit that was built, empty if that is not known.
func builtRevision() string {
	if revision != "" {
		return revision
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				return setting.Value
			}
		}
	}
	return ""
}

// managerOptions are the flags of `groupgate manager`.
type managerOptions struct {
	app.Options
	kubeconfig           string
	callbackInsecureHTTP bool
	logging              loggingOptions
	decisionLog          decisionLogOptions
	notices              noticeOptions
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
	f.StringVar(&o.kubeconfig, "kubeconfig", "",
		"path of a kubeconfig; default: KUBECONFIG, then the cluster this runs in")
	f.StringSliceVar(&o.Namespaces, "namespace", nil, "namespace to watch, repeatable; default: all")
	f.StringVar(&o.CallbackAddress, "callback-bind-address", ":8443", "address of the callback server")
	f.StringVar(&o.CallbackCertDir, "callback-tls-cert-dir", "",
		"directory with tls.crt and tls.key of the callback server, reloaded on change")
	f.BoolVar(&o.callbackInsecureHTTP, "callback-insecure-http", false,
		"serve callbacks over plain HTTP: behind a proxy that ends TLS, or on a laptop")
	f.IntVar(&o.MaxConnections, "max-connections", webhookserver.DefaultMaxConnections,
		"limit of open connections of the callback server; beyond it, those make way that no callback was verified on")
	f.DurationVar(&o.ShutdownDelay, "shutdown-delay", 5*time.Second,
		"how long to go on answering after SIGTERM, so that load balancers notice")
	f.StringVar(&o.MetricsAddress, "metrics-bind-address", ":8080", "address of the metrics endpoint; 0 turns it off")
	f.BoolVar(&o.MetricsSecure, "metrics-secure", true,
		"serve metrics over TLS to authenticated and authorised clients only")
	f.StringVar(&o.MetricsCertDir, "metrics-cert-dir", "",
		"directory with tls.crt and tls.key of the metrics endpoint, reloaded on change; "+
			"default: a certificate that the process signs itself")
	f.IntVar(&o.RefusalsKept, "refusals-kept", refusals.DefaultCapacity,
		"how many refusals of all apps are remembered, with account ids, for `groupgate refused` and the page; "+
			"0 remembers none")
	f.StringVar(&o.ProbeAddress, "health-probe-bind-address", ":8081", "address of /healthz and /readyz")
	f.StringVar(&o.ProfilingAddress, "pprof-bind-address", "0",
		"loopback address of /debug/pprof/, such as 127.0.0.1:6060; 0 turns it off")
	f.BoolVar(&o.Election.Enabled, "leader-elect", true,
		"elect the one replica that writes status and prunes; every replica answers callbacks all the same")
	f.StringVar(&o.Election.ID, "leader-election-id", "groupgate-manager", "name of the Lease")
	f.StringVar(&o.Election.Namespace, "leader-election-namespace", "",
		"namespace of the Lease; default: the one this pod runs in")
	f.DurationVar(&o.Election.LeaseDuration, "leader-election-lease-duration", 15*time.Second,
		"how long others wait before they take over from a silent leader")
	f.DurationVar(&o.Election.RenewDeadline, "leader-election-renew-deadline", 10*time.Second,
		"how long the leader tries to renew the Lease before it gives up leadership")
	f.DurationVar(&o.Election.RetryPeriod, "leader-election-retry-period", 2*time.Second, "time between two tries")
	f.StringVar(&o.IMEndpoint, "im-endpoint", "",
		"base URL of the IM REST API instead of the regions' own; "+
			"http only towards loopback: for the emulator and tests")
	f.DurationVar(&o.SweepInterval, "sweep-interval", 10*time.Minute,
		"time between two looks for full groups whose callback was lost")
	f.DurationVar(&o.PruneRunTTL, "prune-run-ttl", 7*24*time.Hour,
		"how long the record of a run is kept, at least 24h; of those of a group that removed nobody, the last 3")
	o.logging.addFlags(f)
	o.decisionLog.addFlags(f)
	o.notices.addFlags(f)
	return cmd
}

func (o *managerOptions) validate() error {
	var errs []error
	var err error
	if o.Decisions, err = o.decisionLog.options(os.Stdout); err != nil {
		errs = append(errs, err)
	}
	if o.PageURL, o.Webhook, err = o.notices.options(); err != nil {
		errs = append(errs, err)
	}
	if (o.CallbackCertDir == "") == !o.callbackInsecureHTTP {
		errs = append(errs, errors.New("say how callbacks are served: "+
			"either --callback-tls-cert-dir=DIR with tls.crt and tls.key, or --callback-insecure-http"))
	}
	for _, d := range []struct {
		flag       string
		value, min time.Duration
	}{
		{"shutdown-delay", o.ShutdownDelay, 0},
		{"sweep-interval", o.SweepInterval, time.Second},
		{"prune-run-ttl", o.PruneRunTTL, 24 * time.Hour},
	} {
		if d.value < d.min {
			errs = append(errs, fmt.Errorf("--%s must be at least %s, not %s", d.flag, d.min, d.value))
		}
	}
	if o.MaxConnections < 1 {
		errs = append(errs, fmt.Errorf("--max-connections must be at least 1, not %d", o.MaxConnections))
	}
	if o.RefusalsKept < 0 || o.RefusalsKept > maxRefusalsKept {
		errs = append(errs, fmt.Errorf("--refusals-kept must be from 0 to %d, not %d", maxRefusalsKept, o.RefusalsKept))
	}
	if o.MetricsCertDir != "" {
		errs = append(errs, validateMetricsCertDir(o.MetricsCertDir, o.MetricsSecure))
	}
	if o.ProfilingAddress != "0" {
		if err := app.ValidateProfilingAddress(o.ProfilingAddress); err != nil {
			errs = append(errs, fmt.Errorf("--pprof-bind-address: %w", err))
		}
	}
	if o.IMEndpoint != "" {
		if _, err := imrest.ParseEndpoint(o.IMEndpoint); err != nil {
			errs = append(errs, fmt.Errorf("--im-endpoint: %w", err))
		}
	}
	if o.Election.Enabled && o.Election.Namespace == "" {
		o.Election.Namespace = podNamespace()
	}
	o.Pod = podFromEnvironment()
	return errors.Join(append(errs, o.Election.Validate())...)
}

// maxRefusalsKept bounds the memory of the refusals: 15 MB, and ten times as much for ids of the greatest length.
const maxRefusalsKept = 100_000

// validateMetricsCertDir looks for the files, without which the endpoint would be served with a certificate that
// nobody has signed.
func validateMetricsCertDir(dir string, secure bool) error {
	if !secure {
		return errors.New("--metrics-cert-dir is set, but --metrics-secure is false: leave one of them out")
	}
	for _, name := range []string{"tls.crt", "tls.key"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("--metrics-cert-dir: %w", err)
		}
	}
	return nil
}

// podFromEnvironment is the Pod that this process runs in, by the variables that config/manager sets through the
// downward API; zero without one of them.
func podFromEnvironment() replicas.Pod {
	pod := replicas.Pod{
		Namespace: os.Getenv("POD_NAMESPACE"), Name: os.Getenv("POD_NAME"), UID: os.Getenv("POD_UID"),
	}
	if pod.Namespace == "" || pod.Name == "" || pod.UID == "" {
		return replicas.Pod{}
	}
	return pod
}

// podNamespace is the namespace this pod runs in, empty outside a cluster.
func podNamespace() string {
	data, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// run serves until SIGTERM or SIGINT.
func (o *managerOptions) run(parent context.Context) error {
	// A reader of the logs that goes away must not end the process, and the gate with it.
	signal.Ignore(syscall.SIGPIPE)
	o.Log = logr.FromSlogHandler(o.logging.logger(os.Stderr).Handler())
	ctrl.SetLogger(o.Log)
	klog.SetLogger(o.Log.WithName("client-go"))
	var err error
	if o.RESTConfig, err = app.RESTConfig(o.kubeconfig, "groupgate/"+builtVersion()); err != nil {
		return err
	}
	o.Build = app.Build{Version: builtVersion(), Revision: builtRevision()}
	manager, err := app.New(parent, o.Options)
	if err != nil {
		return err
	}
	o.Log.Info("Starting", "version", o.Build.Version, "revision", o.Build.Revision,
		"callbackAddress", o.CallbackAddress, "tls", o.CallbackCertDir != "", "namespaces", o.Namespaces)
	if o.Pod == (replicas.Pod{}) && podNamespace() != "" {
		o.Log.Info("Set POD_NAMESPACE, POD_NAME and POD_UID through the downward API: without them the others do not " +
			"know this replica, and the condition Programmed is about the leader alone")
	}
	ctx, stop := untilSignal(parent, o.Log.WithValues("shutdownDelay", o.ShutdownDelay.String()))
	defer stop()
	if err := manager.Run(ctx); err != nil {
		return err
	}
	o.Log.Info("Stopped")
	return nil
}

// untilSignal returns a context that ends with the first SIGTERM or SIGINT. The second one ends the process at once.
func untilSignal(parent context.Context, log logr.Logger) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() { // ends with the process, or when stop closes the channel
		received, ok := <-signals
		if !ok {
			return
		}
		log.Info("Stopping", "signal", received.String())
		cancel()
		if _, ok := <-signals; ok {
			os.Exit(1)
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
		cancel()
	}
}

func emulatorCommand() *cobra.Command {
	var (
		address string
		apps    []string
		config  emulator.Config
		logging loggingOptions
	)
	cmd := &cobra.Command{
		Use:   "emulator",
		Short: "Run an IM backend on loopback, in memory: groups, members, REST API, callbacks, faults",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config.Log = logging.logger(os.Stderr)
			return runEmulator(cmd.Context(), address, apps, config)
		},
	}
	f := cmd.Flags()
	f.StringVar(&address, "bind-address", "127.0.0.1:8090", "loopback address to listen on")
	f.StringVar(&config.CallbackURL, "callback-url", "",
		"where callbacks are sent, as in the vendor's console; default: nowhere")
	f.StringArrayVar(&apps, "app", nil, "sdkAppID:secretKey:callbackToken, split at the first two colons; repeatable")
	logging.addFlags(f)
	return cmd
}

func runEmulator(parent context.Context, address string, apps []string, config emulator.Config) error {
	for _, text := range apps {
		app, err := emulator.ParseApp(text)
		if err != nil {
			return fmt.Errorf("--app: %w", err)
		}
		config.Apps = append(config.Apps, app)
	}
	if len(config.Apps) == 0 {
		return errors.New("name at least one app: --app=1400000000:secretKey:callbackToken")
	}
	if err := emulator.ValidateBindAddress(address); err != nil {
		return fmt.Errorf("--bind-address: %w", err)
	}
	if err := config.Validate(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(parent, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("--bind-address: %w", err)
	}
	fmt.Fprintf(os.Stderr, "IM emulator on http://%s, see http://%[1]s/emulator/\n", listener.Addr())
	return emulator.New(config).Serve(ctx, listener)
}
