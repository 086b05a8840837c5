package simulate

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/decisionlog"
	"github.com/groupgate/groupgate/internal/manifests"
	"github.com/groupgate/groupgate/internal/policy"
)

// members are objects with one policy, by which only the accounts may join any group of chat/prod.
func members(accounts ...string) *manifests.Objects {
	p := v1alpha1.GroupPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "chat", Name: "members", UID: "members"}}
	p.Spec.AppRef.Name = "prod"
	p.Spec.Groups = []v1alpha1.GroupMatcher{{Type: v1alpha1.GroupMatcherAll}}
	p.Spec.Join = &v1alpha1.JoinSection{Allow: &v1alpha1.AccountSelector{Accounts: accounts}}
	app := v1alpha1.IMApp{ObjectMeta: metav1.ObjectMeta{Namespace: "chat", Name: "prod", UID: "prod"}}
	app.Spec.SDKAppID, app.Spec.AdminAccount = 1400000000, "administrator"
	return &manifests.Objects{
		Apps: []v1alpha1.IMApp{app}, Policies: []v1alpha1.GroupPolicy{p}, FromFiles: true,
	}
}

func asks(accounts ...string) []policy.JoinQuery {
	var queries []policy.JoinQuery
	for _, account := range accounts {
		queries = append(queries, policy.JoinQuery{Group: "g", Account: account, Now: someTime})
	}
	return queries
}

func logged(t *testing.T, accounts ...string) string {
	return logOf(t, members("anna", "boris").Compile(), asks(accounts...), nil).String()
}

func TestLinesThatAreNoDecisionsAreCounted(t *testing.T) {
	log := strings.Join([]string{
		`{"level":"INFO","msg":"Starting"}`,
		"",
		"[pod/groupgate-manager-1/manager] " + strings.TrimSuffix(logged(t, "anna"), "\n"),
		"panic: oh no",
		strings.Repeat("x", 2*maxLine),
		strings.TrimSuffix(strings.ReplaceAll(logged(t, "anna"), "chat/prod", "chat/old"), "\n"),
		logged(t, "anna", "mallory")[:500], // its last line is torn
	}, "\n")
	r := reportOn(t, Options{Now: members()}, bytes.NewBufferString(log))
	want := Skipped{OtherLines: 1, Malformed: 3, UnknownApps: 1}
	if diff := cmp.Diff(want, r.Skipped); diff != "" || r.Decisions != 2 || r.Closed != 2 {
		t.Errorf("%d decisions, %d closed; skipped (-want,+got):\n%s", r.Decisions, r.Closed, diff)
	}
	text := strings.Join(r.Hints, "\n")
	for _, want := range []string{
		"log:4 (no JSON object)", "log:5 (it has more than 1048576 bytes)", "log:8 (unexpected", "(chat/old)", "-n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("hints\n%s\nwant %s in them", text, want)
		}
	}
}

