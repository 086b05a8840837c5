package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/groupgate/groupgate/internal/overview"
	"github.com/groupgate/groupgate/internal/refusals"
	"github.com/groupgate/groupgate/internal/refusals/replicaclient"
)

func TestRefusedListsThoseOfAllReplicasAndSaysWhatIsMissing(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 11, 22, 9, minute, 0, 0, time.UTC) }
	refusal := func(minute int, account string, leak bool) refusals.Refusal {
		return refusals.Refusal{
			Time: at(minute), Account: account, Group: "lounge", Trigger: "Apply", Reason: "Denied", Policy: "banned",
			Code: 10120, Message: "Not today", Leak: leak,
		}
	}
	apps := []types.NamespacedName{{Namespace: "chat", Name: "prod"}, {Namespace: "chat", Name: "test"}}
	gone := replicaclient.Problem{Replica: "c", Message: "It did not answer within 3s."}
	answers := map[types.NamespacedName]replicaclient.Answer[refusals.Refusals]{
		apps[0]: {Problems: []replicaclient.Problem{gone}, Replicas: []refusals.Refusals{
			{Replica: "a", Since: at(0), Capacity: 3, Forgotten: 7, Dropped: 2, Refusals: []refusals.Refusal{
				refusal(5, "mallory", false), refusal(3, "old", false),
			}},
			{Replica: "b", Since: at(1), Capacity: 3, Dropped: 0, Refusals: []refusals.Refusal{
				refusal(4, "\x1b[31meve\u202e", true),
			}},
		}},
		apps[1]: {Problems: []replicaclient.Problem{gone}, Replicas: []refusals.Refusals{
			{Replica: "a", Since: at(0), Capacity: 3, Dropped: 2, Refusals: []refusals.Refusal{
				refusal(2, "older", false),
			}},
		}},
	}
	var out strings.Builder
	// The first app has more, from 9:04 on: what is older of the second one is not shown before it.
	list := newRefusedList(apps, answers, refusals.Filter{Limit: 2})
	if err := printAnswer(&out, list, ""); err != nil {
		t.Fatal(err)
	}
	want := `Refusals: 1. Leaks: 1. Replicas that answered: 2, and all of them remember since 2026-11-22 09:01:00.

APP         TIME                  ACCOUNT             GROUP    WHAT    BECAUSE OF      CODE    MESSAGE
chat/prod   2026-11-22 09:05:00   mallory             lounge   Apply   banned Denied   10120   Not today
chat/prod   2026-11-22 09:04:00   \x1b[31meve\u202e   lounge   leak    banned Denied   10120   Not today

Hint: c: It did not answer within 3s.
Hint: a has forgotten 7 older ones of chat/prod: it remembers 3 of all apps. The decision log has them.
Hint: a has missed 2 of all apps, as too many came at once. groupgate_join_decisions_total counts them.
Hint: There may be older ones: --before=2026-11-22T09:04:00Z
`
	if out.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", out.String(), want)
	}
	if list = newRefusedList(apps, answers, refusals.Filter{}); len(list.Refusals) != 4 || list.More {
		t.Errorf("%+v", list)
	}
	silent := newRefusedList(apps[:1], nil, refusals.Filter{})
	if text := silent.Sentence(); !strings.Contains(text, "not known") {
		t.Errorf("without an answer: %q", text)
	}
}

func TestAppThatCannotBeOneIsBadInput(t *testing.T) {
	for _, name := range []string{"/prod", "chat/", "chat/prod/refusals"} {
		apps, err := new(cluster).apps(t.Context(), name)
		if _, bad := errors.AsType[badInputError](err); !bad || !strings.Contains(fmt.Sprint(err), "use NAME or") {
			t.Errorf("%s: %v, %v", name, apps, err)
		}
	}
	want := []types.NamespacedName{{Namespace: "chat", Name: "prod"}}
	if got, err := new(cluster).apps(t.Context(), "chat/prod"); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestToolsSayWhatHelpsWhereTheAPIServerRefuses(t *testing.T) {
	for code, want := range map[int]string{
		http.StatusForbidden:    "takes the ClusterRole groupgate-policy-viewer in namespace chat; ask for:",
		http.StatusUnauthorized: "sign in again, or name others with --kubeconfig or --context",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d}`,
				strings.ReplaceAll(http.StatusText(code), " ", ""), code)
		}))
		defer server.Close()
		kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
		text := "{kind: Config, current-context: a, contexts: [{name: a, context: {cluster: a, user: a}}], " +
			"clusters: [{name: a, cluster: {server: '" + server.URL + "'}}], users: [{name: a, user: {token: a}}]}"
		if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, words := range []string{"now", "refused", "runs", "explain lounge mallory"} {
			root := rootCommand([]string{"groupgate"})
			root.SetArgs(append(strings.Fields(words), "-n", "chat", "--kubeconfig", kubeconfig))
			if err := root.ExecuteContext(t.Context()); err == nil || !strings.Contains(withSignIn(err).Error(), want) {
				t.Errorf("%s, %d: %v", words, code, err)
			}
		}
	}
}

func TestRefusedSaysWhatIsWrongWithItsFlags(t *testing.T) {
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	text := "{kind: Config, current-context: a, contexts: [{name: a, context: {cluster: a, user: a}}], " +
		"clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}], users: [{name: a, user: {token: a}}]}"
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"one group or none":         {"a", "b"},
		"--limit is 0":              {"--limit=0"},
		"--before is \"yesterday\"": {"--before=yesterday"},
		"--output is":               {"-o", "table"},
		"a CA file is needed":       {"--app=chat/prod", "--kubeconfig=" + kubeconfig, "--replicas-url=https://x:1"},
		"is no address of replicas": {"--app=chat/prod", "--kubeconfig=" + kubeconfig, "--replicas-url=http://x"},
	} {
		if _, err := runCommand(refusedCommand(), "", args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v, want %q", args, err, want)
		}
	}
}

func TestNowSaysWhatIsNotKnown(t *testing.T) {
	waiting := 2
	answer := &nowAnswer{&overview.Overview{Waiting: &waiting, Apps: []overview.App{
		{Namespace: "chat", Name: "prod", State: overview.Unknown, Findings: []overview.Finding{
			{Object: "c", Text: "This replica did not say what it enforces.", Recorded: "Timeout."},
		}},
		{Namespace: "chat", Name: "test", Replicas: 2, Enforcing: 3, Joins: &overview.Joins{
			Since: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC), Admitted: 17, Refused: 2,
			Now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC),
		}},
	}}}
	var out strings.Builder
	if err := printAnswer(&out, answer, ""); err != nil {
		t.Fatal(err)
	}
	want := `chat/prod: the gate is not known to be closed.
  c: This replica did not say what it enforces. Timeout.
chat/test: the gate is closed.
Plans that wait for approval: 2; ` + "`groupgate runs --waiting`" + ` shows them.

APP         GATE      POLICIES   REPLICAS   ADMITTED   REFUSED   LEAKS   COUNTED SINCE
chat/prod   Unknown   0          0          ?          ?         ?       -
chat/test   Closed    3          2          17         2         0       2026-11-22 09:00:00
`
	if out.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", out.String(), want)
	}
	answer.Waiting, answer.WaitingProblem = nil, "list the pruneruns: forbidden"
	if text := answer.Sentence(); !strings.Contains(text, "is not known: list the pruneruns: forbidden") {
		t.Errorf("%q", text)
	}
}
