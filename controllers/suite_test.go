package controllers

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/lab"
	"github.com/groupgate/groupgate/internal/term"
)

// apiServer is the control plane that all tests of this package share. A test works in a namespace of its own.
var apiServer *rest.Config

func TestMain(m *testing.M) {
	log := logr.Discard()
	if os.Getenv("GROUPGATE_TEST_LOG") != "" {
		log = funcr.New(func(prefix, args string) { fmt.Fprintln(os.Stderr, prefix, args) }, funcr.Options{Verbosity: 1})
	}
	logf.SetLogger(log)
	klog.SetLogger(log)
	os.Exit(lab.RunWithCluster(m, lab.ClusterOptions{}, func(c *lab.Cluster) { apiServer = c.Config }))
}

func testScheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	must(t, clientgoscheme.AddToScheme(scheme))
	must(t, v1alpha1.AddToScheme(scheme))
	return scheme
}

// testClient talks to the API server directly, without a cache.
func testClient(t *testing.T) client.Client {
	t.Helper()
	c, err := client.New(apiServer, client.Options{Scheme: testScheme(t)})
	must(t, err)
	return c
}

// newNamespace makes a namespace for one test. It is never deleted: no namespace controller runs here.
func newNamespace(t *testing.T) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	must(t, testClient(t).Create(t.Context(), namespace))
	return namespace.Name
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually polls until check returns nil, for at most a minute: long enough for a busy machine, and never waited for in full
// where things work.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("still not after a minute: %v", err)
		case <-tick.C:
		}
	}
}

// start runs what the test stops with stop, or its end does; stop returns when run has returned.
func start(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("ended with %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// heldTerm returns a term that is held until end is called. end does not wait for work that has joined the term.
func heldTerm(t *testing.T) (_ *term.Term, end func()) {
	t.Helper()
	lasting := &term.Term{Log: logr.Discard()}
	ctx, cancel := context.WithCancel(t.Context())
	start(t, func(context.Context) error { return lasting.Start(ctx) })
	t.Cleanup(cancel) // before start waits
	eventually(t, held(lasting, true))
	return lasting, func() {
		cancel()
		eventually(t, held(lasting, false))
	}
}

func held(leader *term.Term, want bool) func() error {
	return func() error {
		if leader.Held() != want {
			return fmt.Errorf("the term is held: %t, want %t", leader.Held(), want)
		}
		return nil
	}
}

// pause lets real time pass where the absence of an event is what is tested.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-t.Context().Done():
	case <-time.After(d):
	}
}
