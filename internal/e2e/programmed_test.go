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
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/internal/lab"
)

// pod starts a replica that takes itself for a Pod.
func (w *world) pod(name string, wire *lab.Wire, flags ...string) *replica {
	w.t.Helper()
	before := w.Env
	defer func() { w.Env = before }()
	w.Env = append(slices.Clone(before), "POD_NAMESPACE="+w.Namespace, "POD_NAME="+name, "POD_UID="+name)
	return w.start(wire, flags...)
}

// startPod is pod, and waits until the replica is ready.
func (w *world) startPod(name string, wire *lab.Wire, flags ...string) *replica {
	w.t.Helper()
	r := w.pod(name, wire, flags...)
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if err := r.AwaitReady(ctx); err != nil {
		w.t.Fatal(err)
	}
	return r
}

// programmed returns status, reason, message and generation of the condition Programmed.
func (w *world) programmed(resource string) (status, reason, message string, current bool) {
	w.t.Helper()
	var object struct {
		Metadata struct{ Generation int64 }
		Status   struct {
			Conditions []struct {
				Type, Status, Reason, Message string
				ObservedGeneration            int64
			}
		}
	}
	if err := json.Unmarshal([]byte(w.kubectl("get", resource, "-o", "json")), &object); err != nil {
		w.t.Fatal(err)
	}
	for _, c := range object.Status.Conditions {
		if c.Type == "Programmed" {
			return c.Status, c.Reason, c.Message, c.ObservedGeneration == object.Metadata.Generation
		}
	}
	return "", "", "", false
}

// inForce waits until every replica enforces the resources, and returns how long that took.
func (w *world) inForce(limit time.Duration, resources ...string) time.Duration {
	w.t.Helper()
	begun := time.Now()
	for _, resource := range resources {
		within(w.t, limit, resource+" to be Programmed", func() bool {
			status, _, _, current := w.programmed(resource)
			return status == "True" && current
		})
	}
	return time.Since(begun)
}

// behind waits until Programmed names a replica, and returns how long that took.
func (w *world) behind(limit time.Duration, name string, resources ...string) time.Duration {
	w.t.Helper()
	begun := time.Now()
	for _, resource := range resources {
		var message string
		within(w.t, limit, resource+" not to be Programmed", func() bool {
			var status, reason string
			status, reason, message, _ = w.programmed(resource)
			return status == "False" && reason == "ReplicasBehind" && strings.Contains(message, " "+name)
		})
		w.t.Logf("%s: %s", resource, message)
	}
	return time.Since(begun)
}

// list applies the AccountList vip.
func (w *world) list(accounts ...string) {
	w.t.Helper()
	w.apply(fmt.Sprintf(`apiVersion: groupgate.io/v1alpha1
kind: AccountList
metadata: {name: vip, labels: {list: vip}}
spec: {accounts: [%s]}
`, strings.Join(accounts, ", ")))
}

const (
	listed  = "accountlist/vip"
	gated   = "grouppolicy/gate"
	replies = "imapp/prod"
)

