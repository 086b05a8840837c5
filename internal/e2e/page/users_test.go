package page

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
)

// patience bounds every wait for something that must happen.
const patience = 2 * time.Minute

// publicURL is that of config/page.
const publicURL = "https://groupgate.example.com"

// Three users look at one plan: the page shows to each what the API server lets them see, whose audit log names them.
func TestThreeUsersSeeAndDoWhatTheyMay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run := w.plan("club-oslo")
	if _, err := lab.PostSigned(t.Context(), w.manager.CallbackURL, lab.SDKAppID, lab.CommandApply, map[string]any{
		"GroupId": "vip-1", "Type": "Public", "Requestor_Account": "mallory",
	}); err != nil {
		t.Fatal(err)
	}
	p := w.startPage()
	bind(t, "rolebinding", "viktor@example.com", "groupgate-policy-viewer", "chat")
	bindGroup(t, "moderators", "groupgate-policy-viewer")
	bindGroup(t, "moderators", "groupgate-prune-approver")
	maria := user{p, "maria@example.com", "moderators,members-of-staff"}
	viktor := user{p, "viktor@example.com", ""}
	nora := user{p, "nora@example.com", "members-of-staff"}
	path := "/runs/chat/" + run

	// Nora has no right: she is told so, and no name of a group or an account.
	for _, path := range []string{"/waiting", path, "/runs"} {
		if status, body := nora.get(t, path); status != http.StatusForbidden || strings.Contains(body, "club-oslo") ||
			strings.Contains(body, "anna") {
			t.Errorf("nora gets %s: %d\n%s", path, status, body)
		}
	}
	// Viktor sees all, and has no form. With the form of maria he is refused, and so is he with one that he makes up.
	for _, user := range []user{viktor, maria} {
		if status, body := user.get(t, "/waiting"); status != http.StatusOK || !strings.Contains(body, "club-oslo") {
			t.Errorf("%s at /waiting: %d\n%s", user.name, status, body)
		}
	}
	status, seen := viktor.get(t, path)
	if status != http.StatusOK || !strings.Contains(seen, "anna") || strings.Contains(seen, "<form class=\"card\"") {
		t.Errorf("viktor looks at the run: %d\n%s", status, seen)
	}
	if !strings.Contains(seen, "groupgate-prune-approver") {
		t.Errorf("viktor is not told which right he lacks:\n%s", seen)
	}
	_, seen = maria.get(t, path)
	form := formOf(t, seen, path+"/approve")
	if status, _ := viktor.post(t, path+"/approve", form); status != http.StatusForbidden {
		t.Errorf("viktor sends the form of maria: %d", status)
	}
	if got := w.conditions(run); !slices.Contains(got, "AwaitingApproval") {
		t.Fatalf("the run is %v", got)
	}
	form.Set("reason", "they were asked on Monday")
	if status, body := maria.post(t, path+"/approve", form); status >= http.StatusBadRequest {
		t.Fatalf("maria approves: %d\n%s", status, body)
	}
	w.kubectl("wait", "prunerun/"+run, "--for=condition=Complete", "--timeout="+patience.String())
	by := "maria@example.com: they were asked on Monday"
	approved := "-o=jsonpath={.status.decisions.approved.by}: {.status.decisions.approved.reason}"
	if got := w.kubectl("get", "prunerun", run, approved); got != by {
		t.Errorf("the run says that it was approved by %s", got)
	}

	// Each page, as a viewer sees it: what he may not write, he may read.
	for _, path := range []string{
		"/", "/?app=chat/prod", "/group?app=chat/prod&group=club-oslo", "/refused?app=chat/prod",
		"/ask?app=chat/prod&group=club-oslo&account=anna", "/ask?app=chat/prod&group=vip-1&account=mallory",
	} {
		if status, body := viktor.get(t, path); status != http.StatusOK {
			t.Errorf("viktor looks at %s: %d\n%s", path, status, body)
		}
	}
	// The replica answers him by his own rights, and says the same of a refusal that it has just made.
	if _, body := viktor.get(t, "/refused?app=chat/prod"); !strings.Contains(body, "mallory") {
		t.Errorf("viktor does not see who was refused\n%s", body)
	}
	_, settings := viktor.get(t, "/settings")
	_, seen = maria.get(t, path)
	form = formOf(t, seen, path+"/undo")
	form.Set("csrf", formOf(t, settings, "/settings").Get("csrf"))
	if status, _ := viktor.post(t, path+"/undo", form); status != http.StatusForbidden {
		t.Errorf("viktor makes up a form: %d", status)
	}

	events := w.auditEvents()
	for _, e := range events {
		if e.ImpersonatedUser == nil {
			t.Errorf("the page itself has sent %s %s", e.Verb, e.RequestURI)
		}
	}
	checkAudit(t, events, maria.name, "patch", "pruneruns", http.StatusOK, []string{"moderators", "members-of-staff"})
	checkAudit(t, events, viktor.name, "get", "pruneruns", http.StatusOK, nil)
	checkAudit(t, events, viktor.name, "patch", "pruneruns", http.StatusForbidden, nil)
	checkEveryRightIsUsed(t, events)
	checkAudit(t, events, nora.name, "get", "pruneruns", http.StatusForbidden, []string{"members-of-staff"})
}

