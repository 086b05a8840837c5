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

// allowJared is the policy that the documented requests are answered under.
const allowJared = `
groups: [{type: All}]
join:
  allow: {accounts: [jared]}
  %s
whenFull:
  prune: {mode: Preview, inactiveFor: 30d}
`

func TestDocumentedRequests(t *testing.T) {
	data, err := os.ReadFile("testdata/callbacks.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name, Query, Body, Effect, Policy string
		Want                              struct {
			Status                 int
			ActionStatus           string
			ErrorInfo              *string
			ErrorCode              int
			RefusedMembers_Account []string
		}
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, &switchboard{})
	w.app()
	g := w.startReady(gateOptions{})

	for _, reject := range []string{"", `reject: {code: 10110, message: "Members only"}`} {
		w.policy("gate", fmt.Sprintf(allowJared, reject))
		w.ready("imapp/prod", "grouppolicy/gate")
		for _, tc := range cases {
			if strings.Contains(tc.Policy, "10110") != (reject != "") {
				continue
			}
			got, err := post(t.Context(), g.CallbackURL, sign(tc.Query, token, time.Now()), tc.Body)
			if err != nil {
				t.Errorf("%s: %v", tc.Name, err)
				continue
			}
			want := answer{Status: tc.Want.Status, ActionStatus: tc.Want.ActionStatus, ErrorCode: tc.Want.ErrorCode, RefusedMembers_: tc.Want.RefusedMembers_Account, ErrorInfo: got.ErrorInfo}
			if tc.Want.ErrorInfo != nil {
				want.ErrorInfo = *tc.Want.ErrorInfo
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want,+got):\n%s", tc.Name, diff)
			}
		}
	}
	if got := g.metric("groupgate_callback_requests_total", `result="unreadable"`); got != 2 {
		t.Errorf("%v callbacks counted as unreadable, want 2", got)
	}

	// The documented full groups: one run each, although one of them was reported more than once.
	groups := func() string {
		return w.kubectl("get", "pruneruns", "--sort-by=.spec.groupID", "-o", `jsonpath={range .items[*]}{.spec.groupID}{"\n"}{end}`)
	}
	const want = "@TGS#2J4SZEAEL\n@TGS#_@TGS#cQVLVHIM62CJ\n"
	eventually(t, "the PruneRuns of the documented full groups", func() bool { return groups() == want })
	eventually(t, "the runs of groups that the backend does not have to fail", func() bool {
		return w.kubectl("get", "pruneruns", "-o", `jsonpath={.items[*].status.conditions[?(@.type=="Failed")].reason}`) == "GroupNotFound GroupNotFound"
	})
	if got := groups(); got != want {
		t.Errorf("PruneRuns for %q, want %q", got, want)
	}
}