// A revocation is in force when the last replica that may be answering has it. One that is stopped or cut off may.
func TestRevocationIsProgrammedWhenEveryReplicaHasIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app()
	w.list("jared", "tommy", "ann", "eve")
	w.policy("gate", `
groups: [{type: All}]
join: {allow: {lists: [{selector: {matchLabels: {list: vip}}}]}}
`)
	wire := newWire(t)
	leader := w.startPod("a", nil)
	eventually(t, "a to lead", leader.leads)
	stopped, cutOff := w.startPod("b", nil), w.startPod("c", wire)
	t.Cleanup(func() { _ = stopped.Signal(syscall.SIGCONT) }) // before it is asked to end
	w.inForce(patience, replies, listed, gated)
	w.ready(replies, gated)

	// A rollout writes nothing.
	versions := func() string {
		return w.kubectl("get", replies, listed, gated, "-o", "jsonpath={.items[*].metadata.resourceVersion}")
	}
	before := versions()
	if err := w.startPod("d", nil).Stop(time.Minute); err != nil {
		t.Fatal(err)
	}
	if after := versions(); after != before {
		t.Errorf("versions %s after a replica came and went, %s before", after, before)
	}

	stopped.signal(syscall.SIGSTOP)
	w.list("jared", "tommy", "ann")
	t.Logf("stopped: named after %s", w.behind(30*time.Second, "b", listed, gated))
	if status, _, message, _ := w.programmed(replies); status != "True" {
		t.Errorf("what did not change: %s", message)
	}
	w.ready(gated)
	stopped.signal(syscall.SIGCONT)
	t.Logf("resumed: in force after %s", w.inForce(5*time.Second, listed, gated))

	wire.Cut()
	w.list("jared", "tommy")
	t.Logf("cut off: named after %s", w.behind(30*time.Second, "c", listed, gated))
	if got := cutOff.apply("lounge", "ann"); got.ErrorCode != 0 {
		t.Errorf("a replica that is cut off does not answer from its last snapshot: %+v", got)
	}
	wire.Mend()
	w.kubectl("wait", "--for=condition=Programmed", "--timeout=5s", listed, gated)
	if got := cutOff.apply("lounge", "ann"); got.ErrorCode == 0 {
		t.Errorf("ann is admitted after the revocation is in force: %+v", got)
	}

	// A list that is deleted has no condition any more; the policies that select it have.
	stopped.signal(syscall.SIGSTOP)
	w.apply(strings.ReplaceAll(`{"apiVersion": "groupgate.io/v1alpha1", "kind": "AccountList", "metadata": {"name": "more",
"labels": {"list": "vip"}}, "spec": {"accounts": ["maria"]}}`, "\n", ""))
	w.behind(30*time.Second, "b", gated)
	stopped.signal(syscall.SIGCONT)
	w.inForce(5*time.Second, gated)
	stopped.signal(syscall.SIGSTOP)
	w.kubectl("delete", "accountlist/more")
	w.behind(30*time.Second, "b", gated)
	stopped.signal(syscall.SIGCONT)
	w.inForce(5*time.Second, gated)

	// A token that is rotated is in force with its last replica, too.
	stopped.signal(syscall.SIGSTOP)
	w.kubectl("patch", "secret/prod-im", "-p", `{"stringData": {"previousCallbackToken": "old"}}`)
	w.behind(30*time.Second, "b", replies)
	stopped.signal(syscall.SIGCONT)
	w.inForce(5*time.Second, replies)

	// One that ended cleanly does not count, one that was killed does until its Pod is gone.
	if err := cutOff.Stop(time.Minute); err != nil {
		t.Fatal(err)
	}
	leases := w.kubectl("get", "leases", "-l", "groupgate.io/replica=true", "-o", "name")
	if strings.Contains(leases, "-c") {
		t.Errorf("a replica that ended cleanly left its Lease: %s", leases)
	}
	w.list("jared")
	throughout(t, 7*time.Second, func() error {
		if status, _, message, _ := w.programmed(listed); status != "True" {
			return fmt.Errorf("not Programmed after a clean end: %s", message)
		}
		return nil
	})
	if err := stopped.Kill(); err != nil {
		t.Fatal(err)
	}
	w.list("tommy")
	w.behind(30*time.Second, "b", listed, gated)
	w.kubectl("delete", "lease/replica-b") // as the garbage collector does, which is not running here
	w.inForce(5*time.Second, listed, gated)

	// A process that was killed answers no more once the next one in its Pod starts.
	killed := w.startPod("e", nil)
	if err := killed.Kill(); err != nil {
		t.Fatal(err)
	}
	w.startPod("e", nil)
	w.list("jared")
	w.inForce(10*time.Second, listed, gated)
}

// A leader that is stopped says nothing about itself. The next one does.
func TestStoppedLeaderIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app()
	w.list("jared", "eve")
	w.policy("gate", "groups: [{type: All}]\njoin: {allow: {lists: [{name: vip}]}}")
	leader := w.startPod("a", nil)
	t.Cleanup(func() { _ = leader.Signal(syscall.SIGCONT) }) // before it is asked to end
	eventually(t, "a to lead", leader.leads)
	w.startPod("b", nil)
	w.inForce(patience, replies, listed, gated)
	leader.signal(syscall.SIGSTOP)
	w.list("jared")
	t.Logf("named after %s", w.behind(30*time.Second, "a", listed, gated))
	leader.signal(syscall.SIGCONT)
	t.Logf("in force %s after it resumed", w.inForce(5*time.Second, listed, gated))
}

