package page

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	"golang.org/x/net/html"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/lab"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/prunerun"
	"github.com/groupgate/groupgate/internal/runs"
)

func TestMain(m *testing.M) { os.Exit(labtest.Main(m)) }

var must = labtest.Must

// site is the page in front of a real API server, with the runs of a namespace of its own.
type site struct {
	t         *testing.T
	namespace string
	client    client.Client
	// offset is how far the clock of the page is ahead.
	offset   time.Duration
	readOnly string
	language string

	mu    sync.Mutex
	calls []string
	// before, if set, is called before each call to the API server.
	before func(r *http.Request)
	// instead, if set, may answer a call in the place of the API server.
	instead func(http.ResponseWriter, *http.Request) bool
	// served are the pages of each user: the tokens of forms are valid in one of them.
	served map[string]http.Handler
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{
		t: t, namespace: labtest.NewNamespace(t), client: labtest.Client(t), served: map[string]http.Handler{},
	}
	installRoles(t)
	s.bind("maria", runs.ApproverRole)
	s.bind("viktor", runs.ViewerRole)
	labtest.Eventually(t, func() error { // the API server caches roles
		for _, user := range []string{"maria", "viktor"} {
			if page := s.get(user, "/runs"); page.status != http.StatusOK {
				return fmt.Errorf("status %d for %s", page.status, user)
			}
		}
		return nil
	})
	return s
}

// installRoles makes the ClusterRoles of config/rbac that users get.
func installRoles(t *testing.T) {
	t.Helper()
	for _, file := range []string{"user_prune_approver_role.yaml", "user_policy_viewer_role.yaml"} {
		data, err := os.ReadFile(lab.Root() + "/config/rbac/" + file)
		must(t, err)
		role := &rbacv1.ClusterRole{}
		must(t, yaml.Unmarshal(data, role))
		if err := labtest.Client(t).Create(t.Context(), role); !apierrors.IsAlreadyExists(err) {
			must(t, err)
		}
	}
}

// bind gives a user a role in the namespace.
func (s *site) bind(user, role string) *rbacv1.RoleBinding {
	s.t.Helper()
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: user + "-" + role},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	}
	must(s.t, s.client.Create(s.t.Context(), binding))
	return binding
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// clients are those of the page, whose calls are recorded.
func (s *site) clients() *Clients {
	s.t.Helper()
	config := rest.CopyConfig(labtest.APIServer)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			s.mu.Lock()
			s.calls = append(s.calls, r.Method+" "+r.URL.Path)
			before := s.before
			s.mu.Unlock()
			if before != nil {
				before(r)
			}
			if w := httptest.NewRecorder(); s.instead != nil && s.instead(w, r) {
				return w.Result(), nil
			}
			return next.RoundTrip(r)
		})
	})
	mapper := apimeta.NewDefaultRESTMapper(nil)
	for _, kind := range []string{"IMApp", "AccountList", "GroupPolicy", "PruneRun"} {
		mapper.Add(v1alpha1.GroupVersion.WithKind(kind), apimeta.RESTScopeNamespace)
	}
	mapper.Add(authorizationv1.SchemeGroupVersion.WithKind("SelfSubjectAccessReview"), apimeta.RESTScopeRoot)
	scheme := runtime.NewScheme() // which NewClients adds to
	must(s.t, clientgoscheme.AddToScheme(scheme))
	must(s.t, v1alpha1.AddToScheme(scheme))
	clients, err := NewClients(config, scheme, mapper)
	must(s.t, err)
	return clients
}

// page is the page as a user has it.
func (s *site) page(user string) http.Handler {
	s.t.Helper()
	if s.served[user] == nil {
		viewer, err := s.clients().impersonating(user, nil)
		must(s.t, err)
		viewer.ReadOnly = s.readOnly
		s.served[user], err = New(Options{
			Identity: &viewers{*viewer}, Namespace: s.namespace, Zone: time.UTC, Log: testr.New(s.t),
			Now: func() time.Time { return time.Now().Add(s.offset) },
		})
		must(s.t, err)
	}
	return s.served[user]
}

// answer is what the page has answered.
type answer struct {
	t        *testing.T
	status   int
	location string
	text     string
	root     *html.Node
}

