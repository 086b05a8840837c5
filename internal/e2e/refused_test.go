package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	certutil "k8s.io/client-go/util/cert"

	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/refusals"
	"github.com/groupgate/groupgate/internal/refusals/replicaclient"
)

// viewers may read in the namespace %[1]s: the ServiceAccount viewer and the group community, which maria is in. The
// ServiceAccount page may act for maria, viktor and the group community to read, and may read nothing itself.
const viewers = `apiVersion: v1
kind: ServiceAccount
metadata: {name: viewer}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: nobody}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: page}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: viewers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: groupgate-policy-viewer}
subjects:
- {kind: ServiceAccount, name: viewer, namespace: %[1]s}
- {kind: Group, name: community, apiGroup: rbac.authorization.k8s.io}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: page}
rules:
- apiGroups: [groupgate.io]
  resources: [imapps/refusals, imapps/activity]
  verbs: ["impersonate-on:user-info:get"]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: page}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: page}
subjects:
- {kind: ServiceAccount, name: page, namespace: %[1]s}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: %[1]s-page}
rules:
- apiGroups: [authentication.k8s.io]
  resources: [users]
  resourceNames: [maria, viktor, "system:admin"]
  verbs: ["impersonate:user-info"]
- apiGroups: [authentication.k8s.io]
  resources: [groups]
  resourceNames: [community, choir, "system:masters"]
  verbs: ["impersonate:user-info"]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: %[1]s-page}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: %[1]s-page}
subjects:
- {kind: ServiceAccount, name: page, namespace: %[1]s}
`

// refusalWorld has a replica that admitted jared and refused mallory, and the viewers.
type refusalWorld struct {
	*world
	replicas []*replica
	urls     []string
	caFile   string
	app      types.NamespacedName
}

