package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
)

// patience bounds every wait for something that must happen; only a broken product uses it up.
const patience = 2 * time.Minute

// world is the namespace of one test, with an IM backend and the replicas that the test starts.
type world struct {
	lab.World
	t  *testing.T
	im *emulator.Client

	route atomic.Pointer[[]string] // callback URLs, in the order of the load balancer
}

// newWorld makes the namespace and the backend. Callbacks of the backend go nowhere before routeTo.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t}
	w.route.Store(&[]string{})
	backend := lab.NewBackend([]lab.App{{}}, func() []string { return *w.route.Load() }, nil)
	t.Cleanup(func() {
		if err := backend.Close(); err != nil {
			t.Errorf("close the backend: %v", err)
		}
	})
	w.World = lab.World{
		ControlPlane: cluster.ControlPlane, Binary: cluster.Binary, IMEndpoint: backend.URL,
		Namespace: strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name())),
	}
	w.im = &emulator.Client{BaseURL: backend.URL}
	lease, err := lab.LeaseManifests(w.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	w.apply(lab.NamespaceManifests(w.Namespace) + "---\n" + lease)
	return w
}

// routeTo has the load balancer send callbacks to the first of the replicas that accepts a connection.
func (w *world) routeTo(replicas ...*replica) {
	var urls []string
	for _, r := range replicas {
		urls = append(urls, r.CallbackURL)
	}
	w.route.Store(&urls)
}

// kubectl runs kubectl in the world's namespace and returns what it printed.
func (w *world) kubectl(args ...string) string {
	w.t.Helper()
	out, err := w.Kubectl(w.t.Context(), "", args...)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func (w *world) apply(manifests string) {
	w.t.Helper()
	if err := w.Apply(w.t.Context(), manifests); err != nil {
		w.t.Fatal(err)
	}
}

// app applies the Secret and the IMApp prod; spec is added to the IMApp's.
func (w *world) app(spec ...string) {
	w.t.Helper()
	w.apply(lab.App{Spec: strings.Join(spec, "\n")}.Manifests())
}

// policy applies a GroupPolicy of the app prod.
func (w *world) policy(name, spec string) {
	w.t.Helper()
	w.apply(lab.PolicyManifest(name, spec))
}

// ready waits until the resources are Ready.
func (w *world) ready(resources ...string) {
	w.t.Helper()
	w.kubectl(append([]string{"wait", "--for=condition=Ready", "--timeout=" + patience.String()}, resources...)...)
}

// replica is a manager process of the world.
type replica struct {
	*lab.Manager
	t   *testing.T
	log *lab.Log // of both outputs
}

// start starts a replica as the ServiceAccount of config/rbac, and does not wait for it. It reaches the API server
// through wire, unless that is nil. When the test ends, RBAC must have denied it nothing, and it must not have a data
// race.
func (w *world) start(wire *lab.Wire, flags ...string) *replica {
	w.t.Helper()
	server := ""
	if wire != nil {
		server = wire.Address()
	}
	all := slices.Concat(lab.FastElection, []string{
		"--leader-election-namespace=" + w.Namespace, // tests run side by side
		"--shutdown-delay=1s", "--log-level=debug", "--log-format=console",
	}, flags)
	log := &lab.Log{}
	manager, err := w.StartManager(log, server, all...)
	if err != nil {
		w.t.Fatal(err)
	}
	r := &replica{Manager: manager, t: w.t, log: log}
	w.t.Cleanup(func() {
		if err := r.Stop(time.Minute); err != nil && r.ExitCode() != -1 {
			w.t.Error(err)
		}
		if strings.Contains(log.String(), "DATA RACE") {
			w.t.Error("the manager has a data race")
		}
		if w.t.Failed() {
			w.t.Logf("log of the manager on %s:\n%s", r.CallbackURL, log)
		}
		checkNothingDenied(w.t)
	})
	return r
}

// startReady starts a replica and waits until it is ready.
func (w *world) startReady(wire *lab.Wire, flags ...string) *replica {
	w.t.Helper()
	r := w.start(wire, flags...)
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if err := r.AwaitReady(ctx); err != nil {
		w.t.Fatal(err)
	}
	return r
}

// startTwo starts two replicas and returns the leader first.
func (w *world) startTwo(wire *lab.Wire, flags ...string) (leader, follower *replica) {
	w.t.Helper()
	leader, follower = w.startReady(wire, flags...), w.startReady(wire, flags...)
	eventually(w.t, "one of two to lead", func() bool { return leader.leads() != follower.leads() })
	if follower.leads() {
		return follower, leader
	}
	return leader, follower
}

// newWire makes a connection to the API server that the test can cut.
func newWire(t *testing.T) *lab.Wire {
	t.Helper()
	wire, err := lab.NewWire(t.Context(), cluster.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = wire.Close() })
	return wire
}