func TestWaysAroundTheGateAreClosed(t *testing.T) {
	w := newWorld(t, &switchboard{})
	w.app()
	w.policy("gate", `
groups: [{value: club}]
groupTypes: [Work]
join:
  allow: {accounts: [jared]}
`)
	g := w.startReady(gateOptions{})
	w.ready("imapp/prod", "grouppolicy/gate")

	now := time.Now()
	apply := func(groupType string) string {
		return fmt.Sprintf(`{"CallbackCommand":"Group.CallbackBeforeApplyJoinGroup","GroupId":"club",%s"Requestor_Account":"mallory"}`, groupType)
	}
	const invite = `{"CallbackCommand":"Group.CallbackBeforeInviteJoinGroup","GroupId":"club","Type":"Private","Operator_Account":"jared","DestinationMembers":[{"Member_Account":"mallory"}]}`
	inviteQuery := strings.ReplaceAll(joinQuery, "BeforeApply", "BeforeInvite")
	refused := answer{Status: http.StatusOK, ActionStatus: "OK", ErrorCode: 1}
	failed := func(status int) answer { return answer{Status: status, ActionStatus: "FAIL", ErrorCode: 1} }

	for name, tc := range map[string]struct {
		query, body string
		want        answer
	}{
		"application":              {sign(joinQuery, token, now), apply(`"Type":"Work",`), refused},
		"alias of the group type":  {sign(joinQuery, token, now), apply(`"Type":"Private",`), refused},
		"unknown group type":       {sign(joinQuery, token, now), apply(`"Type":"Clan",`), refused},
		"no group type":            {sign(joinQuery, token, now), apply(""), refused},
		"invitation":               {sign(inviteQuery, token, now), invite, refused},
		"addition over REST":       {sign(strings.ReplaceAll(inviteQuery, "iOS", "RESTAPI"), token, now), invite, refused},
		"unreadable body":          {sign(joinQuery, token, now), `{"GroupId":`, refused},
		"body of another command":  {sign(joinQuery, token, now), invite, failed(http.StatusBadRequest)},
		"unsigned":                 {joinQuery, apply(""), failed(http.StatusUnauthorized)},
		"forged":                   {sign(joinQuery, "guess", now), apply(""), failed(http.StatusUnauthorized)},
		"signed with empty token":  {sign(joinQuery, "", now), apply(""), failed(http.StatusUnauthorized)},
		"replayed after a minute":  {sign(joinQuery, token, now.Add(-2*time.Minute)), apply(""), failed(http.StatusUnauthorized)},
		"from the future":          {sign(joinQuery, token, now.Add(2*time.Minute)), apply(""), failed(http.StatusUnauthorized)},
		"foreign SDKAppID":         {sign(strings.ReplaceAll(joinQuery, "1400000000", "1400000001"), token, now), apply(""), failed(http.StatusForbidden)},
		"SDKAppID named two times": {sign(joinQuery+"&SdkAppid=1400000001", token, now), apply(""), failed(http.StatusForbidden)},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := post(t.Context(), g.CallbackURL, tc.query, tc.body)
			if err != nil {
				t.Fatal(err)
			}
			got.ErrorInfo = ""
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
	if got := g.asked("club", "jared"); got.ErrorCode != 0 || got.Status != http.StatusOK {
		t.Errorf("jared, who is listed: %+v", got)
	}
}

func TestAStartingReplicaAdmitsNobody(t *testing.T) {
	w := newWorld(t, &switchboard{})
	w.app()
	w.policy("gate", "groups: [{type: All}]\njoin: {allow: {accounts: [jared]}}")

	// The API server cannot be reached at first: the replica knows nothing yet.
	wire, err := lab.NewWire(t.Context(), plane.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = wire.Close() })
	wire.Cut()
	g := w.start(gateOptions{server: wire.Address()})

	eventually(t, "the replica to say that it is not ready", func() bool {
		a, err := askToJoin(t.Context(), g.CallbackURL, "club", "mallory")
		return err == nil && a.Status == http.StatusServiceUnavailable && a.ErrorCode == 1
	})
	if g.Ready(t.Context()) {
		t.Error("ready before the first snapshot")
	}
	stopsOnSIGTERM(t, w.start(gateOptions{server: wire.Address()}))
	wire.Mend()
	// From the first answer that is a decision on, mallory is refused.
	eventually(t, "a decision", func() bool {
		a, err := askToJoin(t.Context(), g.CallbackURL, "club", "mallory")
		if err != nil || a.Status == http.StatusServiceUnavailable {
			return false
		}
		if a.Status != http.StatusOK || a.ErrorCode != 1 {
			t.Fatalf("a starting replica answered %+v to a stranger", a)
		}
		return true
	})
	eventually(t, "readiness", func() bool { return g.Ready(t.Context()) })
}