// newRefusalWorld starts so many replicas. All joins go to the first.
func newRefusalWorld(t *testing.T, replicas int) *refusalWorld {
	t.Helper()
	w := &refusalWorld{world: newWorld(t)}
	w.app = types.NamespacedName{Namespace: w.Namespace, Name: "prod"}
	w.world.app()
	w.apply(fmt.Sprintf(viewers, w.Namespace))
	t.Cleanup(func() { // not in the namespace
		_, err := w.Kubectl(context.WithoutCancel(t.Context()), "", "delete", "clusterrole,clusterrolebinding",
			w.Namespace+"-page")
		if err != nil {
			t.Error(err)
		}
	})
	w.policy("members", "groups: [{value: lounge}]\n"+
		"join: {allow: {accounts: [jared]}, reject: {code: 10120, message: Members only}}")
	dir := t.TempDir()
	cert, key, err := certutil.GenerateSelfSignedCertKey("localhost", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"tls.crt": cert, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.caFile = filepath.Join(dir, "tls.crt")
	for range replicas {
		r := w.startReady(nil, "--metrics-secure=true", "--metrics-cert-dir="+dir, "--decision-log=off")
		w.replicas = append(w.replicas, r)
		w.urls = append(w.urls, securely(r))
	}
	w.routeTo(w.replicas[0])
	w.ready("imapp/prod", "grouppolicy/members")
	lounge := emulator.GroupSpec{ID: "lounge", Type: "Public", Owner: "olivia", ApplyJoinOption: "FreeAccess"}
	if _, err := w.im.CreateGroup(t.Context(), lounge); err != nil {
		t.Fatal(err)
	}
	for account, want := range map[string]string{
		"jared": emulator.ResultJoined, "mallory": emulator.ResultRefused,
	} {
		got, err := w.im.Apply(t.Context(), "lounge", account)
		if err != nil || got.Result != want {
			t.Fatalf("%s: %+v, %v, want %s", account, got, err, want)
		}
	}
	return w
}

// securely is the URL of the metrics endpoint of a replica that serves it over TLS.
func securely(r *replica) string {
	url := strings.TrimSuffix(strings.TrimPrefix(r.MetricsURL, "http://127.0.0.1"), "/metrics")
	return "https://localhost" + url
}

// token is one of a ServiceAccount, for the API server if no audience is named.
func (w *refusalWorld) token(account string, audience ...string) func() (string, error) {
	w.t.Helper()
	args := []string{"create", "token", account}
	for _, a := range audience {
		args = append(args, "--audience="+a)
	}
	token := strings.TrimSpace(w.kubectl(args...))
	return func() (string, error) { return token, nil }
}

func (w *refusalWorld) client(o replicaclient.Options) *replicaclient.Client {
	w.t.Helper()
	if o.URLs == nil {
		o.URLs = w.urls
	}
	o.Patience = patience
	client, err := replicaclient.New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	return client
}

// denied fails the test unless every replica refuses to answer for this reason.
func (w *refusalWorld) denied(who string, client *replicaclient.Client, want string) {
	w.t.Helper()
	answer := client.Refusals(w.t.Context(), w.app, refusals.Filter{})
	if len(answer.Replicas) > 0 || len(answer.Problems) != 1 {
		w.t.Errorf("%s gets %+v", who, answer)
	} else if message := answer.Problems[0].Message; !strings.Contains(message, want) {
		w.t.Errorf("%s is told %q, want %q", who, message, want)
	}
	if joins := client.Activity(w.t.Context(), w.app); len(joins.Replicas) > 0 || len(joins.Problems) != 1 {
		w.t.Errorf("%s gets %+v", who, joins)
	}
}

func TestReplicaTellsOfRefusalsOnlyThoseWhoMayRead(t *testing.T) {
	t.Parallel()
	w := newRefusalWorld(t, 1)
	viewer := w.client(replicaclient.Options{CAFile: w.caFile, Token: w.token("viewer")})
	var answer replicaclient.Answer[refusals.Refusals]
	eventually(t, "the refusal to be told", func() bool { // the queue of decisions is emptied every 20 ms
		answer = viewer.Refusals(t.Context(), w.app, refusals.Filter{Group: "lounge", Limit: 10})
		return len(answer.Replicas) == 1 && len(answer.Replicas[0].Refusals) == 1
	})
	got := answer.Replicas[0]
	want := refusals.Refusal{
		Time: got.Refusals[0].Time, Group: "lounge", GroupType: "Public", Account: "mallory", Trigger: "Apply",
		Reason: "NotListed", Policy: "members", Code: 10120, Message: "Members only",
	}
	if got.Refusals[0] != want || time.Since(want.Time) > time.Minute || got.Capacity != 10_000 || got.Forgotten != 0 {
		t.Errorf("%+v, want %+v", got, want)
	}
	if other := viewer.Refusals(t.Context(), w.app, refusals.Filter{Account: "jared"}); len(other.Replicas) != 1 ||
		len(other.Replicas[0].Refusals) != 0 {
		t.Errorf("of jared: %+v", other)
	}
	activity := viewer.Activity(t.Context(), w.app)
	if len(activity.Replicas) != 1 || activity.Replicas[0].Stale || activity.Replicas[0].SnapshotAt.IsZero() {
		t.Fatalf("%+v", activity)
	}
	var joins refusals.Interval
	for _, interval := range activity.Replicas[0].Intervals {
		joins.Admitted += interval.Admitted
		joins.Refused += interval.Refused
	}
	if joins.Admitted != 1 || joins.Refused != 1 {
		t.Errorf("joins %+v, want one admitted and one refused", joins)
	}

	other := w.app
	other.Name = "test"
	if answer := viewer.Activity(t.Context(), other); len(answer.Problems) != 1 ||
		!strings.Contains(answer.Problems[0].Message, "decides nothing for the IMApp "+w.Namespace+"/test") {
		t.Errorf("of an app that there is not: %+v", answer)
	}
	other.Namespace = "default"
	if answer := viewer.Activity(t.Context(), other); len(answer.Problems) != 1 ||
		!strings.Contains(answer.Problems[0].Message, "no right to get imapps/activity \"default/test\"") {
		t.Errorf("of another namespace: %+v", answer)
	}

	w.denied("a ServiceAccount without rights",
		w.client(replicaclient.Options{CAFile: w.caFile, Token: w.token("nobody")}), "no right to get imapps/refusals")
	w.denied("a forged token", w.client(replicaclient.Options{
		CAFile: w.caFile, Token: func() (string, error) { return "forged", nil },
	}), "does not know the bearer token")
	w.denied("a token for somebody else", w.client(replicaclient.Options{
		CAFile: w.caFile, Token: w.token("viewer", "vault"),
	}), "does not know the bearer token")
	w.denied("a client without the CA", w.client(replicaclient.Options{Token: w.token("viewer")}),
		"good for more than the replicas")
	config, err := clientcmd.BuildConfigFromFlags("", cluster.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	w.denied("an admin with a client certificate",
		w.client(replicaclient.Options{CAFile: w.caFile, Config: config}), "no bearer token")
	config = rest.AnonymousClientConfig(config)
	config.BearerToken, err = w.token("viewer")()
	if err != nil {
		t.Fatal(err)
	}
	own := w.client(replicaclient.Options{CAFile: w.caFile, Config: config})
	if answer := own.Activity(t.Context(), w.app); len(answer.Replicas) != 1 {
		t.Errorf("with the token of a kubeconfig: %+v", answer)
	}
	config.Impersonate.UserName = "maria"
	w.denied("a viewer that acts for maria", w.client(replicaclient.Options{CAFile: w.caFile, Config: config}),
		`no right to impersonate-on:user-info:get imapps/refusals`)
}

func TestPageReadsWhatItsUserMayRead(t *testing.T) {
	t.Parallel()
	w := newRefusalWorld(t, 1)
	// Without a CA file: the token is good for nothing else.
	page := w.client(replicaclient.Options{Token: w.token("page", refusals.Audience)})
	maria := page.As("maria", []string{"community", "community"})
	eventually(t, "maria to be told", func() bool {
		answer := maria.Refusals(t.Context(), w.app, refusals.Filter{})
		return len(answer.Replicas) == 1 && len(answer.Replicas[0].Refusals) == 1
	})
	w.denied("the page itself", page, "no right to get imapps/refusals")
	w.denied("viktor", page.As("viktor", nil), `User "viktor" has no right to get imapps/refusals`)
	w.denied("maria without her group", page.As("maria", []string{"choir"}), `User "maria" has no right`)
	w.denied("a user that the page may not act for", page.As("eve", []string{"community"}),
		`no right to impersonate:user-info users "eve"`)
	w.denied("a group that the page may not act for", page.As("maria", []string{"community", "admins"}),
		`no right to impersonate:user-info groups "admins"`)
	w.denied("many groups", page.As("maria", []string{"community", "a", "b", "c", "d", "e"}),
		`no right to impersonate:user-info groups`)
	w.denied("a user of the system", page.As("system:admin", []string{"community"}), "is of the system")
	w.denied("a group of the system", page.As("maria", []string{"system:masters"}), "is of the system")
	w.denied("a page that may not", w.client(replicaclient.Options{
		Token: w.token("nobody", refusals.Audience),
	}).As("maria", []string{"community"}), "no right to impersonate-on:user-info:get imapps/refusals")
}

func TestForgedRequestsForRefusalsAreTurnedAway(t *testing.T) {
	t.Parallel()
	w := newRefusalWorld(t, 1)
	token, err := w.token("page", refusals.Audience)()
	if err != nil {
		t.Fatal(err)
	}
	client := insecureClient()
	path := "/namespaces/" + w.Namespace + "/imapps/prod/refusals"
	ask := func(method, path string, headers http.Header) (int, string, http.Header) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, w.urls[0]+path, http.NoBody)
		if err != nil {
			t.Error(err)
			return 0, "", nil
		}
		request.Header = headers
		response, err := client.Do(request)
		if err != nil {
			t.Error(err)
			return 0, "", nil
		}
		defer func() { _ = response.Body.Close() }()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Error(err)
		}
		return response.StatusCode, strings.TrimSpace(string(text)), response.Header
	}
	maria := http.Header{
		"Authorization": {"Bearer " + token}, "Impersonate-User": {"maria"}, "Impersonate-Group": {"community"},
	}
	with := func(name string, values ...string) http.Header {
		headers := maria.Clone()
		headers[name] = values
		return headers
	}
	for name, tc := range map[string]struct {
		method, path string
		headers      http.Header
		status       int
		text         string
	}{
		"maria":             {"GET", path, maria, 200, `"replica":`},
		"no token":          {"GET", path, with("Authorization"), 401, "bearer token"},
		"two tokens":        {"GET", path, with("Authorization", "Bearer "+token, "Bearer x"), 401, "one header"},
		"a password":        {"GET", path, with("Authorization", "Basic eDp5"), 401, "bearer token"},
		"two users":         {"GET", path, with("Impersonate-User", "maria", "viktor"), 400, "one user"},
		"groups alone":      {"GET", path, with("Impersonate-User"), 400, "one user"},
		"an empty user":     {"GET", path, with("Impersonate-User", ""), 400, "1 to 1024 bytes"},
		"an empty group":    {"GET", path, with("Impersonate-Group", "community", ""), 400, "1 to 1024 bytes"},
		"bytes":             {"GET", path, with("Impersonate-User", "mari\xff"), 400, "UTF-8"},
		"a long name":       {"GET", path, with("Impersonate-User", strings.Repeat("m", 1025)), 400, "1 to 1024 bytes"},
		"a UID":             {"GET", path, with("Impersonate-Uid", "1"), 400, "Impersonate-Uid is not supported"},
		"an extra":          {"GET", path, with("Impersonate-Extra-Scopes", "all"), 400, "not supported"},
		"another spelling":  {"GET", path, with("Impersonate-Users", "eve"), 400, "not supported"},
		"the proxy's":       {"GET", path, with("X-Remote-User", "system:admin"), 200, `"replica":`},
		"write":             {"POST", path, maria, 405, ""},
		"another namespace": {"GET", "/namespaces/default/imapps/prod/refusals", maria, 403, "impersonate-on:user"},
		"a climb":           {"GET", "/namespaces/default/imapps/..%2fprod/refusals", maria, 403, "default/../prod"},
		"another resource":  {"GET", "/namespaces/" + w.Namespace + "/secrets/prod/refusals", maria, 404, ""},
		"everything":        {"GET", "/namespaces/" + w.Namespace + "/imapps/prod", maria, 404, ""},
		"the metrics":       {"GET", "/metrics", maria, 401, ""},
		"an unknown word":   {"GET", path + "?user=x", maria, 400, `The query has "user"`},
		"twice":             {"GET", path + "?limit=1&limit=2", maria, 400, "Name limit once"},
		"no limit":          {"GET", path + "?limit=100000", maria, 400, "from 1 to 1000"},
		"no time":           {"GET", path + "?before=yesterday", maria, 400, "RFC 3339"},
		"no query":          {"GET", path + "?limit=%zz", maria, 400, "cannot be read"},
		"a hostile group":   {"GET", path + "?group=%3Cscript%3E%00%F0", maria, 200, `"refusals":[]`},
	} {
		status, text, headers := ask(tc.method, tc.path, tc.headers)
		if status != tc.status || !strings.Contains(text, tc.text) {
			t.Errorf("%s: %d %q, want %d %q", name, status, text, tc.status, tc.text)
		}
		if strings.HasPrefix(tc.path, path) && tc.method == "GET" && headers.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: Cache-Control is %q", name, headers.Get("Cache-Control"))
		}
	}
	var refused atomic.Int64
	var flood sync.WaitGroup
	for range 1000 {
		flood.Go(func() {
			status, _, headers := ask("GET", path, http.Header{})
			if status == http.StatusTooManyRequests && headers.Get("Retry-After") == "1" {
				refused.Add(1)
			}
		})
	}
	flood.Wait()
	if refused.Load() == 0 {
		t.Error("1,000 requests at once are all dealt with")
	}
}

