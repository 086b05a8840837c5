package imclients

import (
	"context"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/im/imrest"
)

const (
	sdkAppID  = 1400000000
	secretKey = "a key"
)

// secrets reads Secrets by name.
type secrets map[string]map[string][]byte

func (s secrets) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	data, ok := s[key.Name]
	if !ok {
		return apierrors.NewNotFound(corev1.Resource("secrets"), key.Name)
	}
	object.(*corev1.Secret).Data = data
	return nil
}

func (secrets) List(context.Context, client.ObjectList, ...client.ListOption) error { return nil }

func newApp() *v1alpha1.IMApp {
	return &v1alpha1.IMApp{
		ObjectMeta: metav1.ObjectMeta{Namespace: "chat", Name: "prod", UID: "uid"},
		Spec: v1alpha1.IMAppSpec{
			SDKAppID: sdkAppID, Region: v1alpha1.RegionSingapore, AdminAccount: "administrator",
			CredentialsSecretRef: v1alpha1.CredentialsSecretReference{Name: "prod-im"},
			REST:                 v1alpha1.RESTSettings{RequestsPerSecond: 200},
		},
	}
}

func TestClientLivesAsLongAsItsApp(t *testing.T) {
	backend := emulator.New(emulator.Config{Apps: []emulator.App{{SDKAppID: sdkAppID, SecretKey: secretKey}}})
	server := httptest.NewServer(backend)
	t.Cleanup(func() {
		server.Close()
		must(t, backend.Close())
	})
	vendor := emulator.Client{BaseURL: server.URL}
	_, err := vendor.CreateGroup(t.Context(), emulator.GroupSpec{ID: "lounge", Type: "Public", Owner: "owner"})
	must(t, err)
	metrics := NewMetrics(prometheus.NewRegistry())
	pool := &Pool{
		Reader:   secrets{"prod-im": {v1alpha1.SecretKeySecretKey: []byte(secretKey)}},
		Endpoint: server.URL, Now: time.Now, Metrics: metrics,
	}
	app := newApp()
	clientOf := func() *imrest.Client {
		t.Helper()
		rest, err := pool.Client(t.Context(), app)
		must(t, err)
		return rest
	}
	first := clientOf()
	if _, _, ok := pool.Reachability("uid"); ok {
		t.Error("reachability is known before the first call")
	}
	_, err = first.Group(t.Context(), "lounge", time.Time{})
	must(t, err)
	if reason, _, ok := pool.Reachability("uid"); !ok || reason != v1alpha1.ReasonReachable {
		t.Errorf("reachability = %q, %v", reason, ok)
	}
	if got := testutil.ToFloat64(metrics.requests.WithLabelValues("get_group_info", "ok")); got != 1 {
		t.Errorf("im_requests_total = %v, want 1", got)
	}

	app.Spec.REST.RequestsPerSecond, app.Spec.AdminAccount = 7, "nobody"
	if second := clientOf(); second != first {
		t.Error("an edit made another client, with another limiter")
	}
	if _, err := first.Group(t.Context(), "lounge", time.Time{}); imrest.ClassOf(err) != imrest.ClassUnauthorized {
		t.Errorf("the edit is not in force: %v", err)
	}
	if reason, _, _ := pool.Reachability("uid"); reason != v1alpha1.ReasonUnauthorized {
		t.Errorf("reachability = %q", reason)
	}

	pool.Forget(app.UID)
	if _, _, ok := pool.Reachability("uid"); ok {
		t.Error("the client of a deleted app is still there")
	}
	if third := clientOf(); third == first {
		t.Error("the client of a deleted app is used again")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
