package tools

import (
	"encoding/json"
	"testing"

	"sigs.k8s.io/yaml"
)

// The list has what a person needs to decide, in the names that docs/tools.md gives.
func TestRunsAreListed(t *testing.T) {
	w := newWorld(t)
	code, out, _ := w.tool("runs", "--waiting")
	w.wants(0, code, out, "No plan awaits approval in namespace "+w.Namespace)
	w.waitingRun("first", "club-oslo", "anna", "boris", "chen")
	w.waitingRun("second", "club-ulm", "dora")
	w.kubectl("patch", "prunerun", "second", "--type=merge", "-p", `{"spec":{"approval":"Denied"}}`)
	code, out, _ = w.tool("runs", "--waiting")
	w.wants(0, code, out,
		"GROUP       TO GO     LAST ACTIVE", "VOID IN   POLICY   RUN\n", "club-oslo   3 of 60", "first\n")
	for format, decode := range map[string]func([]byte, any) error{
		"json": json.Unmarshal,
		"yaml": func(data []byte, into any) error { return yaml.Unmarshal(data, into) },
	} {
		code, out, _ = w.tool("runs", "-o", format)
		var list struct {
			Runs []struct {
				Namespace, Run, App, Group, State, Policy, Mode, VoidAt string
				AwaitsApproval                                          bool
				ToGo, Members                                           int
				LastActive                                              struct{ From, To string }
			}
		}
		if err := decode([]byte(out), &list); err != nil || code != 0 || len(list.Runs) != 2 {
			t.Fatalf("%s: exit code %d, %v:\n%s", format, code, err, out)
		}
		first, second := list.Runs[0], list.Runs[1]
		if first.Run != "first" || first.Group != "club-oslo" || !first.AwaitsApproval || first.ToGo != 3 ||
			first.Members != 60 || first.LastActive.From >= first.LastActive.To || first.VoidAt == "" ||
			first.State != "AwaitingApproval" || second.State != "Denied" || second.AwaitsApproval {
			t.Errorf("%s: %+v", format, list.Runs)
		}
	}
	code, out, stderr := finish(t, w.plugin("runs", "--help"))
	w.wants(0, code, out+stderr, "\n  kubectl groupgate runs [flags]\n")
	code, out, stderr = finish(t, w.plugin("runs", "-A", "--waiting"))
	w.wants(0, code, out+stderr, "NAMESPACE", w.Namespace)
}

func TestRunsRefuseBadInput(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct {
		code int
		want string
		args []string
	}{
		{2, "takes no argument", []string{"runs", "club-oslo"}},
		{2, "use json or yaml", []string{"runs", "-o", "wide"}},
		{2, "unknown flag", []string{"runs", "--wait"}},
		{2, "read the kubeconfig", []string{"runs", "--kubeconfig", "/nowhere"}},
		{2, "takes one group or run", []string{"approve"}},
		{2, "takes one group or run", []string{"deny", "a", "b"}},
		{2, "not a terminal", []string{"approve", "a"}},
		{2, "--reason: 257 characters", []string{"deny", "a", "--yes", "--reason", long(257)}},
		{2, "neither a run nor a run of a group a", []string{"undo", "a", "--yes"}},
		{1, "cannot list resource", []string{"runs", "--as", "nobody"}},
		{1, "groupgate-policy-viewer in namespace " + w.Namespace, []string{"runs", "--as", "nobody"}},
	} {
		code, out, stderr := w.tool(tc.args...)
		w.wants(tc.code, code, out+stderr, tc.want)
	}
}

func long(n int) string {
	text := make([]byte, n)
	for i := range text {
		text[i] = 'x'
	}
	return string(text)
}