func (s *site) send(user string, r *http.Request) *answer {
	s.t.Helper()
	r.Header.Set("Accept-Language", s.language)
	w := httptest.NewRecorder()
	s.page(user).ServeHTTP(w, r)
	data, err := io.ReadAll(w.Body)
	must(s.t, err)
	root, err := html.Parse(strings.NewReader(string(data)))
	must(s.t, err)
	return &answer{
		t: s.t, status: w.Code, location: w.Header().Get("Location"), root: root, text: string(data),
	}
}

// get is a page that a user reads.
func (s *site) get(user, path string) *answer {
	s.t.Helper()
	return s.send(user, httptest.NewRequestWithContext(s.t.Context(), http.MethodGet, path, http.NoBody))
}

// post sends a form.
func (s *site) post(user, path string, form url.Values) *answer {
	s.t.Helper()
	r := httptest.NewRequestWithContext(s.t.Context(), http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return s.send(user, r)
}

// counted are the calls to the API server by which f was answered.
func (s *site) counted(f func()) []string {
	s.mu.Lock()
	s.calls = nil
	s.mu.Unlock()
	f()
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// each visits all elements.
func each(n *html.Node, name string, visit func(*html.Node)) {
	if n.Type == html.ElementNode && n.Data == name {
		visit(n)
	}
	for child := n.FirstChild; child != nil; child = child.NextSibling {
		each(child, name, visit)
	}
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// textOf is the text of an element, with single blanks.
func textOf(n *html.Node) string {
	var text strings.Builder
	var read func(*html.Node)
	read = func(n *html.Node) {
		if n.Type == html.TextNode {
			text.WriteString(n.Data + " ")
		}
		for child := n.FirstChild; child != nil; child = child.NextSibling {
			read(child)
		}
	}
	read(n)
	return strings.Join(strings.Fields(text.String()), " ")
}

// says checks that the main part of the page has texts.
func (a *answer) says(status int, texts ...string) {
	a.t.Helper()
	main := ""
	each(a.root, "main", func(n *html.Node) { main = textOf(n) })
	if a.status != status {
		a.t.Errorf("status %d, want %d: %s", a.status, status, main)
	}
	for _, text := range texts {
		if !strings.Contains(main, text) {
			a.t.Errorf("the page does not say %q:\n%s", text, main)
		}
	}
}

func (a *answer) lacks(texts ...string) {
	a.t.Helper()
	for _, text := range texts {
		if strings.Contains(textOf(a.root), text) {
			a.t.Errorf("the page says %q", text)
		}
	}
}

// form are the fields of the form that is sent to a path; nil if there is none.
func (a *answer) form(path string) (fields url.Values) {
	each(a.root, "form", func(n *html.Node) {
		if attribute(n, "action") != path || attribute(n, "method") != "post" {
			return
		}
		fields = url.Values{}
		each(n, "input", func(input *html.Node) { fields.Set(attribute(input, "name"), attribute(input, "value")) })
	})
	return fields
}

// focused is the name of the field that browsers show first; empty if there is none.
func (a *answer) focused() (name string) {
	each(a.root, "input", func(n *html.Node) {
		if slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == "autofocus" }) {
			name += attribute(n, "name")
		}
	})
	return name
}

// posts are the paths of all forms that change something.
func (a *answer) posts() []string {
	var paths []string
	each(a.root, "form", func(n *html.Node) {
		if attribute(n, "method") == "post" {
			paths = append(paths, attribute(n, "action"))
		}
	})
	return paths
}

// links are the addresses that the main part leads to.
func (a *answer) links() []string {
	var all []string
	each(a.root, "main", func(main *html.Node) {
		each(main, "a", func(n *html.Node) { all = append(all, attribute(n, "href")) })
	})
	return all
}

// run makes a run with a plan that frees three seats and waits for a person, edited before its status is written.
func (s *site) run(name, group string, edits ...func(*v1alpha1.PruneRun)) *v1alpha1.PruneRun {
	s.t.Helper()
	now := metav1.NewTime(time.Now().Truncate(time.Second))
	at := func(days int) metav1.Time { return metav1.NewTime(now.AddDate(0, 0, -days)) }
	size := int32(3)
	run := &v1alpha1.PruneRun{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name},
		Spec: v1alpha1.PruneRunSpec{
			AppRef: v1alpha1.AppReference{Name: "prod"}, GroupID: group, Trigger: v1alpha1.PruneTriggerGroupFull,
		},
		Status: v1alpha1.PruneRunStatus{
			Policy: &v1alpha1.PrunePolicyRecord{Name: "club", UID: "1", Generation: 1, Mode: v1alpha1.PruneModeApprove},
			Group:  &v1alpha1.PruneGroupRecord{Type: "Public", Members: 60, MaxMembers: 60},
			Plan: &v1alpha1.PrunePlan{
				CreatedAt: now, Candidates: 4, Size: &size, Stay: v1alpha1.PlanStay{Active: 54, Admin: 2},
				Removals: []v1alpha1.PlannedRemoval{
					{Account: "anna", LastActiveAt: at(300), Reason: v1alpha1.RemovalReasonNeverSpoke},
					{Account: "boris", LastActiveAt: at(211), Reason: v1alpha1.RemovalReasonInactive},
					{Account: "chen", LastActiveAt: at(120), Reason: v1alpha1.RemovalReasonInactive},
				},
			},
			Conditions: []metav1.Condition{
				{Type: v1alpha1.ConditionPlanned, Status: "True", Reason: "Planned", Message: "3 are to go."},
				{Type: v1alpha1.ConditionComplete, Status: "False", Reason: "AwaitingApproval", Message: "It waits."},
			},
		},
	}
	for _, edit := range edits {
		edit(run)
	}
	status := run.Status
	must(s.t, s.client.Create(s.t.Context(), run))
	run.Status = status
	prunerun.Refresh(run)
	for i := range run.Status.Conditions {
		run.Status.Conditions[i].LastTransitionTime = now
	}
	must(s.t, s.client.Status().Update(s.t.Context(), run))
	return run
}

