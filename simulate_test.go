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
	"unicode"
)

func runSimulate(in string, args ...string) (string, error) {
	return runCommand(simulateCommand(), in, args...)
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
	const table, same = "testdata/simulate/joins.csv", "--against=config/samples"
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
		"refusals only, any":        {append(samples, "-", same, "--fail-on=any"), "--decision-log=all", true},
		"refusals only, opened":     {append(samples, "-", same, "--fail-on=opened"), "", false},
		"no decisions":              {samples[:2], "--decisions", true},
		"no such file":              {append(samples, "nowhere"), "nowhere", true},
		"another namespace":         {append(log, "-n", "other"), "choose their namespace with -n", true},
		"an empty name":             {append(log, "--against="), "--against names no file", true},
		"no policies":               {[]string{"--filename=", "--decisions", recordedJoins}, "-f names no file", true},
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

// Anybody may choose the ids of groups and accounts that a decision log has.
func TestSimulateHidesNothingFromAPerson(t *testing.T) {
	const line = `{"log":"decision","version":1,"time":"2026-11-21T11:42:20Z","app":"chat/prod",` +
		`"group":"vip-\u001b[31m\tx\ny","account":"al\u001b[2J\u202e","trigger":"Apply","verdict":"Admitted",` +
		`"reason":"Allowed","policy":"p\u009b1m"}`
	const other = `{"log":"decision","version":1,"time":"2026-11-21T11:42:20Z","app":"chat/\u001b[31m\nHint: none",` +
		`"group":"g","account":"a","trigger":"Apply","verdict":"Admitted"}`
	got, err := runSimulate(line+"\n"+other+"\n", "-f", "config/samples", "--decisions", "-")
	if err != nil {
		t.Fatal(err)
	}
	if i := strings.IndexFunc(got, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("a terminal obeys, or hides, a rune at %d of %q", i, got)
	}
	for _, want := range []string{
		`vip-\x1b[31m\tx\ny   1`, `al\x1b[2J\u202e`, `p\u009b1m`, `(chat/\x1b[31m\nHint: none)`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q does not say %s", got, want)
		}
	}
}

// TestSimulateCountsWhoWouldBeEvicted: of the accounts that were admitted, in groups that a rule governs.
func TestSimulateCountsWhoWouldBeEvicted(t *testing.T) {
	after := filepath.Join("internal", "explain", "testdata", "evict.yaml")
	text, err := os.ReadFile(after)
	if err != nil {
		t.Fatal(err)
	}
	before := filepath.Join(t.TempDir(), "before.yaml")
	app, _, _ := strings.Cut(string(text), "---\n") // every account is admitted
	if err := os.WriteFile(before, []byte(app), 0o600); err != nil {
		t.Fatal(err)
	}
	const joins = "group,account,trigger\nvip-1,eve,Apply\nvip-1,eve,Invite\nvip-1,ann,Apply\ntown-1,trudy,Apply\n" +
		"lobby,mallory,Apply\n"
	got, err := runSimulate(joins, "-f", after, "--against", before, "-n", "chat", "--decisions", "-")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Hint: 2 accounts that were admitted would be evicted by join.evict if they are ordinary members still: " +
			"eve from vip-1, trudy from town-1.",
		"Hint: join.evict is new in GroupPolicy communities (Preview), GroupPolicy vip (Enforce): ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant %q", got, want)
		}
	}
	got, err = runSimulate(joins, "-f", after, "--against", after, "-n", "chat", "--decisions", "-")
	if err != nil || strings.Contains(got, "evict") {
		t.Errorf("nothing is new, and nobody was admitted: %v\n%s", err, got)
	}
}
