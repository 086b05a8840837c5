package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/lab"
)

// allowJared is the policy of the documented requests.
const allowJared = `
groups: [{type: All}]
join:
  allow: {accounts: [jared]}
  %s
whenFull:
  prune: {mode: Preview, inactiveFor: 30d}
`

func TestDocumentedRequests(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/callbacks.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name, Query, Body, Effect, Policy string
		Want                              struct {
			lab.Answer
			ErrorInfo *string // nil: any
		}
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.app()
	r := w.startReady(nil)

	for _, reject := range []string{"", `reject: {code: 10110, message: "Members only"}`} {
		w.policy("gate", fmt.Sprintf(allowJared, reject))
		w.ready("imapp/prod", "grouppolicy/gate")
		for _, tc := range cases {
			if strings.Contains(tc.Policy, "10110") != (reject != "") {
				continue
			}
			query := lab.Sign(tc.Query, lab.CallbackToken, time.Now())
			got, err := lab.Post(t.Context(), r.CallbackURL, query, []byte(tc.Body))
			if err != nil {
				t.Errorf("%s: %v", tc.Name, err)
				continue
			}
			want := tc.Want.Answer
			want.ErrorInfo = got.ErrorInfo
			if tc.Want.ErrorInfo != nil {
				want.ErrorInfo = *tc.Want.ErrorInfo
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want,+got):\n%s", tc.Name, diff)
			}
		}
	}
	if got := r.metric("groupgate_callback_requests_total", `result="unreadable"`); got != 2 {
		t.Errorf("%v callbacks counted as unreadable, want 2", got)
	}

	// The documented full groups: one run each, although one of them was reported more than once.
	groups := func() string {
		return w.kubectl("get", "pruneruns", "--sort-by=.spec.groupID",
			"-o", `jsonpath={range .items[*]}{.spec.groupID}{"\n"}{end}`)
	}
	const want = "@TGS#2J4SZEAEL\n@TGS#_@TGS#cQVLVHIM62CJ\n"
	eventually(t, "the PruneRuns of the documented full groups", func() bool { return groups() == want })
	eventually(t, "the runs of groups that the backend does not have to fail", func() bool {
		const failures = `jsonpath={.items[*].status.conditions[?(@.type=="Failed")].reason}`
		return w.kubectl("get", "pruneruns", "-o", failures) == "GroupNotFound GroupNotFound"
	})
	if got := groups(); got != want {
		t.Errorf("PruneRuns for %q, want %q", got, want)
	}
}

