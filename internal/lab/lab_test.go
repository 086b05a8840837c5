package lab

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMetricSumsSeriesWithTheLabels(t *testing.T) {
	const text = `# HELP runs A metric.
runs{app="a b",reason="Removed"} 2
runs{app="other",reason="Removed"} 3
runs{app="other",reason="Failed"} 4
runs_total 100
up 1
`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, text)
	}))
	defer server.Close()
	for _, tc := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"runs", nil, 9},
		{"runs", []string{`reason="Removed"`}, 5},
		{"runs", []string{`reason="Removed"`, `app="a b"`}, 2},
		{"up", nil, 1},
		{"absent", nil, 0},
	} {
		got, err := Metric(t.Context(), server.URL, tc.name, tc.labels...)
		if err != nil || got != tc.want {
			t.Errorf("%s %v = %v, %v, want %v", tc.name, tc.labels, got, err, tc.want)
		}
	}
}

func TestManifestsAreObjects(t *testing.T) {
	objects, err := Objects(strings.Join([]string{
		NamespaceManifests("test"),
		App{Spec: "pruning: Suspended"}.Manifests(),
		PolicyManifest("gate", "groups: [{type: All}]"),
	}, "---\n"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range objects {
		got = append(got, o.GetKind()+"/"+o.GetName())
	}
	want := []string{
		"Namespace/test",
		"RoleBinding/groupgate-manager",
		"Secret/prod-im",
		"IMApp/prod",
		"GroupPolicy/gate",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
	if got := objects[3].Object["spec"].(map[string]any)["pruning"]; got != "Suspended" {
		t.Errorf("pruning = %v: the app's spec was not added", got)
	}
}

func TestCallbacksGoToTheFirstManagerThatAnswers(t *testing.T) {
	answering := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.URL.RawQuery)
	}))
	defer answering.Close()
	for name, tc := range map[string]struct {
		targets []string
		status  int
		body    string
	}{
		"the second": {[]string{"http://127.0.0.1:1", answering.URL}, http.StatusOK, "a=b"},
		"none":       {[]string{"http://127.0.0.1:1"}, http.StatusBadGateway, "no manager answers\n"},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			forward(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/callback?a=b", http.NoBody),
				tc.targets)
			if got := w.Body.String(); w.Code != tc.status || got != tc.body {
				t.Errorf("%d %q, want %d %q", w.Code, got, tc.status, tc.body)
			}
		})
	}
}

func TestWireIsCutAndMended(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	wire, err := NewWire(t.Context(), server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = wire.Close() }()
	reach := func() error {
		resp, err := get(t.Context(), "http://"+wire.Address())
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
	if err := reach(); err != nil {
		t.Errorf("before the cut: %v", err)
	}
	wire.Cut()
	if reach() == nil {
		t.Error("a request passed the cut")
	}
	wire.Mend()
	if err := reach(); err != nil {
		t.Errorf("after it was mended: %v", err)
	}
}
