// Package gatetest runs Groupgate inside the tests of other projects: the manager with all controllers, the callback
// server, and an IM backend that calls it, in the process of the test, on the control plane of any envtest suite.
//
// docs/testing.md shows a suite. Nothing here needs a container, a port that is known in advance, or rights beyond
// those of the rest.Config that envtest returns.
package gatetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/config/crd"
	"github.com/groupgate/groupgate/internal/app"
	"github.com/groupgate/groupgate/internal/im/emulator"
)

// patience bounds every wait. It is long enough for a busy machine, and never waited for in full if all is well.
const patience = time.Minute

// Gate is Groupgate as a test runs it.
type Gate struct {
	// CallbackURL answers callbacks, as the URL in the vendor's console does.
	CallbackURL string
	// Emulator is the IM backend. It sends its callbacks to CallbackURL, and Groupgate prunes its groups.
	Emulator *Emulator
	// Client reads and writes the kinds of Groupgate and of Kubernetes, past all caches.
	Client client.Client
}

// Option changes what Start runs.
type Option func(*options)

type options struct {
	namespaces []string
	apps       []App
	log        logr.Logger
}

// InNamespaces has the Gate watch these namespaces only; without it, all of them. Gates that run at the same time on
// one control plane must not share a namespace, since each of them prunes and writes the statuses.
func InNamespaces(names ...string) Option {
	return func(o *options) { o.namespaces = append(o.namespaces, names...) }
}

// WithApps has the IM backend serve these apps; without it, it serves App{}.
func WithApps(apps ...App) Option {
	return func(o *options) { o.apps = append(o.apps, apps...) }
}

// WithLogger logs what the manager logs; without it, nothing is logged.
func WithLogger(log logr.Logger) Option {
	return func(o *options) { o.log = log }
}

// CRDs are the CustomResourceDefinitions of Groupgate, for the field CRDs of envtest.Environment. The control plane
// must have them before Start.
func CRDs() []*apiextensionsv1.CustomResourceDefinition {
	crds, err := readCRDs()
	if err != nil {
		return nil // the files are embedded, and a test reads them all
	}
	return crds
}

func readCRDs() ([]*apiextensionsv1.CustomResourceDefinition, error) {
	names, err := fs.Glob(crd.FS, "*/*.yaml")
	if err != nil {
		return nil, err
	}
	var crds []*apiextensionsv1.CustomResourceDefinition
	for _, name := range names {
		text, err := crd.FS.ReadFile(name)
		if err != nil {
			return nil, err
		}
		definition := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.Unmarshal(text, definition); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		crds = append(crds, definition)
	}
	return crds, nil
}

// Start runs Groupgate until the end of the test, and returns once it answers callbacks by what the API server has. It
// ends the test if that fails. It can be called several times in one process; see InNamespaces.
//
// There is no leader election: this Gate writes the statuses, and prunes.
func Start(t testing.TB, config *rest.Config, opts ...Option) *Gate {
	t.Helper()
	o := options{log: logr.Discard()}
	for _, option := range opts {
		option(&o)
	}
	// Not t.Context(), which ends before the cleanups of the test, and they may still need the Gate.
	gate, stop, err := start(context.WithoutCancel(t.Context()), config, o)
	if err != nil {
		t.Fatalf("gatetest: %v", err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("gatetest: %v", err)
		}
	})
	return gate
}

// start returns a Gate that is ready, and what stops it and waits until it has stopped.
func start(ctx context.Context, config *rest.Config, o options) (_ *Gate, stop func() error, err error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // the default of client-go delays statuses by seconds
	if err := checkCRDs(config); err != nil {
		return nil, nil, err
	}
	objects := runtime.NewScheme()
	if err := errors.Join(scheme.AddToScheme(objects), v1alpha1.AddToScheme(objects)); err != nil {
		return nil, nil, err
	}
	c, err := client.New(config, client.Options{Scheme: objects})
	if err != nil {
		return nil, nil, fmt.Errorf("make a client: %w", err)
	}
	callbacks, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, fmt.Errorf("listen for callbacks: %w", err)
	}
	gate := &Gate{CallbackURL: "http://" + callbacks.Addr().String() + "/callback", Client: c}
	if len(o.apps) == 0 {
		o.apps = []App{{}}
	}
	settings := emulator.Config{CallbackURL: gate.CallbackURL}
	for _, a := range o.apps {
		settings.Apps = append(settings.Apps, a.emulated())
	}
	if err := settings.Validate(); err != nil {
		return nil, nil, errors.Join(err, callbacks.Close())
	}
	backend := emulator.New(settings)
	server := httptest.NewServer(backend)
	gate.Emulator = &Emulator{URL: server.URL, app: settings.Apps[0].SDKAppID}
	closeBackend := func() error {
		err := backend.Close() // ends the answers that a fault holds back
		server.Close()
		return err
	}

	manager, err := app.New(ctx, app.Options{
		RESTConfig: config, Namespaces: o.namespaces, CallbackListener: callbacks,
		MetricsAddress: "0", ProbeAddress: "0", IMEndpoint: server.URL,
		SweepInterval: 10 * time.Minute, PruneRunTTL: 7 * 24 * time.Hour,
		Registerer: prometheus.NewRegistry(), Log: o.log,
	})
	if err != nil {
		return nil, nil, errors.Join(err, callbacks.Close(), closeBackend())
	}
	running, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- manager.Run(running) }() // stop waits for it
	stop = func() error {
		cancel()
		return errors.Join(<-ended, closeBackend())
	}
	err = await(running, func(context.Context) error {
		select {
		case err := <-ended:
			ended <- err
			return fmt.Errorf("the manager has ended: %w", err)
		default:
			return manager.Ready()
		}
	})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("wait until Groupgate is ready: %w", err), stop())
	}
	return gate, stop, nil
}

// checkCRDs fails unless the API server has every kind, in the version that this module is of.
func checkCRDs(config *rest.Config) error {
	c, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	served := map[string]bool{}
	resources, err := c.ServerResourcesForGroupVersion(v1alpha1.GroupVersion.String())
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("ask the API server for its kinds: %w", err)
	}
	if err == nil {
		for _, resource := range resources.APIResources {
			served[resource.Name] = true
		}
	}
	missing := slices.DeleteFunc([]string{"imapps", "accountlists", "grouppolicies", "pruneruns"},
		func(name string) bool { return served[name] })
	if len(missing) > 0 {
		return fmt.Errorf("the API server has no %s of %s: start it with envtest.Environment{CRDs: gatetest.CRDs()}",
			strings.Join(missing, ", "), v1alpha1.GroupVersion)
	}
	return nil
}

// await polls until holds returns nil, and returns its last error when it is out of patience.
func await(ctx context.Context, holds func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := holds(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %w", patience, err)
		case <-tick.C:
		}
	}
}