func TestOnlySignedCallbacksOfListedAccountsAreAdmitted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app()
	w.policy("gate", `
groups: [{value: club}]
groupTypes: [Work]
join:
  allow: {accounts: [jared]}
`)
	r := w.startReady(nil)
	w.ready("imapp/prod", "grouppolicy/gate")

	now := time.Now()
	apply := func(groupType string) string {
		return fmt.Sprintf(`{"CallbackCommand":%q,"GroupId":"club",%s"Requestor_Account":"mallory"}`, lab.CommandApply,
			groupType)
	}
	const invite = `{"CallbackCommand":"Group.CallbackBeforeInviteJoinGroup","GroupId":"club","Type":"Private",
		"Operator_Account":"jared","DestinationMembers":[{"Member_Account":"mallory"}]}`
	join, foreign := lab.Query(lab.SDKAppID, lab.CommandApply), lab.Query(lab.SDKAppID+1, lab.CommandApply)
	inviteQuery := lab.Query(lab.SDKAppID, lab.CommandInvite)
	overREST := strings.ReplaceAll(inviteQuery, "iOS", "RESTAPI")
	signed := func(query string) string { return lab.Sign(query, lab.CallbackToken, now) }
	signedBy := func(token string) string { return lab.Sign(join, token, now) }
	signedAt := func(at time.Time) string { return lab.Sign(join, lab.CallbackToken, at) }
	refused := lab.Answer{Status: http.StatusOK, ActionStatus: "OK", ErrorCode: 1}
	failed := func(status int) lab.Answer { return lab.Answer{Status: status, ActionStatus: "FAIL", ErrorCode: 1} }

	for name, tc := range map[string]struct {
		query, body string
		want        lab.Answer
	}{
		"application":              {signed(join), apply(`"Type":"Work",`), refused},
		"alias of the group type":  {signed(join), apply(`"Type":"Private",`), refused},
		"unknown group type":       {signed(join), apply(`"Type":"Clan",`), refused},
		"no group type":            {signed(join), apply(""), refused},
		"invitation":               {signed(inviteQuery), invite, refused},
		"addition over REST":       {signed(overREST), invite, refused},
		"unreadable body":          {signed(join), `{"GroupId":`, refused},
		"body of another command":  {signed(join), invite, refused},
		"unsigned":                 {join, apply(""), failed(http.StatusUnauthorized)},
		"forged":                   {signedBy("guess"), apply(""), failed(http.StatusUnauthorized)},
		"signed with empty token":  {signedBy(""), apply(""), failed(http.StatusUnauthorized)},
		"replayed after a minute":  {signedAt(now.Add(-2 * time.Minute)), apply(""), failed(http.StatusUnauthorized)},
		"from the future":          {signedAt(now.Add(2 * time.Minute)), apply(""), failed(http.StatusUnauthorized)},
		"foreign SDKAppID":         {signed(foreign), apply(""), failed(http.StatusForbidden)},
		"SDKAppID named two times": {signed(join + "&SdkAppid=1400000001"), apply(""), failed(http.StatusForbidden)},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := lab.Post(t.Context(), r.CallbackURL, tc.query, []byte(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			got.ErrorInfo = ""
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
	if got := r.apply("club", "jared"); got.ErrorCode != 0 || got.Status != http.StatusOK {
		t.Errorf("jared, who is listed: %+v", got)
	}
}

func TestAStartingReplicaAdmitsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app()
	w.policy("gate", "groups: [{type: All}]\njoin: {allow: {accounts: [jared]}}")

	// The API server cannot be reached at first: the replica has no snapshot.
	wire := newWire(t)
	wire.Cut()
	r, other := w.start(wire), w.start(wire)

	eventually(t, "the replica to answer that it is not ready", func() bool {
		a, err := r.tryApply("club", "mallory")
		return err == nil && a.Status == http.StatusServiceUnavailable && a.ErrorCode == 1
	})
	if r.Ready(t.Context()) {
		t.Error("ready before the first snapshot")
	}
	stopsOnSIGTERM(t, other)
	wire.Mend()
	eventually(t, "a decision", func() bool {
		a, err := r.tryApply("club", "mallory")
		if err != nil || a.Status == http.StatusServiceUnavailable {
			return false
		}
		if a.Status != http.StatusOK || a.ErrorCode != 1 {
			t.Fatalf("a starting replica answered %+v to a stranger", a)
		}
		return true
	})
	eventually(t, "readiness", func() bool { return r.Ready(t.Context()) })
}

// stopsOnSIGTERM checks that of a replica whose caches cannot be filled.
func stopsOnSIGTERM(t *testing.T, r *replica) {
	t.Helper()
	eventually(t, "the replica to answer", func() bool {
		_, err := r.tryApply("club", "mallory")
		return err == nil
	})
	r.signal(syscall.SIGTERM)
	within(t, 30*time.Second, "the replica to end on SIGTERM", func() bool { return !r.Running() })
	if code := r.ExitCode(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

func TestAReplicaWithoutPoliciesIsReady(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.startReady(nil)
	if got := r.apply("club", "jared"); got.Status != http.StatusForbidden {
		t.Errorf("callback of an unknown app: %+v, want 403", got)
	}

	w.app()
	w.policy("gate", "groups: [{type: All}]\njoin: {allow: {accounts: [jared]}}")
	w.ready("imapp/prod", "grouppolicy/gate")
	if got := r.apply("club", "mallory"); got.ErrorCode != 1 {
		t.Errorf("mallory: %+v, want a refusal", got)
	}
	w.kubectl("delete", "grouppolicies,imapps,accountlists,pruneruns,secrets", "--all")
	eventually(t, "the snapshot to be empty", func() bool {
		return r.apply("club", "mallory").Status == http.StatusForbidden
	})
	if got := r.metric("groupgate_snapshot_policies"); got != 0 {
		t.Errorf("%v policies in an empty snapshot", got)
	}
	if !r.Ready(t.Context()) {
		t.Error("not ready with nothing to enforce")
	}
}

func TestAnInvalidObjectAffectsNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app()
	w.policy("good", `
groups: [{value: good}]
join: {allow: {accounts: [jared]}, reject: {code: 10110, message: Members only}}
`)
	w.policy("invalid", `
groups: [{value: bad}]
join:
  allow:
    accounts: [jared]
    lists: [{selector: {matchExpressions: [{key: list, operator: Sometimes}]}}]
`)
	w.policy("wider", "groups: [{type: All}]\njoin: {allow: {accountPrefixes: [m]}}")
	w.policy("no-list", "groups: [{value: listed}]\njoin: {allow: {lists: [{name: absent}]}}")
	w.apply(`
apiVersion: groupgate.io/v1alpha1
kind: IMApp
metadata: {name: second}
spec: {sdkAppID: 1400000000, region: Singapore, adminAccount: administrator, credentialsSecretRef: {name: prod-im}}
---
apiVersion: groupgate.io/v1alpha1
kind: GroupPolicy
metadata: {name: orphan}
spec: {appRef: {name: nowhere}, groups: [{value: orphan}], join: {allow: {}}}
`)
	r := w.startReady(nil)
	w.ready("imapp/prod", "grouppolicy/good", "grouppolicy/wider")

	for resource, want := range map[string]string{
		"grouppolicy/invalid": "Accepted=False/Invalid",
		"grouppolicy/no-list": "ResolvedRefs=False/ListNotFound",
		"grouppolicy/orphan":  "Accepted=False/TargetNotFound",
		"imapp/second":        "Accepted=False/Conflicted",
	} {
		eventually(t, resource+" to be "+want, func() bool {
			values, _ := w.conditions(resource)
			conditionType, value, _ := strings.Cut(want, "=")
			return values[conditionType] == value
		})
		if values, _ := w.conditions(resource); !strings.HasPrefix(values["Ready"], "False/") {
			t.Errorf("%s is Ready=%s, want False", resource, values["Ready"])
		}
	}
	if _, messages := w.conditions("imapp/second"); !strings.Contains(messages["Accepted"], w.Namespace+"/prod") {
		t.Errorf("the message of imapp/second %q does not name the app that it conflicts with", messages["Accepted"])
	}

	for account, groups := range map[string]map[string]int{
		"jared":   {"good": 0, "bad": 1, "listed": 1, "orphan": 1},
		"mallory": {"good": 0, "bad": 0, "listed": 0, "orphan": 0}, // the wider policy admits her everywhere
		"eve":     {"good": 10110, "bad": 1, "listed": 1, "orphan": 1},
	} {
		for group, want := range groups {
			if got := r.apply(group, account); got.ErrorCode != want || got.Status != http.StatusOK {
				t.Errorf("%s into %s: %+v, want code %d", account, group, got, want)
			}
		}
	}
}

func TestSIGTERMUnderLoadLosesNoAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app()
	w.policy("gate", `
groups: [{type: All}]
join: {allow: {accounts: [jared]}, reject: {code: 10110, message: Members only}}
`)
	r := w.startReady(nil)
	w.ready("imapp/prod", "grouppolicy/gate")

	// Clients with keep-alive connections, as the vendor's are, send callbacks while the replica is in the load
	// balancer, that is while it is ready.
	const clients = 8
	failures := make(chan string, clients)
	started := make(chan struct{}, clients)
	for range clients {
		go func() { // ends when the replica is no longer ready
			defer func() { failures <- "" }()
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
			for n := 0; r.Ready(t.Context()); n++ {
				for account, want := range map[string]int{"jared": 0, "mallory": 10110} {
					body := fmt.Sprintf(`{"CallbackCommand":%q,"GroupId":"club","Requestor_Account":%q}`,
						lab.CommandApply, account)
					query := lab.Sign(lab.Query(lab.SDKAppID, lab.CommandApply), lab.CallbackToken, time.Now())
					resp, err := client.Post(r.CallbackURL+"?"+query, "application/json", strings.NewReader(body))
					if err != nil {
						failures <- err.Error()
						return
					}
					var a lab.Answer
					err = json.NewDecoder(resp.Body).Decode(&a)
					_ = resp.Body.Close()
					if err != nil || a.ErrorCode != want {
						failures <- fmt.Sprintf("%s: %+v %v", account, a, err)
						return
					}
				}
				if n == 20 {
					started <- struct{}{}
				}
			}
		}()
	}
	for range clients {
		select {
		case <-started:
		case failure := <-failures:
			t.Fatalf("before SIGTERM: %s", failure)
		}
	}
	r.signal(syscall.SIGTERM)
	for range clients {
		if failure := <-failures; failure != "" {
			t.Error(failure)
		}
	}
	if code := r.ExitCode(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}