// checkAudit looks for a request of the page that the API server has recorded as that of a user.
func checkAudit(
	t *testing.T, events []auditv1.Event, user, verb, resource string, status int32, groups []string,
) {
	t.Helper()
	for _, e := range events {
		if e.ImpersonatedUser == nil || e.ImpersonatedUser.Username != user || e.Verb != verb || e.ObjectRef == nil ||
			e.ObjectRef.Resource != resource || e.ResponseStatus == nil || e.ResponseStatus.Code != status {
			continue
		}
		if e.User.Username != account {
			t.Errorf("%s %s by %s", verb, resource, e.User.Username)
		}
		got := slices.DeleteFunc(e.ImpersonatedUser.Groups, func(g string) bool { return g == "system:authenticated" })
		slices.Sort(got)
		if diff := cmp.Diff(slices.Sorted(slices.Values(groups)), got); diff != "" && len(got)+len(groups) > 0 {
			t.Errorf("groups of %s (-want,+got)\n%s", user, diff)
		}
		t.Logf("%s, impersonated by %s: %s %s: %d", user, e.User.Username, e.Verb, e.RequestURI, status)
		return
	}
	t.Errorf("the audit log has no %s %s of %s with %d", verb, resource, user, status)
}

// world is the namespace chat, with an IM backend, a manager and the app and a policy of config/samples.
type world struct {
	lab.World
	t       *testing.T
	im      *emulator.Client
	manager *lab.Manager
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t}
	backend := lab.NewBackend([]lab.App{{}}, func() []string { return []string{w.manager.CallbackURL} }, nil)
	t.Cleanup(func() {
		if err := backend.Close(); err != nil {
			t.Error(err)
		}
	})
	w.World = lab.World{
		ControlPlane: cluster.ControlPlane, Binary: cluster.Binary, IMEndpoint: backend.URL, Namespace: "chat",
	}
	w.im = &emulator.Client{BaseURL: backend.URL}
	if err := w.Apply(t.Context(), lab.App{}.Manifests(), lab.PolicyManifest("club", `
groups: [{type: Prefix, value: "club-"}]
groupTypes: [Public]
whenFull: {prune: {mode: Approve, inactiveFor: 90d, maxRemovals: 50}}`),
		lab.PolicyManifest("vip", `
groups: [{type: Prefix, value: "vip-"}]
join: {allow: {accounts: [jared]}}`)); err != nil {
		t.Fatal(err)
	}
	log := &lab.Log{}
	var err error
	if w.manager, err = w.StartManager(log, "", "--metrics-secure=true", "--shutdown-delay=0s"); err != nil {
		t.Fatal(err)
	}
	w.stops(w.manager.Process, log)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := w.manager.AwaitReady(ctx); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	w.kubectl("wait", "imapp/prod", "grouppolicy/club", "grouppolicy/vip", "--for=condition=Ready",
		"--timeout="+patience.String())
	return w
}

