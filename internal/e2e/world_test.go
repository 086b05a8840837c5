package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
)

const (
	sdkAppID  = 1400000000
	secretKey = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
	token     = "s3cr3t-token"

	// patience is how long a test waits for what must happen; only a broken product ever needs it all.
	patience = 2 * time.Minute
)

// world is what one test plays in: a namespace of its own, an IM backend, and the managers that the test starts.
type world struct {
	t         *testing.T
	namespace string
	backend   *httptest.Server // the emulator's REST and control API
	im        *emulator.Client
	emulator  *emulator.Emulator
}

// newWorld makes a namespace with the manager's RoleBinding, as config/default does for `chat`, and an IM backend whose
// callbacks go to whatever gate says.
func newWorld(t *testing.T, gate *switchboard) *world {
	t.Helper()
	w := &world{t: t, namespace: strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))}
	w.apply(fmt.Sprintf(`
apiVersion: v1
kind: Namespace
metadata: {name: %[1]s}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: groupgate-manager, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: groupgate-manager}
subjects:
- {kind: ServiceAccount, name: groupgate-manager, namespace: groupgate-system}
`, w.namespace))

	entry := httptest.NewServer(gate)
	t.Cleanup(entry.Close)
	w.emulator = emulator.New(emulator.Config{
		Apps:        []emulator.App{{SDKAppID: sdkAppID, SecretKey: secretKey, CallbackToken: token}},
		CallbackURL: entry.URL + "/callback",
	})
	w.backend = httptest.NewServer(w.emulator)
	w.im = &emulator.Client{BaseURL: w.backend.URL}
	t.Cleanup(func() {
		w.backend.Close()
		if err := w.emulator.Close(); err != nil {
			t.Errorf("close the emulator: %v", err)
		}
	})
	return w
}

