package page

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	restfake "k8s.io/client-go/rest/fake"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/manifests"
	"github.com/groupgate/groupgate/internal/refusals"
	"github.com/groupgate/groupgate/internal/refusals/replicaclient"
)

// noon is when all visits of a world are.
var noon = time.Date(2026, 11, 22, 12, 2, 0, 0, time.UTC)

// world is what a page reads, in memory.
type world struct {
	objects   []client.Object
	namespace string
	// forbidden are the resources that the viewer may not list.
	forbidden []string
	viewer    Viewer
	// refused and joined are the answers of the replicas, about each app.
	refused replicaclient.Answer[refusals.Refusals]
	joined  replicaclient.Answer[refusals.Activity]
	filter  refusals.Filter
	// more says that the list of plans goes on, and lost is what the client says instead of sending a decision.
	more bool
	lost error
}

// Refusals implements Replicas, with the filter as a replica has it.
func (w *world) Refusals(
	_ context.Context, _ types.NamespacedName, f refusals.Filter,
) replicaclient.Answer[refusals.Refusals] {
	w.filter = f
	answer := replicaclient.Answer[refusals.Refusals]{Problems: w.refused.Problems}
	for _, replica := range w.refused.Replicas {
		var selected []refusals.Refusal
		for _, r := range replica.Refusals {
			if (f.Group == "" || r.Group == f.Group) && (f.Account == "" || r.Account == f.Account) &&
				(f.Before.IsZero() || r.Time.Before(f.Before)) && len(selected) < max(f.Limit, refusals.DefaultLimit) {
				selected = append(selected, r)
			}
		}
		replica.Refusals = selected
		answer.Replicas = append(answer.Replicas, replica)
	}
	return answer
}

// Activity implements Replicas.
func (w *world) Activity(context.Context, types.NamespacedName) replicaclient.Answer[refusals.Activity] {
	return w.joined
}

// client reads the objects of the world as its viewer may.
func (w *world) client(t *testing.T) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(w.objects...).
		WithIndex(&v1alpha1.PruneRun{}, "spec.groupID", func(o client.Object) []string {
			return []string{o.(*v1alpha1.PruneRun).Spec.GroupID}
		}).
		WithInterceptorFuncs(interceptor.Funcs{List: func(
			ctx context.Context, c client.WithWatch, list client.ObjectList, o ...client.ListOption,
		) error {
			kind := strings.TrimSuffix(fmt.Sprintf("%T", list), "List")
			resource := strings.ToLower(kind[strings.LastIndex(kind, ".")+1:]) + "s"
			if slices.Contains(w.forbidden, strings.ReplaceAll(resource, "policys", "policies")) {
				return apierrors.NewForbidden(schema.GroupResource{Group: "groupgate.io", Resource: resource}, "",
					fmt.Errorf(`User "maria" cannot list resource %q`, resource))
			}
			return c.List(ctx, list, o...)
		}, Patch: func(
			ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption,
		) error {
			if w.lost != nil {
				return w.lost
			}
			return c.Patch(ctx, o, patch, options...)
		}}).Build()
}

// tables answers as the API server does to a request for the plans that wait, in columns.
func (w *world) tables() *restfake.RESTClient {
	return &restfake.RESTClient{
		NegotiatedSerializer: serializer.NewCodecFactory(runtime.NewScheme()).WithoutConversion(),
		GroupVersion:         v1alpha1.GroupVersion, VersionedAPIPath: "/apis/groupgate.io/v1alpha1",
		Client: restfake.CreateHTTPClient(func(*http.Request) (*http.Response, error) {
			var answer any = w.table()
			status := http.StatusOK
			if slices.Contains(w.forbidden, "pruneruns") {
				runs := schema.GroupResource{Resource: "pruneruns"}
				refused := apierrors.NewForbidden(runs, "", errors.New("maria may not"))
				answer, status = refused.ErrStatus, http.StatusForbidden
			}
			data, err := json.Marshal(answer)
			return &http.Response{
				StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}},
				Body: io.NopCloser(bytes.NewReader(data)),
			}, err
		}),
	}
}

