package labtest

import (
	"context"
	"errors"
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
)

// APIServer is the control plane that all tests of a package share. A test works in a namespace of its own.
var APIServer *rest.Config

// Main is for TestMain: it runs the tests of a package with APIServer set, and returns the exit code. Nothing is logged
// unless GROUPGATE_TEST_LOG is set.
func Main(m *testing.M) int {
	log := logr.Discard()
	if os.Getenv("GROUPGATE_TEST_LOG") != "" {
		log = funcr.New(func(prefix, args string) { fmt.Fprintln(os.Stderr, prefix, args) }, funcr.Options{Verbosity: 1})
	}
	logf.SetLogger(log)
	klog.SetLogger(log)
	return lab.RunWithCluster(m, lab.ClusterOptions{}, func(c *lab.Cluster) { APIServer = c.Config })
}

// Scheme holds the kinds of Kubernetes and of Groupgate.
var Scheme = sync.OnceValue(func() *runtime.Scheme {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		panic(err)
	}
	return scheme
})

var shared = sync.OnceValues(func() (client.WithWatch, error) {
	return client.NewWithWatch(APIServer, client.Options{Scheme: Scheme()})
})

// Client talks to the API server directly, without a cache.
func Client(t *testing.T) client.WithWatch {
	t.Helper()
	c, err := shared()
	Must(t, err)
	return c
}

// NewNamespace makes a namespace for one test. It is never deleted: no namespace controller runs here.
func NewNamespace(t *testing.T) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	Must(t, Client(t).Create(t.Context(), namespace))
	return namespace.Name
}

// Must ends the test if err is not nil.
func Must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Eventually polls until check returns nil, for at most a minute: long enough for a busy machine, and never waited for
// in full if the test passes.
func Eventually(t *testing.T, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
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