// kubectl runs kubectl in the world's namespace and returns what it printed.
func (w *world) kubectl(args ...string) string {
	w.t.Helper()
	out, err := plane.Kubectl(w.t.Context(), "", append([]string{"--namespace=" + w.namespace}, args...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// apply is what a person does: kubectl apply, server-side. Objects without a namespace land in the world's.
func (w *world) apply(manifests string) {
	w.t.Helper()
	if _, err := plane.Kubectl(w.t.Context(), manifests, "--namespace="+w.namespace, "apply", "--server-side", "-f", "-"); err != nil {
		w.t.Fatal(err)
	}
}

// app applies a Secret and an IMApp named prod; spec is added to the IMApp's.
func (w *world) app(spec ...string) {
	w.t.Helper()
	w.apply(fmt.Sprintf(`
apiVersion: v1
kind: Secret
metadata: {name: prod-im, labels: {groupgate.io/credentials: "true"}}
stringData: {secretKey: %q, callbackToken: %q}
---
apiVersion: groupgate.io/v1alpha1
kind: IMApp
metadata: {name: prod}
spec:
  sdkAppID: %d
  region: Singapore
  adminAccount: administrator
  credentialsSecretRef: {name: prod-im}
%s
`, secretKey, token, sdkAppID, indent(strings.Join(spec, "\n"), 2)))
}

// policy applies a GroupPolicy of the app prod with spec.
func (w *world) policy(name, spec string) {
	w.t.Helper()
	w.apply(fmt.Sprintf(`
apiVersion: groupgate.io/v1alpha1
kind: GroupPolicy
metadata: {name: %s}
spec:
  appRef: {name: prod}
%s
`, name, indent(spec, 2)))
}

// ready waits, with kubectl wait, until the resources are.
func (w *world) ready(resources ...string) {
	w.t.Helper()
	w.kubectl(append([]string{"wait", "--for=condition=Ready", "--timeout=" + patience.String()}, resources...)...)
}

func indent(s string, by int) string {
	if s == "" {
		return ""
	}
	margin := strings.Repeat(" ", by)
	return margin + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n"+margin)
}

// gateOptions say how a manager is started; the zero value is as config/default has it.
type gateOptions struct {
	server string // address of the API server instead of its own
	flags  []string
}

// gate is a manager process of the world.
type gate struct {
	*lab.Manager
	t   *testing.T
	log *lab.Log
}

// start starts a manager with short election times, as the ServiceAccount of config/rbac, and does not wait for it.
// When the test ends, it must not have been denied anything by RBAC, nor have raced.
func (w *world) start(o gateOptions) *gate {
	w.t.Helper()
	kubeconfig, err := plane.ServiceAccountKubeconfig("groupgate-system", "groupgate-manager", o.server)
	if err != nil {
		w.t.Fatal(err)
	}
	log := &lab.Log{}
	manager, err := lab.StartManager(log, binary, kubeconfig, append([]string{
		"--namespace=" + w.namespace,
		"--im-endpoint=" + w.backend.URL,
		"--leader-election-lease-duration=4s",
		"--leader-election-renew-deadline=3s",
		"--leader-election-retry-period=500ms",
		"--shutdown-delay=1s",
		"--log-level=debug",
		"--log-format=console",
	}, o.flags...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	g := &gate{Manager: manager, t: w.t, log: log}
	w.t.Cleanup(func() {
		if err := g.Stop(time.Minute); err != nil && g.ExitCode() != -1 {
			w.t.Error(err)
		}
		if strings.Contains(log.String(), "DATA RACE") {
			w.t.Error("the manager has a data race")
		}
		if w.t.Failed() {
			w.t.Logf("log of the manager on %s:\n%s", g.CallbackURL, log.String())
		}
		checkNothingDenied(w.t)
	})
	return g
}

// startReady starts a manager and waits until it is ready.
func (w *world) startReady(o gateOptions) *gate {
	w.t.Helper()
	g := w.start(o)
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if err := g.AwaitReady(ctx); err != nil {
		w.t.Fatal(err)
	}
	return g
}

// checkNothingDenied reads what the API server wrote down of the manager's requests.
func checkNothingDenied(t *testing.T) {
	t.Helper()
	data, err := os.ReadFile(auditLog)
	if err != nil {
		t.Fatal(err)
	}
	var seen int
	for line := range bytes.Lines(data) {
		var event struct {
			Verb           string `json:"verb"`
			RequestURI     string `json:"requestURI"`
			ResponseStatus struct {
				Code int `json:"code"`
			} `json:"responseStatus"`
			Annotations map[string]string `json:"annotations"`
		}
		if json.Unmarshal(line, &event) != nil {
			continue // the last line may be half written
		}
		seen++
		if event.ResponseStatus.Code == http.StatusForbidden {
			t.Errorf("RBAC denied the manager: %s %s", event.Verb, event.RequestURI)
		}
	}
	if seen == 0 {
		t.Error("the API server saw no request of the manager: this check proves nothing")
	}
}

// metric is the value of a metric without labels, or the sum of its series that hold every one of the labels (as `name="value"`).
func (g *gate) metric(name string, labels ...string) float64 {
	g.t.Helper()
	resp, err := http.Get(g.MetricsURL)
	if err != nil {
		g.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	var sum float64
lines:
	for line := range strings.Lines(string(body)) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if base, _, _ := strings.Cut(series, "{"); !ok || base != name {
			continue
		}
		for _, label := range labels {
			if !strings.Contains(series, label) {
				continue lines
			}
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			g.t.Fatal(err)
		}
		sum += v
	}
	return sum
}

// holdsTerm says whether this manager is the one that writes.
func (g *gate) holdsTerm() bool { return g.metric("groupgate_term") == 1 }

// answer is what a manager answered to a callback.
type answer struct {
	Status          int
	ActionStatus    string
	ErrorInfo       string
	ErrorCode       int
	RefusedMembers_ []string `json:"RefusedMembers_Account"`
}

// sign appends RequestTime and Sign to a query.
func sign(query, token string, at time.Time) string {
	requestTime := strconv.FormatInt(at.Unix(), 10)
	digest := sha256.Sum256([]byte(token + requestTime))
	return query + "&RequestTime=" + requestTime + "&Sign=" + hex.EncodeToString(digest[:])
}

// post sends a callback as it stands.
func post(ctx context.Context, callbackURL, query, body string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, callbackURL+"?"+query, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	a := answer{Status: resp.StatusCode}
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		return a, fmt.Errorf("HTTP %d without JSON: %w", resp.StatusCode, err)
	}
	return a, nil
}

const joinQuery = "SdkAppid=1400000000&CallbackCommand=Group.CallbackBeforeApplyJoinGroup&contenttype=json&ClientIP=127.0.0.1&OptPlatform=iOS"

// askToJoin sends a signed application.
func askToJoin(ctx context.Context, callbackURL, group, account string) (answer, error) {
	body, err := json.Marshal(map[string]string{
		"CallbackCommand": "Group.CallbackBeforeApplyJoinGroup", "GroupId": group, "Type": "Public", "Requestor_Account": account,
	})
	if err != nil {
		return answer{}, err
	}
	return post(ctx, callbackURL, sign(joinQuery, token, time.Now()), string(body))
}

// asked is askToJoin for who cannot go on without an answer.
func (g *gate) asked(group, account string) answer {
	g.t.Helper()
	a, err := askToJoin(g.t.Context(), g.CallbackURL, group, account)
	if err != nil {
		g.t.Fatal(err)
	}
	return a
}

// reportFull sends a signed group-full callback.
func (g *gate) reportFull(group string) answer {
	g.t.Helper()
	body := fmt.Sprintf(`{"CallbackCommand":"Group.CallbackAfterGroupFull","GroupId":%q}`, group)
	a, err := post(g.t.Context(), g.CallbackURL, sign("SdkAppid=1400000000&CallbackCommand=Group.CallbackAfterGroupFull&contenttype=json", token, time.Now()), body)
	if err != nil {
		g.t.Fatal(err)
	}
	return a
}

// eventually polls until holds is true.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	within(t, patience, what, holds)
}

// within polls until holds is true, for no longer than limit.
func within(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := lab.Await(ctx, what, func(context.Context) (bool, error) { return holds(), nil }); err != nil {
		t.Fatal(err)
	}
}

// switchboard is the load balancer: it sends callbacks to the first of its managers that answers the connection.
type switchboard struct {
	mu      sync.Mutex
	targets []string
}

func (s *switchboard) set(gates ...*gate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.targets = nil
	for _, g := range gates {
		s.targets = append(s.targets, g.CallbackURL)
	}
}

func (s *switchboard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	targets := s.targets
	s.mu.Unlock()
	lab.Forward(w, r, targets...)
}