// The last of many edits is in force as soon as a single one, and the replicas do not write more for it.
func TestProgrammedFollowsManyEdits(t *testing.T) {
	t.Parallel()
	const (
		policies  = 200
		editors   = 8
		perSecond = 200
		lasting   = 5 * time.Second
	)
	w := newWorld(t)
	w.app()
	pods := []string{"a", "b", "c"}
	for _, name := range pods {
		w.startPod(name, nil)
	}
	c, err := client.New(cluster.Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var manifests []string
	for n := range policies {
		manifests = append(manifests, lab.PolicyManifest(fmt.Sprintf("gate-%d", n), fmt.Sprintf(`
groups: [{value: group-%d}]
join: {allow: {accounts: [jared]}}
`, n)))
	}
	w.apply(strings.Join(manifests, "\n---\n"))
	edit := func(n int) {
		p := &unstructured.Unstructured{}
		p.SetAPIVersion("groupgate.io/v1alpha1")
		p.SetKind("GroupPolicy")
		p.SetNamespace(w.Namespace)
		p.SetName(fmt.Sprintf("gate-%d", n%policies))
		patch := fmt.Sprintf(`{"spec": {"groups": [{"type": "Exact", "value": "group-%d-%d"}]}}`, n%policies, n)
		if err := c.Patch(t.Context(), p, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
			t.Error(err)
		}
	}
	var (
		all   sync.WaitGroup
		edits = make(chan int)
	)
	for range editors {
		all.Go(func() {
			for n := range edits {
				edit(n)
			}
		})
	}
	begun, count := time.Now(), 0
	for tick := time.NewTicker(time.Second / perSecond); time.Since(begun) < lasting; count++ {
		<-tick.C
		edits <- count
	}
	close(edits)
	all.Wait()
	took := time.Since(begun)
	edit(count)
	last := fmt.Sprintf("grouppolicy/gate-%d", count%policies)
	t.Logf("%d edits in %s; the last one is in force after %s", count, took, w.inForce(10*time.Second, last))
	for _, name := range pods {
		writes := w.leaseWrites(name, begun, begun.Add(took))
		t.Logf("%s wrote its Lease %d times", name, writes)
		if limit := int(took.Seconds()) + 2; writes > limit {
			t.Errorf("%s wrote its Lease %d times in %s", name, writes, took)
		}
	}
}

// A rollout must not replace the replicas that serve a namespace by others that may not read it.
func TestReplicaReplacesNoneThatServesMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app()
	other := w.namespace("x")
	both := "--namespace=" + other.Namespace
	before := w.startPod("a", nil, both)
	w.unbind(other)
	after := w.pod("b", nil, both)
	var said string
	within(t, patience, "the probe to name what the other one serves", func() bool {
		_, said = get(t, http.DefaultClient, after.ReadyURL, "")
		return strings.Contains(said, " of namespace "+other.Namespace+", which a serves")
	})
	t.Logf("the probe says: %s", said)
	if got := after.apply("club", "mallory"); got.Status != http.StatusOK {
		t.Errorf("the namespace that it may read: %+v", got)
	}
	w.apply(lab.PolicyManifest("gate", "groups: [{type: All}]\njoin: {allow: {accounts: [jared]}}"))
	w.inForce(patience, gated) // it does not answer yet, and so does not count
	if err := before.Stop(time.Minute); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it to be ready once no other replica serves the namespace", func() bool {
		return after.Ready(t.Context())
	})
}

// roleWithoutLists is what the manager needs in a namespace but for reading AccountLists.
const roleWithoutLists = `apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: partial}
rules:
- apiGroups: [groupgate.io]
  resources: [imapps, grouppolicies, pruneruns]
  verbs: [get, list, watch]
- apiGroups: [groupgate.io]
  resources: [imapps/status, accountlists/status, grouppolicies/status]
  verbs: [patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: partial}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: partial}
subjects:
- {kind: ServiceAccount, name: groupgate-manager, namespace: groupgate-system}
`