// stops ends a process with the test, which fails if it had a data race.
func (w *world) stops(process *lab.Process, log *lab.Log) {
	w.t.Cleanup(func() {
		if err := process.Stop(time.Minute); err != nil {
			w.t.Error(err)
		}
		if w.t.Failed() {
			w.t.Log(log)
		}
	})
}

func (w *world) kubectl(args ...string) string {
	w.t.Helper()
	out, err := w.Kubectl(w.t.Context(), "", args...)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// plan fills a group until its run awaits approval, and returns the name of the run.
func (w *world) plan(group string) (run string) {
	w.t.Helper()
	_, spec := lab.DemoGroups()
	spec.ID = group
	if _, err := w.im.CreateGroup(w.t.Context(), spec); err != nil {
		w.t.Fatal(err)
	}
	if outcome, err := w.im.Apply(w.t.Context(), group, "nina"); err != nil || outcome.Result != emulator.ResultFull {
		w.t.Fatalf("nina applies: %+v, %v", outcome, err)
	}
	w.eventually("a plan", func(ctx context.Context) (bool, error) {
		out, err := w.Kubectl(ctx, "", "get", "pruneruns", "--field-selector=spec.groupID="+group,
			"-o=jsonpath={.items[*].metadata.name} {.items[*].status.conditions[*].reason}")
		run, out, _ = strings.Cut(out, " ")
		return slices.Contains(strings.Fields(out), "AwaitingApproval"), err
	})
	return run
}

// conditions are the reasons of the conditions of a run.
func (w *world) conditions(run string) []string {
	w.t.Helper()
	return strings.Fields(w.kubectl("get", "prunerun", run, "-o=jsonpath={.status.conditions[*].reason}"))
}

func (w *world) eventually(what string, holds func(context.Context) (bool, error)) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if err := lab.Await(ctx, what, holds); err != nil {
		w.t.Fatal(err)
	}
}

// auditEvents are the requests of the page's ServiceAccount about what is to be seen on it.
func (w *world) auditEvents() (events []auditv1.Event) {
	w.t.Helper()
	log, err := os.ReadFile(cluster.AuditLog)
	if err != nil {
		w.t.Fatal(err)
	}
	for line := range bytes.Lines(log) {
		var e auditv1.Event
		if json.Unmarshal(line, &e) == nil && e.User.Username == account &&
			strings.HasPrefix(e.UserAgent, "groupgate-page/") {
			events = append(events, e)
		}
	}
	return events
}