func TestReplicasAreAskedTogetherAndTheMissingOneIsNamed(t *testing.T) {
	t.Parallel()
	w := newRefusalWorld(t, 2)
	w.routeTo(w.replicas[1])
	if got, err := w.im.Apply(t.Context(), "lounge", "eve"); err != nil || got.Result != emulator.ResultRefused {
		t.Fatalf("%+v, %v", got, err)
	}
	viewer := w.client(replicaclient.Options{CAFile: w.caFile, Token: w.token("viewer")})
	filter := refusals.Filter{Limit: 1}
	var page []refusals.Refusal
	var more bool
	eventually(t, "both replicas to tell", func() bool {
		answer := viewer.Refusals(t.Context(), w.app, filter)
		page, more = refusals.Merge(answer.Replicas, filter)
		return len(answer.Replicas) == 2 && len(answer.Problems) == 0 && len(page) == 1 && page[0].Account == "eve"
	})
	if !more {
		t.Error("there is an older one")
	}
	filter.Before = page[0].Time
	if page, _ = refusals.Merge(viewer.Refusals(t.Context(), w.app, filter).Replicas, filter); len(page) != 1 ||
		page[0].Account != "mallory" {
		t.Errorf("before that: %+v", page)
	}
	// One replica at several addresses is still one.
	twice := w.client(replicaclient.Options{
		CAFile: w.caFile, Token: w.token("viewer"), URLs: []string{w.urls[0], w.urls[0] + "/"},
	})
	if answer := twice.Activity(t.Context(), w.app); len(answer.Replicas) != 1 {
		t.Errorf("one replica counts %d times", len(answer.Replicas))
	}
	if err := w.replicas[0].Kill(); err != nil {
		t.Fatal(err)
	}
	address := strings.TrimPrefix(w.urls[0], "https://localhost")
	eventually(t, "the missing replica to be named", func() bool {
		answer := viewer.Activity(t.Context(), w.app)
		return len(answer.Replicas) == 1 && len(answer.Problems) > 0 &&
			strings.HasSuffix(answer.Problems[0].Replica, address) &&
			strings.Contains(answer.Problems[0].Message, "connection refused")
	})
}

func TestRefusalsAreNotServedWithoutAuthentication(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app()
	r := w.startReady(nil)
	for _, last := range []string{"refusals", "activity"} {
		url := strings.TrimSuffix(r.MetricsURL, "/metrics") + "/namespaces/" + w.Namespace + "/imapps/prod/" + last
		eventually(t, "the endpoint to say why it does not serve "+last, func() bool {
			status, text := get(t, http.DefaultClient, url, "")
			return status == http.StatusNotFound && strings.Contains(text, "only with --metrics-secure")
		})
	}
	client, err := replicaclient.New(replicaclient.Options{
		URLs: []string{securely(r)}, Token: func() (string, error) { return "x", nil }, CAFile: "/dev/null",
	})
	if err != nil {
		t.Fatal(err)
	}
	answer := client.Activity(t.Context(), types.NamespacedName{Namespace: w.Namespace, Name: "prod"})
	if len(answer.Problems) != 1 || !strings.Contains(answer.Problems[0].Message, "no certificate in PEM") {
		t.Errorf("%+v", answer)
	}
}