// mayBeDenied holds the namespaces that a test takes from the manager.
var mayBeDenied sync.Map

// checkNothingDenied reads the API server's log of the requests of all managers.
func checkNothingDenied(t *testing.T) {
	t.Helper()
	data, err := os.ReadFile(cluster.AuditLog)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) == 0 {
		t.Error("the API server logged no request of the manager: this check proves nothing")
	}
	for line := range bytes.Lines(data) {
		if !bytes.Contains(line, []byte(`"code":403`)) {
			continue
		}
		var event struct{ Verb, RequestURI string }
		if json.Unmarshal(line, &event) != nil {
			continue // the last line may be half written
		}
		if _, rest, ok := strings.Cut(event.RequestURI, "/namespaces/"); ok {
			if _, expected := mayBeDenied.Load(rest[:strings.IndexAny(rest+"/", "/?")]); expected {
				continue
			}
		}
		t.Errorf("RBAC denied the manager: %s %s", event.Verb, event.RequestURI)
	}
}

// metric is lab.Metric of the replica.
func (r *replica) metric(name string, labels ...string) float64 {
	r.t.Helper()
	value, err := r.Metric(r.t.Context(), name, labels...)
	if err != nil {
		r.t.Fatal(err)
	}
	return value
}

// signal sends a signal to the process.
func (r *replica) signal(s os.Signal) {
	r.t.Helper()
	if err := r.Signal(s); err != nil {
		r.t.Fatal(err)
	}
}

// leads reports whether this replica is the leader.
func (r *replica) leads() bool {
	r.t.Helper()
	return r.metric("groupgate_term") == 1
}

// postSigned sends a signed callback of the app prod.
func (r *replica) postSigned(command string, fields map[string]any) (lab.Answer, error) {
	return lab.PostSigned(r.t.Context(), r.CallbackURL, lab.SDKAppID, command, fields)
}

// tryApply sends an application to join. It fails if there is no answer.
func (r *replica) tryApply(group, account string) (lab.Answer, error) {
	return r.postSigned(lab.CommandApply,
		map[string]any{"GroupId": group, "Type": "Public", "Requestor_Account": account})
}

// apply sends an application to join, which must be answered.
func (r *replica) apply(group, account string) lab.Answer {
	r.t.Helper()
	a, err := r.tryApply(group, account)
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

// reportFull sends a group-full callback, which must be answered with success.
func (r *replica) reportFull(group string) {
	r.t.Helper()
	a, err := r.postSigned(lab.CommandGroupFull, map[string]any{"GroupId": group})
	if err != nil || a.Status != http.StatusOK || a.ErrorCode != 0 {
		r.t.Fatalf("report %s as full: %+v, %v", group, a, err)
	}
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

// throughout polls for d and fails at the first problem.
func throughout(t *testing.T, d time.Duration, problem func() error) {
	t.Helper()
	begun := time.Now()
	within(t, d+patience, fmt.Sprintf("%s to pass", d), func() bool {
		if err := problem(); err != nil {
			t.Fatalf("after %s: %v", time.Since(begun), err)
		}
		return time.Since(begun) > d
	})
}