// stopsOnSIGTERM holds it for a replica that has not seen anything yet: its caches will never be filled.
func stopsOnSIGTERM(t *testing.T, g *gate) {
	t.Helper()
	eventually(t, "the other replica to answer", func() bool {
		_, err := askToJoin(t.Context(), g.CallbackURL, "club", "mallory")
		return err == nil
	})
	if err := g.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	within(t, 30*time.Second, "the other replica to end on SIGTERM", func() bool { return !g.Running() })
	if code := g.ExitCode(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

func TestNothingIsAnAnswerToo(t *testing.T) {
	w := newWorld(t, &switchboard{})
	g := w.startReady(gateOptions{})
	if got := g.asked("club", "jared"); got.Status != http.StatusForbidden {
		t.Errorf("callback of an unknown app: %+v, want 403", got)
	}

	w.app()
	w.policy("gate", "groups: [{type: All}]\njoin: {allow: {accounts: [jared]}}")
	w.ready("imapp/prod", "grouppolicy/gate")
	if got := g.asked("club", "mallory"); got.ErrorCode != 1 {
		t.Errorf("mallory: %+v, want a refusal", got)
	}
	w.kubectl("delete", "grouppolicies,imapps,accountlists,pruneruns,secrets", "--all")
	eventually(t, "the snapshot to be empty", func() bool { return g.asked("club", "mallory").Status == http.StatusForbidden })
	if got := g.metric("groupgate_snapshot_policies"); got != 0 {
		t.Errorf("%v policies in an empty snapshot", got)
	}
	if !g.Ready(t.Context()) {
		t.Error("not ready with nothing to enforce")
	}
}

func TestABadObjectCostsOnlyItself(t *testing.T) {
	w := newWorld(t, &switchboard{})
	w.app()
	w.policy("good", "groups: [{value: good}]\njoin: {allow: {accounts: [jared]}, reject: {code: 10110, message: Members only}}")
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
`)
	w.policy("orphan", "groups: [{value: orphan}]\njoin: {allow: {}}")
	w.kubectl("delete", "grouppolicy", "orphan")
	w.apply(`
apiVersion: groupgate.io/v1alpha1
kind: GroupPolicy
metadata: {name: orphan}
spec: {appRef: {name: nowhere}, groups: [{value: orphan}], join: {allow: {}}}
`)
	g := w.startReady(gateOptions{})
	w.ready("imapp/prod", "grouppolicy/good", "grouppolicy/wider")

	for resource, want := range map[string]string{
		"grouppolicy/invalid": "Accepted=False/Invalid",
		"grouppolicy/no-list": "ResolvedRefs=False/ListNotFound",
		"grouppolicy/orphan":  "Accepted=False/TargetNotFound",
		"imapp/second":        "Accepted=False/Conflicted",
	} {
		eventually(t, resource+" to be "+want, func() bool {
			return strings.Contains(w.kubectl("get", resource, "-o",
				`jsonpath={range .status.conditions[*]}{.type}={.status}/{.reason} {end}`), want)
		})
		if ready := w.kubectl("get", resource, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`); ready != "False" {
			t.Errorf("%s is Ready=%s, want False", resource, ready)
		}
	}
	if message := w.kubectl("get", "imapp/second", "-o", `jsonpath={.status.conditions[?(@.type=="Accepted")].message}`); !strings.Contains(message, w.namespace+"/prod") {
		t.Errorf("the loser's message %q does not name the winner", message)
	}

	for account, groups := range map[string]map[string]int{
		"jared":   {"good": 0, "bad": 1, "listed": 1, "orphan": 1},
		"mallory": {"good": 0, "bad": 0, "listed": 0, "orphan": 0}, // the union of all allow: the wider policy admits her everywhere
		"eve":     {"good": 10110, "bad": 1, "listed": 1, "orphan": 1},
	} {
		for group, want := range groups {
			if got := g.asked(group, account); got.ErrorCode != want || got.Status != http.StatusOK {
				t.Errorf("%s into %s: %+v, want code %d", account, group, got, want)
			}
		}
	}
}

func TestSIGTERMUnderLoadLosesNoAnswer(t *testing.T) {
	w := newWorld(t, &switchboard{})
	w.app()
	w.policy("gate", "groups: [{type: All}]\njoin: {allow: {accounts: [jared]}, reject: {code: 10110, message: Members only}}")
	g := w.startReady(gateOptions{})
	w.ready("imapp/prod", "grouppolicy/gate")

	// Clients with keep-alive connections, as the vendor's are, ask for as long as the replica is in the load balancer, that is
	// for as long as it says that it is ready.
	const clients = 8
	failures := make(chan string, clients)
	started := make(chan struct{}, clients)
	for range clients {
		go func() { // ends when the replica is no longer ready
			defer func() { failures <- "" }()
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
			for n := 0; g.Ready(t.Context()); n++ {
				for account, want := range map[string]int{"jared": 0, "mallory": 10110} {
					body := fmt.Sprintf(`{"CallbackCommand":"Group.CallbackBeforeApplyJoinGroup","GroupId":"club","Requestor_Account":%q}`, account)
					resp, err := client.Post(g.CallbackURL+"?"+sign(joinQuery, token, time.Now()), "application/json", strings.NewReader(body))
					if err != nil {
						failures <- err.Error()
						return
					}
					var a answer
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
	if err := g.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for range clients {
		if failure := <-failures; failure != "" {
			t.Error(failure)
		}
	}
	if code := g.ExitCode(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}