// stored is a run as the API server has it.
func (s *site) stored(name string) *v1alpha1.PruneRun {
	s.t.Helper()
	run := &v1alpha1.PruneRun{}
	must(s.t, s.client.Get(s.t.Context(), client.ObjectKey{Namespace: s.namespace, Name: name}, run))
	return run
}

// path is that of the page of a run, with more steps.
func (s *site) path(name string, more ...string) string {
	return strings.Join(append([]string{"/runs/" + s.namespace + "/" + name}, more...), "/")
}

// made is when a plan was made.
func made(ago time.Duration) func(*v1alpha1.PruneRun) {
	return func(run *v1alpha1.PruneRun) {
		run.Status.Plan.CreatedAt = metav1.NewTime(run.Status.Plan.CreatedAt.Add(-ago))
	}
}

// saidBy is a decision as the leader records it.
func saidBy(by, reason string, at time.Time) *v1alpha1.RecordedDecision {
	return &v1alpha1.RecordedDecision{
		PruneDecision: v1alpha1.PruneDecision{By: by, Reason: reason}, RecordedAt: metav1.NewTime(at),
	}
}

// ended is a run that removed anna and boris, and kept chen.
func ended(run *v1alpha1.PruneRun) {
	run.Status.Removed, run.Status.Progress = 2, &v1alpha1.PruneProgress{Settled: 3}
	run.Status.Kept = []v1alpha1.KeptAccount{{Account: "chen", Reason: v1alpha1.KeptReasonActiveAgain}}
	run.Status.Decisions = &v1alpha1.PruneDecisions{
		Approved: saidBy("maria", "spring cleaning", run.Status.Plan.CreatedAt.Add(-time.Hour)),
	}
	run.Status.Conditions[1].Status, run.Status.Conditions[1].Reason = "True", v1alpha1.ReasonRemoved
}

// evicts is a run that evicts, of which the plan is no routine.
func evicts(run *v1alpha1.PruneRun) {
	run.Spec.Purpose, run.Spec.Trigger = v1alpha1.PrunePurposeEvict, v1alpha1.PruneTriggerRound
	run.Status.Plan.Breaker = "would remove 3 of 60 members: is the list complete?"
	run.Status.Plan.Removals[0].Reason, run.Status.Plan.Removals[0].Policy = v1alpha1.RemovalReasonNotListed, "vip"
	run.Status.Plan.Stay = v1alpha1.PlanStay{Admitted: 50, InGrace: 7}
}
