package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/groupgate/groupgate/internal/lab"
)

// startPod starts a replica that takes itself for a Pod, and waits until it is ready.
func (w *world) startPod(name string, wire *lab.Wire) *replica {
	w.t.Helper()
	before := w.Env
	defer func() { w.Env = before }()
	w.Env = append(slices.Clone(before), "POD_NAMESPACE="+w.Namespace, "POD_NAME="+name, "POD_UID="+name)
	return w.startReady(wire)
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
			return status == "False" && reason == "ReplicasBehind" && strings.Contains(message, " "+name+",")
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

	if err := stopped.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	w.list("jared", "tommy", "ann")
	t.Logf("stopped: named after %s", w.behind(30*time.Second, "b", listed, gated))
	if status, _, message, _ := w.programmed(replies); status != "True" {
		t.Errorf("what did not change: %s", message)
	}
	w.ready(gated)
	if err := stopped.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
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
	if err := stopped.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	w.apply(strings.ReplaceAll(`{"apiVersion": "groupgate.io/v1alpha1", "kind": "AccountList", "metadata": {"name": "more",
"labels": {"list": "vip"}}, "spec": {"accounts": ["maria"]}}`, "\n", ""))
	w.behind(30*time.Second, "b", gated)
	if err := stopped.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	w.inForce(5*time.Second, gated)
	if err := stopped.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	w.kubectl("delete", "accountlist/more")
	w.behind(30*time.Second, "b", gated)
	if err := stopped.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	w.inForce(5*time.Second, gated)

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
}

func TestProgrammedFollowsManyEdits(t *testing.T) {
	t.Parallel()
	const (
		edits     = 1000
		perSecond = 200
	)
	w := newWorld(t)
	w.app()
	pods := []string{"a", "b", "c"}
	for _, name := range pods {
		w.startPod(name, nil)
	}
	policies := func(revision int, names ...int) {
		var manifests []string
		for _, n := range names {
			manifests = append(manifests, lab.PolicyManifest(fmt.Sprintf("gate-%d", n), fmt.Sprintf(`
groups: [{value: group-%d-%d}]
join: {allow: {accounts: [jared]}}
`, n, revision)))
		}
		w.apply(strings.Join(manifests, "\n---\n"))
	}
	begun := time.Now()
	for revision := range edits / perSecond {
		next := time.Now().Add(time.Second)
		var names []int
		for n := range perSecond {
			names = append(names, n)
		}
		policies(revision, names...)
		within(t, patience, "the second to pass", func() bool { return time.Now().After(next) })
	}
	last := time.Now()
	took := last.Sub(begun)
	policies(edits, perSecond-1)
	t.Logf("%d edits in %s; the last one is in force after %s", edits, took,
		w.inForce(10*time.Second, fmt.Sprintf("grouppolicy/gate-%d", perSecond-1)))
	for _, name := range pods {
		writes := w.leaseWrites(name, begun, last)
		t.Logf("%s wrote its Lease %d times", name, writes)
		if limit := int(took.Seconds()) + 2; writes > limit {
			t.Errorf("%s wrote its Lease %d times in %s", name, writes, took)
		}
	}
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
