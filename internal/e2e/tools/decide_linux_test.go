package tools

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
)

// terminal returns both ends of a pseudo-terminal.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, program, err := lab.Terminal()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = person.Close() // nothing is left to be read
		_ = program.Close()
	})
	return person, program
}

// ask runs the binary on a terminal. meanwhile is called once it asks, before the answer is typed.
func (w *world) ask(answer string, meanwhile func(), args ...string) (code int, output string) {
	w.t.Helper()
	person, program := terminal(w.t)
	cmd := w.command(args...)
	var log lab.Log
	cmd.Stdin, cmd.Stdout, cmd.Stderr = program, &log, &log
	w.must(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the process; its exit code is read from ProcessState
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	w.must(lab.Await(ctx, "the question", func(context.Context) (bool, error) {
		return strings.HasSuffix(log.String(), "[y/N] ") || len(ended) > 0, nil
	}))
	if meanwhile != nil {
		meanwhile()
	}
	fmt.Fprintln(person, answer)
	select {
	case err := <-ended:
		w.t.Logf("ended: %v", err)
	case <-ctx.Done():
		w.must(cmd.Process.Kill())
		w.t.Fatalf("no end after the answer:\n%s", log.String())
	}
	return cmd.ProcessState.ExitCode(), log.String()
}

// field is what a run has at a path.
func (w *world) field(run, path string) string {
	w.t.Helper()
	return w.kubectl("get", "prunerun", run, "-o", "jsonpath={"+path+"}")
}

func (w *world) approval(run string) string { return w.field(run, ".spec.approval") }

// A person approves what a group asks for, and takes it back.
func TestGroupIsApprovedAndUndone(t *testing.T) {
	w := newWorld(t)
	_, err := w.im.CreateGroup(t.Context(), emulator.GroupSpec{
		ID: "club", Type: "Public", MaxMembers: 20, Owner: "olivia", CreatedAgo: "400d",
		Members: []emulator.MemberSpec{
			{Prefix: "idle", Count: 3, InactiveFor: "60d"},
			{Prefix: "busy", Count: 16, JoinedAgo: "100d", SpokeAgo: "1d"},
		},
	})
	w.must(err)
	members := func() int {
		group, err := w.im.Group(t.Context(), "club")
		w.must(err)
		return group.Members
	}
	w.apply(lab.App{}.Manifests() + "---\n" + lab.PolicyManifest("club", `
groups: [{value: club}]
whenFull: {prune: {mode: Approve, inactiveFor: 30d, freeSeats: 3}}
`))
	w.startManager()
	w.apply(`apiVersion: groupgate.io/v1alpha1
kind: PruneRun
metadata: {name: spring}
spec: {appRef: {name: prod}, groupID: club}
`)
	w.await("AwaitingApproval", "get", "prunerun", "spring")
	code, out := w.ask("", nil, "approve", "club")
	w.wants(1, code, out, "nothing was decided")
	if got := w.approval("spring"); got != "Pending" {
		t.Fatalf("approval %s after no answer", got)
	}
	code, out = w.ask("y", nil, "approve", "club", "--reason", "spring cleaning")
	w.wants(0, code, out, "would remove 3 of 20 members of club, by policy club", "ACCOUNT   LAST ACTIVE",
		"idle1 ", "(60 days ago)", "3 members will be removed from club. Approve? [y/N]", "Run spring is approved")
	w.await("Removed", "get", "prunerun", "spring")
	if got := w.field("spring", ".status.decisions.approved.reason"); got != "spring cleaning" {
		t.Errorf("recorded reason %q", got)
	}
	if n := members(); n != 17 {
		t.Errorf("%d members after the approval, want 17", n)
	}
	code, out, stderr := w.tool("undo", "club", "--yes", "--reason", "wrong group")
	w.wants(0, code, out+stderr, "removed 3 members from club", "The undo of run spring is requested")
	w.kubectl("wait", "prunerun", "spring", "--for=condition=Undone", "--timeout="+patience.String())
	if n := members(); n != 20 {
		t.Errorf("%d members after the undo, want 20", n)
	}
	code, out, stderr = w.tool("undo", "club", "--yes")
	w.wants(1, code, out+stderr, "cannot be undone: it was undone already")
}

// The answer holds for what was shown, not for what the plan has become while a person read it.
func TestChangedPlanIsNotDecidedAbout(t *testing.T) {
	w := newWorld(t)
	w.waitingRun("run", "club", "anna", "boris")
	for _, tc := range []struct {
		what      string
		meanwhile func()
		want      []string
	}{
		{
			"another plan",
			func() {
				w.patchStatus("run", plan("boris", "chen"))
			},
			[]string{"Members who were not shown are on it: chen.", "Members who were shown are no longer on it: anna.",
				"It says something else about: boris."},
		},
		{
			"the end of the run",
			func() {
				w.kubectl("patch", "prunerun", "run", "--subresource=status", "--type=json", "-p", `[
					{"op":"replace","path":"/status/conditions/1/status","value":"True"},
					{"op":"replace","path":"/status/conditions/1/reason","value":"Superseded"},
					{"op":"replace","path":"/status/conditions/1/message","value":"The rule was edited."}]`)
			},
			[]string{"It has ended (Superseded): The rule was edited."},
		},
		{
			"a run of the same name",
			func() {
				w.kubectl("delete", "prunerun", "run")
				w.waitingRun("run", "club", "anna", "boris")
			},
			[]string{"It was deleted, and another run has its name."},
		},
		{"no run", func() { w.kubectl("delete", "prunerun", "run") }, []string{"It was deleted."}},
	} {
		code, out := w.ask("y", tc.meanwhile, "approve", "club")
		w.wants(1, code, out, append(tc.want, "nothing was decided, since run run is no longer what was shown:")...)
		left := w.kubectl("get", "pruneruns", "-o", "jsonpath={.items[*].spec.approval}")
		if left != "Pending" && left != "" {
			t.Errorf("%s: approval %s", tc.what, left)
		}
		if tc.what != "no run" {
			w.kubectl("delete", "prunerun", "run")
			w.waitingRun("run", "club", "anna", "boris")
		}
	}

	// What a person does not decide by may change.
	w.waitingRun("run", "club", "anna", "boris")
	code, out := w.ask("yes", func() { w.kubectl("label", "prunerun", "run", "seen=yes") }, "approve", "club")
	w.wants(0, code, out, "Run run is approved")
	if got := w.approval("run"); got != "Approved" {
		t.Errorf("approval %s", got)
	}
}

// Who decided in between is named, as the leader has recorded it.
func TestDecisionOfAnotherPersonIsShown(t *testing.T) {
	w := newWorld(t)
	w.waitingRun("run", "club", "anna")
	code, out := w.ask("y", func() {
		w.patch("run", `{"spec":{"approval":"Denied","decision":{"by":"eve"}}}`)
		w.patchStatus("run", `{"status":{"decisions":{"denied":{"by":"alice","reason":"not before Monday"}}}}`)
	}, "approve", "club")
	w.wants(1, code, out, "alice denied it: not before Monday.")
	w.waitingRun("other", "games", "anna")
	code, out = w.ask("y", func() {
		w.patch("other", `{"spec":{"approval":"Approved","decision":{"by":"eve"}}}`)
	}, "deny", "games")
	w.wants(1, code, out, "Somebody approved it.")
	if strings.Contains(out, "eve") {
		t.Errorf("a name that nothing has verified is shown:\n%s", out)
	}
}

// With config/admission/decisions the API server writes who decided; rights are those of the person.
func TestPersonDecidesByOwnRights(t *testing.T) {
	w := newWorld(t)
	overlay := w.installDecisions()
	t.Cleanup(func() {
		_, err := cluster.Kubectl(context.WithoutCancel(t.Context()), "", "delete", "-k", overlay)
		w.must(err)
	})
	w.kubectl("create", "rolebinding", "readers", "--clusterrole=groupgate-policy-viewer",
		"--user=viktor", "--user=maria")
	w.kubectl("create", "rolebinding", "approvers", "--clusterrole=groupgate-prune-approver", "--user=maria")
	w.waitingRun("run", "club", "anna")
	w.await("club", "get", "pruneruns", "--as=viktor") // the API server authorizes from a cache
	code, out, stderr := w.tool("approve", "club", "--yes", "--as=viktor")
	w.wants(1, code, out+stderr, `User "viktor" cannot patch resource "pruneruns"`,
		"kubectl create rolebinding NAME -n "+w.Namespace+" --clusterrole=groupgate-prune-approver --user=USER")
	if got := w.approval("run"); got != "Pending" {
		t.Errorf("approval %s", got)
	}
	decision := func(run string) string {
		return w.approval(run) + " " + w.field(run, ".spec.decision.by") + ": " + w.field(run, ".spec.decision.reason")
	}
	// The policy is in force a moment after it is created.
	w.eventually("the policy", func() bool {
		w.waitingRun("probe", "probe", "anna")
		defer w.kubectl("delete", "prunerun", "probe")
		code, _, _ := w.tool("deny", "probe", "--yes", "--as=maria")
		return code == 0 && decision("probe") == "Denied maria: "
	})
	code, out, stderr = w.tool("approve", "club", "--yes", "--as=maria", "--reason=spring cleaning")
	w.wants(0, code, out+stderr, "Run run is approved")
	if got := decision("run"); got != "Approved maria: spring cleaning" {
		t.Errorf("decision %q", got)
	}
	// A decision without a reason does not take over that of an earlier one.
	code, out, stderr = w.tool("deny", "run", "--yes", "--as=maria")
	w.wants(0, code, out+stderr, "Run run is denied")
	if got := decision("run"); got != "Denied maria: " {
		t.Errorf("decision %q", got)
	}
}

// installDecisions applies the component and returns the overlay that holds it.
func (w *world) installDecisions() string {
	w.t.Helper()
	overlay := w.t.TempDir()
	component, err := filepath.Abs(filepath.Join(lab.Root(), "config", "admission", "decisions"))
	w.must(err)
	relative, err := filepath.Rel(overlay, component)
	w.must(err)
	components := "components: [" + relative + "]\n"
	w.must(os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), []byte(components), 0o600))
	_, err = cluster.Kubectl(w.t.Context(), "", "apply", "--server-side", "-k", overlay)
	w.must(err)
	return overlay
}
