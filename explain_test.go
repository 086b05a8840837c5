package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func runExplain(args ...string) (string, error) { return runCommand(explainCommand(), "", args...) }

// TestExplainTheSamples explains the samples as docs/tools.md shows it.
func TestExplainTheSamples(t *testing.T) {
	got, err := runExplain("vip-berlin", "mallory", "-f", "config/samples")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`mallory may NOT join vip-berlin (Apply). The client sees code 10120 "You cannot join groups at the moment".`,
		"Decided by step 1: policy banned denies the account.",
		"RANK   POLICY                MATCHES         SAYS           BECAUSE OF\n" +
			`1      vip-lounge            Prefix "vip-"   not listed     join.allow does not name the account` + "\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%swant in it\n%s", got, want)
		}
	}
	got, err = runExplain("vip-berlin", "-f", "config/samples")
	if err != nil || !strings.Contains(got, "vip-lounge") {
		t.Errorf("without an account: %v\n%s", err, got)
	}
}

// TestAllNamespacesGoBeforeOne: as with kubectl.
func TestAllNamespacesGoBeforeOne(t *testing.T) {
	if got, err := runExplain("vip-berlin", "mallory", "-f", "config/samples", "-A", "-n", "other"); err != nil {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestExplainPrintsJSONAndYAML(t *testing.T) {
	for format, decode := range map[string]func([]byte, any) error{
		"json": json.Unmarshal,
		"yaml": func(text []byte, into any) error { return yaml.Unmarshal(text, into) },
	} {
		got, err := runExplain("vip-berlin", "mallory", "-f", "config/samples", "-o", format)
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Verdict, Reason, Policy string
			Code, Step              int
			Policies                []any
		}
		if err := decode([]byte(got), &answer); err != nil {
			t.Fatalf("%s: %v\n%s", format, err, got)
		}
		if answer.Verdict != "Rejected" || answer.Code != 10120 || answer.Step != 1 || answer.Reason != "Denied" ||
			answer.Policy != "banned" || len(answer.Policies) != 3 {
			t.Errorf("%s: %+v", format, answer)
		}
	}
}

// TestExplainMembers reads the members from the standard input, of which one hides from a terminal.
func TestExplainMembers(t *testing.T) {
	const page = `{"ActionStatus":"OK","ErrorCode":0,"MemberNum":3,"MemberList":[
		{"Member_Account":"jared","Role":"Member","JoinTime":1700000000},
		{"Member_Account":"eve\u001b[2J","Role":"Member","JoinTime":1700000000}]}`
	manifests, err := os.ReadFile(filepath.Join("internal", "explain", "testdata", "evict.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "evict.yaml")
	if err := os.WriteFile(file, manifests, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := runCommand(explainCommand(), page, "vip-1", "-f", file, "--members", "-")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"2 of the 2 members of vip-1 would be evicted", `"eve\x1b[2J"`,
		"Hint: - has 2 of the 3 members of the group: the others are not counted",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant in it %s", got, want)
		}
	}
	got, err = runExplain("vip-berlin", "-f", "config/samples", "--members", "config/samples/tests/lobby.csv")
	if err != nil || !strings.Contains(got, "NotGoverned") && !strings.Contains(got, "would be evicted") {
		t.Errorf("the samples: %v\n%s", err, got)
	}
}

// TestExplainRefusesBadInput: such errors end the process with exit code 2, a verdict with 0.
func TestExplainRefusesBadInput(t *testing.T) {
	samples := []string{"vip-berlin", "mallory", "-f", "config/samples"}
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no group":            {nil, "takes a group"},
		"three ids":           {[]string{"a", "b", "c"}, "takes a group"},
		"empty id":            {append([]string{""}, samples[1:]...), "must not be empty"},
		"trigger":             {append(samples, "--trigger=Walk"), "use Apply, Invite or RESTAPI"},
		"type":                {append(samples, "--type=Big"), "use Work, Public"},
		"time":                {append(samples, "--at=today"), "use RFC 3339"},
		"output":              {append(samples, "-o", "xml"), "use json or yaml"},
		"flag":                {append(samples, "--color"), "unknown flag"},
		"app":                 {append(samples, "--app=other"), `no IMApp "other"`},
		"namespace":           {append(samples, "-n", "other"), "another namespace with -n, or all with -A"},
		"no such file":        {[]string{"a", "-f", "nowhere"}, "nowhere"},
		"an empty name":       {[]string{"a", "-f", ""}, "-f names no file"},
		"no cluster":          {[]string{"a", "--kubeconfig", "nowhere"}, "use -f for files"},
		"account and members": {append(samples, "--members=m.csv"), "name the group only"},
		"no members":          {[]string{"a", "-f", "config/samples", "--members=nowhere"}, "--members: open nowhere"},
		"an empty file name":  {[]string{"a", "-f", "config/samples", "--members="}, "--members: open"},
		"two standard inputs": {[]string{"a", "-f", "-", "--members", "-"}, "only one of -f and --members"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := runExplain(tc.args...)
			if _, bad := errors.AsType[badInputError](err); !bad || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want bad input and %q", err, tc.want)
			}
		})
	}
}