// A leader that may not read the lists cannot know that an account was taken off one.
func TestRevocationThatCannotBeReadIsNotProgrammed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app()
	other := w.namespace("other")
	in := &world{World: other, t: t}
	in.list("jared", "eve")
	in.policy("gate", "groups: [{type: All}]\njoin: {allow: {lists: [{name: vip}]}}")
	wire := newWire(t)
	w.startPod("a", wire, "--namespace="+other.Namespace)
	in.inForce(patience, listed, gated)
	w.applyIn(other, roleWithoutLists)
	w.unbind(other)
	wire.Cut() // a watch that is open goes on
	wire.Mend()
	in.list("jared")
	t.Logf("named after %s", in.behind(time.Minute, "AccountLists", listed, gated))
	if status, _, message, _ := in.programmed(replies); status != "True" {
		t.Errorf("an app, which may be read: %s", message)
	}
	w.applyIn(other, lab.NamespaceManifests(other.Namespace))
	t.Logf("in force %s after the binding is back", in.inForce(time.Minute, listed, gated))
}

// The likeliest mistake of the first day: the token in the Secret is not that of the vendor's console.
func TestWrongTokenShows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(strings.ReplaceAll(lab.App{}.Manifests(), lab.CallbackToken, "typo"))
	leader := w.startPod("a", nil)
	eventually(t, "a to lead", leader.leads)
	follower := w.startPod("b", nil)
	w.ready(replies)
	reason := func() string {
		return w.kubectl("get", replies, "-o", `jsonpath={.status.conditions[?(@.type=="CallbacksVerified")].reason}`)
	}
	eventually(t, "the condition", func() bool { return reason() == "NeverSeen" })
	if got := follower.apply("lounge", "jared"); got.Status != http.StatusUnauthorized {
		t.Fatalf("%+v", got)
	}
	begun := time.Now()
	within(t, 10*time.Second, "the refused callback to show", func() bool { return reason() == "WrongToken" })
	t.Logf("told after %s: %s", time.Since(begun),
		w.kubectl("get", replies, "-o", `jsonpath={.status.conditions[?(@.type=="CallbacksVerified")].message}`))
	w.ready(replies)
	w.app() // with the right token
	eventually(t, "a right Sign to be answered", func() bool {
		return follower.apply("lounge", "jared").Status == http.StatusOK
	})
	within(t, 10*time.Second, "the right Sign to show", func() bool { return reason() == "Verified" })
}

// leaseWrites counts the writes of a replica's Lease in a time, by the log of the API server.
func (w *world) leaseWrites(name string, from, to time.Time) (count int) {
	w.t.Helper()
	data, err := os.ReadFile(cluster.AuditLog)
	if err != nil {
		w.t.Fatal(err)
	}
	path := fmt.Sprintf("/namespaces/%s/leases/replica-%s", w.Namespace, name)
	for line := range bytes.Lines(data) {
		var event struct {
			Verb, RequestURI, Stage  string
			RequestReceivedTimestamp time.Time
		}
		if !bytes.Contains(line, []byte(path)) || json.Unmarshal(line, &event) != nil {
			continue
		}
		at := event.RequestReceivedTimestamp
		if event.Verb == "patch" && event.Stage == "ResponseComplete" && at.After(from) && at.Before(to) {
			count++
		}
	}
	return count
}

// A replica that read the lists later than another one has a higher version of them, although nothing has changed.
func TestLeaderThatStartedLastFindsEveryReplicaCurrent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app()
	w.list("jared", "tommy")
	w.policy("gate", `
groups: [{type: All}]
join: {allow: {lists: [{selector: {matchLabels: {list: vip}}}]}}
`)
	first := w.startPod("a", nil)
	eventually(t, "a to lead", first.leads)
	older := w.startPod("b", nil)
	w.inForce(patience, replies, listed, gated)
	w.ready(replies, gated)
	// Versions count over the whole store.
	w.kubectl("create", "configmap", "anything")
	next := w.startPod("c", nil)
	t.Cleanup(func() { _ = older.Signal(syscall.SIGCONT) })
	older.signal(syscall.SIGSTOP) // it does not become the leader
	if err := first.Stop(time.Minute); err != nil {
		t.Fatal(err)
	}
	eventually(t, "c to lead", func() bool { return next.leads() })
	older.signal(syscall.SIGCONT)
	throughout(t, 20*time.Second, func() error {
		for _, resource := range []string{replies, listed, gated} {
			if status, _, message, _ := w.programmed(resource); status != "True" {
				return fmt.Errorf("%s: %s", resource, message)
			}
		}
		return nil
	})
}