// startPage runs the container `page` of config/page as a process, and returns a URL at which a stand-in for the OIDC
// proxy listens.
func (w *world) startPage() string {
	w.t.Helper()
	var deployment appsv1.Deployment
	err := json.Unmarshal([]byte(w.kubectl("get", "deployment", page, "-n", system, "-o=json")), &deployment)
	if err != nil {
		w.t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "page") // shorter than t.TempDir: the path of a socket has at most 107 bytes
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	token := w.kubectl("create", "token", page, "-n", system, "--audience=groupgate-replicas")
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte(token), 0o600); err != nil {
		w.t.Fatal(err)
	}
	kubeconfig, err := w.AccountKubeconfig(w.t.Context(), system, page)
	if err != nil {
		w.t.Fatal(err)
	}
	probes, err := lab.FreeAddress()
	if err != nil {
		w.t.Fatal(err)
	}
	socket := filepath.Join(dir, "page.sock")
	container := deployment.Spec.Template.Spec.Containers[0]
	var env []string
	for _, v := range container.Env {
		env = append(env, v.Name+"="+v.Value)
	}
	// What a node has elsewhere; each has to be there.
	here := map[string]string{
		"--listen": "unix:" + socket, "--health-probe-bind-address": probes,
		"--replicas-token-file": filepath.Join(dir, "token"),
		"--replicas-url":        strings.NewReplacer("http:", "https:", "/metrics", "").Replace(w.manager.MetricsURL),
	}
	args := slices.Clone(container.Args)
	for i, arg := range args {
		flag, _, _ := strings.Cut(arg, "=")
		if value, ok := here[flag]; ok {
			args[i] = flag + "=" + value
			delete(here, flag)
		}
	}
	if len(here) > 0 {
		w.t.Fatalf("%v are not in %v", here, container.Args)
	}
	log := &lab.Log{}
	process, err := lab.Start(log, env, w.Binary, append(args, "--kubeconfig="+kubeconfig)...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.stops(process, log)
	w.eventually("the page to be ready", func(ctx context.Context) (bool, error) {
		if !process.Running() {
			return false, fmt.Errorf("the page has ended: %s", log)
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet,
			"http://"+probes+container.ReadinessProbe.HTTPGet.Path, http.NoBody)
		if err != nil {
			return false, err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return false, nil //nolint:nilerr // not yet
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK, nil
	})
	return standIn(w.t, socket)
}

// standIn is an OIDC proxy that believes its clients: they say who they are in the header Test-User.
func standIn(t *testing.T, socket string) string {
	t.Helper()
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", "page"
			r.Out.Host = strings.TrimPrefix(publicURL, "https://")
			r.Out.Header.Set("X-Forwarded-User", r.In.Header.Get("Test-User"))
			r.Out.Header.Set("X-Forwarded-Groups", r.In.Header.Get("Test-Groups"))
		},
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}},
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return server.URL
}

// user is one whom the proxy has authenticated.
type user struct{ page, name, groups string }

func (u user) get(t *testing.T, path string) (status int, body string) {
	t.Helper()
	return u.do(t, http.MethodGet, path, http.NoBody)
}

func (u user) post(t *testing.T, path string, form url.Values) (status int, body string) {
	t.Helper()
	return u.do(t, http.MethodPost, path, strings.NewReader(form.Encode()))
}

func (u user) do(t *testing.T, method, path string, body io.Reader) (status int, text string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, u.page+path, body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Test-User", u.name)
	request.Header.Set("Test-Groups", u.groups)
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Origin", publicURL)
	}
	response, err := http.DefaultTransport.RoundTrip(request) // follows no redirect
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(answer)
}

// formOf are the hidden fields of a form.
func formOf(t *testing.T, body, action string) url.Values {
	t.Helper()
	_, rest, found := strings.Cut(body, `action="`+action+`"`)
	form, _, _ := strings.Cut(rest, "</form>")
	if !found {
		t.Fatalf("no form for %s in\n%s", action, body)
	}
	values := url.Values{}
	hidden := regexp.MustCompile(`type="hidden" name="(\w+)" value="([^"]*)"`)
	for _, match := range hidden.FindAllStringSubmatch(form, -1) {
		values.Set(match[1], match[2])
	}
	return values
}

func bindGroup(t *testing.T, group, role string) {
	t.Helper()
	if _, err := cluster.Kubectl(t.Context(), "", "create", "rolebinding", group+"-"+role, "--clusterrole="+role,
		"--group="+group, "--namespace=chat"); err != nil {
		t.Fatal(err)
	}
}

// checkEveryRightIsUsed compares what the page has asked for with what it may: a right that no page uses is to go.
func checkEveryRightIsUsed(t *testing.T, events []auditv1.Event) {
	t.Helper()
	used := map[string]bool{}
	for _, e := range events {
		if e.ObjectRef != nil {
			used["impersonate-on:user-info:"+e.Verb+" "+e.ObjectRef.Resource+"."+e.ObjectRef.APIGroup] = true
		}
	}
	for _, right := range impersonatorInChat {
		// Replicas ask for the rights to subresources, by SubjectAccessReviews.
		if strings.HasPrefix(right, "impersonate-on:") && !strings.Contains(right, "/") && !used[right] {
			t.Errorf("the page may %s, and did not", right)
		}
	}
}
