package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func runSimulate(in string, args ...string) (string, error) {
	var out bytes.Buffer
	cmd := simulateCommand()
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader(in))
	cmd.SetOut(&out)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err := cmd.Execute()
	return out.String(), err
}

const recordedJoins = "testdata/simulate/decisions.jsonl"

// TestSimulateTheSamples replays decisions against the samples as docs/tools.md shows it.
func TestSimulateTheSamples(t *testing.T) {
	got, err := runSimulate("", "-f", "config/samples", "--decisions", recordedJoins)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join("docs", "tools.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "--decisions "+recordedJoins+"\n"+got+"```") {
		t.Errorf("docs/tools.md does not show\n%s", got)
	}
}

func TestSimulateExitCodes(t *testing.T) {
	samples := slices.Clip([]string{"-f", "config/samples", "--decisions"})
	log := slices.Clip(append(samples, recordedJoins))
	const table = "testdata/simulate/joins.csv"
	for name, tc := range map[string]struct {
		args []string
		want string // of the error; "" is none
		bad  bool
	}{
		"changes, and no --fail-on": {log, "", false},
		"opened":                    {append(log, "--fail-on=opened"), "1 admitted that were refused", false},
		"closed":                    {append(log, "--fail-on=closed"), "1 decisions would be refused", false},
		"any":                       {append(log, "--fail-on=any"), "--fail-on=any", false},
		"the same":                  {append(log, "--against=config/samples", "--fail-on=any"), "", false},
		"a table":                   {append(samples, table, "--against=config/samples", "--fail-on=any"), "", false},
		"two files":                 {append(log, recordedJoins), "", false},
		"a table alone":             {append(samples, table), "--against", true},
		"refusals only":             {append(samples, "-", "--fail-on=closed"), "--decision-log=all", true},
		"no decisions":              {samples[:2], "--decisions", true},
		"no such file":              {append(samples, "nowhere"), "nowhere", true},
		"another namespace":         {append(log, "-n", "other"), "choose their namespace with -n", true},
		"against nothing":           {append(log, "--against=nowhere"), "--against", true},
		"without a cluster":         {append(log, "--against=cluster", "--kubeconfig=nowhere"), "kubeconfig", true},
		"a word for --fail-on":      {append(log, "--fail-on=all"), "use opened, closed or any", true},
		"a format":                  {append(log, "-o=xml"), "use json or yaml", true},
		"no such app":               {append(log, "--app=none"), "none", true},
		"no key":                    {append(log, "--hash-key-file=nowhere"), "--hash-key-file", true},
		"two standard inputs":       {append(samples, "-", "--against=-"), "only one", true},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(recordedJoins)
			if err != nil {
				t.Fatal(err)
			}
			first, _, _ := bytes.Cut(text, []byte("\n")) // a refusal
			_, err = runSimulate(string(first), tc.args...)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %v, want %q", err, tc.want)
			}
			if _, bad := errors.AsType[badInputError](err); bad != tc.bad {
				t.Errorf("exit code 2: %t, want %t", bad, tc.bad)
			}
		})
	}
}

func TestSimulatePrintsJSON(t *testing.T) {
	got, err := runSimulate("", "-f", "config/samples", "--decisions", recordedJoins, "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Decisions, Opened, Closed int
		Skipped                   struct{ OtherLines, Malformed int }
		Changes                   []struct {
			Now, Group, Policy, Reason string
			Accounts                   int
			Examples                   []string
		}
	}
	if err := json.Unmarshal([]byte(got), &report); err != nil {
		t.Fatal(err)
	}
	if report.Decisions != 8 || report.Opened != 1 || report.Closed != 1 || report.Skipped.OtherLines != 1 ||
		len(report.Changes) != 2 || report.Changes[1].Examples[0] != "carol" {
		t.Errorf("%s", got)
	}
}