func (w *world) table() *metav1.Table {
	table := &metav1.Table{ColumnDefinitions: []metav1.TableColumnDefinition{{Name: "Group"}, {Name: "Planned At"}}}
	if w.more {
		table.Continue = "more"
	}
	for _, o := range w.objects {
		if run, ok := o.(*v1alpha1.PruneRun); ok && run.Status.AwaitsApproval {
			table.Rows = append(table.Rows, metav1.TableRow{
				Cells:  []any{run.Spec.GroupID, run.Status.Plan.CreatedAt.UTC().Format(time.RFC3339)},
				Object: runtime.RawExtension{Object: &metav1.PartialObjectMetadata{ObjectMeta: run.ObjectMeta}},
			})
		}
	}
	return table
}

// handler is the page in this world.
func (w *world) handler(t *testing.T) http.Handler {
	t.Helper()
	w.viewer.Client, w.viewer.Tables = w.client(t), w.tables()
	if w.viewer.Name == "" {
		w.viewer.Name = "maria"
	}
	handler, err := New(Options{
		Identity: &viewers{w.viewer}, Namespace: w.namespace, Zone: time.UTC, Now: func() time.Time { return noon },
		Log: testr.New(t), Replicas: func(*Viewer) Replicas { return w },
	})
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

// visit is the status and the text of a page; language is as in Accept-Language.
func (w *world) visit(t *testing.T, path, language string) (int, string) {
	t.Helper()
	return visitIn(t, w.handler(t), path, language)
}

func visitIn(t *testing.T, handler http.Handler, path, language string) (int, string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
	r.Header.Set("Accept-Language", language)
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, r)
	return answer.Code, answer.Body.String()
}

// address is a path with a query of names and values.
func address(page string, query ...string) string {
	values := url.Values{}
	for i := 0; i < len(query); i += 2 {
		values.Set(query[i], query[i+1])
	}
	return page + "?" + values.Encode()
}

// expect reports what a page lacks, or has against the expectation if it begins with "!".
func expect(t *testing.T, body string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		not := strings.HasPrefix(text, "!")
		if strings.Contains(body, strings.TrimPrefix(text, "!")) == not {
			t.Errorf("the page, about %q:\n%s", text, body)
		}
	}
}

// chat is a world with the objects of the examples of package explain.
func chat(t *testing.T) *world {
	t.Helper()
	read, err := manifests.Read([]string{"../explain/testdata/chat.yaml"}, "chat", nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{namespace: "chat"}
	for i := range read.Apps {
		w.objects = append(w.objects, &read.Apps[i])
	}
	for i := range read.Policies {
		w.objects = append(w.objects, &read.Policies[i])
	}
	for i := range read.Lists {
		w.objects = append(w.objects, &read.Lists[i])
	}
	for i := range read.Runs {
		w.objects = append(w.objects, &read.Runs[i])
	}
	for _, o := range w.objects {
		o.SetResourceVersion("")
	}
	return w
}

// replica is what one remembers, with n refusals, one each second before noon.
func replica(name string, n int) refusals.Refusals {
	r := refusals.Refusals{Replica: name, Since: noon.Add(-5 * time.Hour), Capacity: 10_000, Forgotten: 3}
	for i := range n {
		r.Refusals = append(r.Refusals, refusals.Refusal{
			Time: noon.Add(-time.Duration(i+1) * time.Second), Group: "vip-berlin", GroupType: "Public",
			Account: fmt.Sprintf("account-%05d", i), Trigger: "Apply", Reason: "Denied", Policy: "banned", Code: 10120,
			Message: "You cannot join groups at the moment",
		})
	}
	return r
}

func app(namespace, name string, conditions ...metav1.Condition) *v1alpha1.IMApp {
	return &v1alpha1.IMApp{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Generation: 1},
		Spec:       v1alpha1.IMAppSpec{SDKAppID: 1400000000},
		Status:     v1alpha1.IMAppStatus{ObservedGeneration: 1, Conditions: conditions},
	}
}