func TestNothingToReplayIsAnError(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"an empty file":  {"", "--decision-log=all"},
		"another log":    {`{"level":"INFO"}` + "\n", "--decision-log=all"},
		"no log at all":  {"a\nb\nc\nd\ne\nf\ng\n", "7 malformed: log:1 (no JSON object), log:2"},
		"another app":    {strings.ReplaceAll(logged(t, "anna"), "chat/", "default/"), "their namespace with -n"},
		"without a key":  {logOf(t, members().Compile(), asks("anna"), hashes(t)).String(), "--hash-key-file"},
		"a table":        {"group,account,trigger\ng,anna,Apply\n", "--against"},
		"broken gzip":    {"\x1f\x8b\x00", "gzip"},
		"a later format": {strings.ReplaceAll(logged(t, "anna"), `"version":1`, `"version":2`), "newer groupgate"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := New(Options{Now: members()})
			if err != nil {
				t.Fatal(err)
			}
			if err = s.Read("log", strings.NewReader(tc.text)); err == nil {
				_, err = s.Report()
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestTables(t *testing.T) {
	before, now := members("anna", "boris"), members("boris", "chen")
	for name, tc := range map[string]struct {
		text           string
		closed, opened int
		malformed      []Malformed
	}{
		"required columns": {"group,account,trigger\ng,anna,Apply\ng,chen,Invite\ng,boris,RESTAPI\n", 1, 1, nil},
		"in another order, of Windows": {"\ufefftrigger,time,account,groupType,app,group\r\n" +
			"Apply,2026-11-21T12:00:00Z,anna,Public,chat/prod,g\r\nApply,,chen,,,g\r\n", 1, 1, nil},
		"quoted":               {"group,account,trigger\n\"g,h\",\"anna\",Apply\n", 1, 0, nil},
		"with a quoted header": {"\ufeff\"group\",\"account\",\"trigger\"\ng,anna,Apply\n", 1, 0, nil},
		"with mistakes": {
			"group,account,trigger\ng,anna\ng,anna,Walk\ng,,Apply\n\"\n\",a\"b,Apply\ng,chen,Apply\n", 0, 1,
			[]Malformed{
				{"log", 2, "wrong number of fields"},
				{"log", 3, `column trigger is "Walk": want Apply, Invite or RESTAPI`},
				{"log", 4, "group, account or app is empty"},
				{"log", 5, `bare " in non-quoted-field`},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := reportOn(t, Options{Now: now, Before: before, At: someTime}, bytes.NewBufferString(tc.text))
			diff := cmp.Diff(tc.malformed, r.Malformed)
			if diff != "" || r.Closed != tc.closed || r.Opened != tc.opened {
				t.Errorf("%d closed, %d opened; malformed (-want,+got):\n%s", r.Closed, r.Opened, diff)
			}
			if r.RefusalsOnly {
				t.Error("a table is taken for a log of refusals")
			}
		})
	}
	for text, want := range map[string]string{
		"group,account\ng,anna\n":                                    "no column trigger",
		"group,account,trigger,user\ng,a,A,u":                        `unknown column "user"`,
		"group,account,trigger,account\n":                            "column account comes twice",
		"group,account,trigger\ng,a,Apply\ng,\"a,Apply\ng,b,Apply\n": "line 3: a quote is opened and not closed",
	} {
		s, err := New(Options{Now: now, Before: before})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Read("log", strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestCompressedLog(t *testing.T) {
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	if _, err := zip.Write([]byte(logged(t, "anna", "chen"))); err != nil {
		t.Fatal(err)
	}
	zip.Close()
	if r := reportOn(t, Options{Now: members("chen")}, &packed); r.Closed != 1 || r.Opened != 1 {
		t.Errorf("%+v", r)
	}
}

// Files seldom have the IMApp and the PruneRuns: those of the objects that are compared with hold for both.
func TestFilesAreCompletedFromWhatTheyAreComparedWith(t *testing.T) {
	before := members("anna")
	before.FromFiles = false
	before.Apps[0].Spec.UnmatchedGroups = v1alpha1.UnmatchedGroupsReject
	now := members("anna")
	now.Apps, now.Policies = nil, now.Policies[:1]
	now.Policies[0].Spec.Groups[0] = v1alpha1.GroupMatcher{Type: v1alpha1.GroupMatcherExact, Value: "other"}
	log := logOf(t, before.Compile(), asks("anna", "chen"), nil)
	if r := reportOn(t, Options{Now: now, Before: before}, log); r.Closed != 1 || r.Opened != 0 {
		t.Errorf("against what has the IMApp: %+v", r)
	}
	log = logOf(t, before.Compile(), asks("anna", "chen"), nil)
	r := reportOn(t, Options{Now: now}, log)
	if r.Closed != 0 || r.Opened != 1 || !strings.Contains(fmt.Sprint(r.Hints), "unmatchedGroups: Allow") {
		t.Errorf("alone: %+v", r)
	}
}

// A log of refusals cannot show whom a stricter policy would refuse, and must not seem to.
func TestLogOfRefusalsIsRecognized(t *testing.T) {
	for name, tc := range map[string]struct {
		accounts []string
		want     string
	}{
		"few lines":   {[]string{"mallory"}, "may be"},
		"many lines":  {strings.Split(strings.Repeat("mallory ", 150)[:150*8-1], " "), "log is one of"},
		"of all":      {[]string{"mallory", "anna"}, ""},
		"admits only": {[]string{"anna"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := reportOn(t, Options{Now: members()}, bytes.NewBufferString(logged(t, tc.accounts...)))
			if r.RefusalsOnly != (tc.want != "") || !strings.Contains(fmt.Sprint(r.Hints), tc.want) {
				t.Errorf("%t, %q", r.RefusalsOnly, r.Hints)
			}
		})
	}
}

// Memory is bounded: groups and accounts without end are counted together.
func TestTooManyChangesAreCountedTogether(t *testing.T) {
	s, err := New(Options{Now: members()})
	if err != nil {
		t.Fatal(err)
	}
	const groups, accounts = maxChanges + 500, 3
	for i := range groups {
		for account := range accounts {
			s.Add(&decisionlog.Recorded{Decision: decisionlog.Decision{
				Time: someTime, App: "chat/prod", Group: fmt.Sprint("group-", i), Account: fmt.Sprint(account),
				Admitted: true, Reason: policy.ReasonAllowed, Policy: "members", Snapshot: 1,
			}})
		}
	}
	r, err := s.Report()
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Changes) != maxChanges+1 || r.Closed != groups*accounts {
		t.Errorf("%d changes of %d decisions", len(r.Changes), r.Closed)
	}
	others := r.Changes[0] // 500 groups, but the same accounts
	for _, c := range r.Changes {
		if c.Group == "" {
			others = c
		}
	}
	if others.Group != "" || others.Decisions != 500*accounts || others.Accounts != accounts {
		t.Errorf("the others: %+v", others)
	}
	if table := r.Table(); len(table) != maxRows+2 || !strings.Contains(table[maxRows+1][0], "more rows") {
		t.Errorf("%d rows of the table", len(table))
	}
}

func TestTableOfSeveralApps(t *testing.T) {
	r := Report{Changes: []*Change{
		{Now: "Rejected", App: "chat/a", Group: "g", Accounts: 5, AtLeast: true, Policy: "p", Reason: "Denied",
			BeforeReason: "Unmatched", Examples: []string{"x", "y", "z"}},
		{Now: "Admitted", App: "chat/b", Accounts: 1, Reason: "Unmatched", BeforePolicy: "p", BeforeReason: "NotListed",
			Examples: []string{"x"}},
	}}
	want := [][]string{
		{"NOW", "APP", "GROUP", "ACCOUNTS", "BECAUSE OF", "BEFORE", "FOR EXAMPLE"},
		{"Rejected", "chat/a", "g", "5+", "p Denied", "Unmatched", "x, y, z, ..."},
		{"Admitted", "chat/b", "(others)", "1", "Unmatched", "p NotListed", "x"},
	}
	if diff := cmp.Diff(want, r.Table()); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
}

func TestOnlyOneApp(t *testing.T) {
	log := logged(t, "anna") + strings.ReplaceAll(logged(t, "anna", "boris"), "chat/prod", "chat/test")
	both := members()
	other := both.Apps[0]
	other.Name, other.UID, other.Spec.SDKAppID = "test", "test", 7
	both.Apps = append(both.Apps, other)
	r := reportOn(t, Options{Now: both, App: "test"}, bytes.NewBufferString(log))
	if r.Decisions != 2 || r.Skipped.OtherApps != 1 || r.Closed != 0 {
		t.Errorf("%+v", r)
	}
	if _, err := New(Options{Now: both, App: "none"}); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("error %v", err)
	}
}

func BenchmarkReplay(b *testing.B) {
	// Ten groups, of which each admits 1,000 accounts; a tenth of the joins have another verdict.
	var accounts []string
	for i := range 1000 {
		accounts = append(accounts, fmt.Sprint("account-", i))
	}
	line := logOf(b, members(accounts...).Compile(), asks(accounts...), nil).String()
	s, err := New(Options{Now: members(accounts[:900]...)})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(line)))
	began, n := time.Now(), 0
	for b.Loop() {
		if err := s.Read("log", strings.NewReader(line)); err != nil {
			b.Fatal(err)
		}
		n += len(accounts)
	}
	b.ReportMetric(float64(n)/time.Since(began).Seconds(), "decisions/s")
}
