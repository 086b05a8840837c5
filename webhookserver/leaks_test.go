package webhookserver

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/decisionlog"
	"github.com/groupgate/groupgate/internal/policy"
)

const (
	joinedCommand  = "Group.CallbackAfterNewMemberJoin"
	createdCommand = "Group.CallbackAfterCreateGroup"
)

// joinedBody reports new members; fields come before them, each with a comma after it.
func joinedBody(fields string, accounts ...string) string {
	return fmt.Sprintf(`{"CallbackCommand":%q,"GroupId":%q,"Type":"Public",%s"NewMemberList":[%s]}`,
		joinedCommand, group, fields, memberList(accounts))
}

func createdBody(fields string, accounts ...string) string {
	return fmt.Sprintf(`{"CallbackCommand":%q,"GroupId":%q,"Type":"Public",%s"MemberList":[%s]}`,
		createdCommand, group, fields, memberList(accounts))
}

// leaks records leaks.
type leaks struct {
	mu  sync.Mutex
	got []string
}

func (l *leaks) Leaked(leak policy.Leak) {
	l.mu.Lock()
	defer l.mu.Unlock()
	by := "nobody"
	if leak.Policy != nil {
		by = leak.Policy.Name
	}
	if leak.Type != policy.TypePublic {
		by += " in a group of another type"
	}
	l.got = append(l.got, fmt.Sprint(leak.App.Key(), " ", leak.Group, " ", leak.Account, " ", leak.Reason, " ", by))
}

func TestNewMembersWhomTheGateRefusesAreLeaks(t *testing.T) {
	leak := func(account, reason, by string) string {
		return fmt.Sprint("chat/prod ", group, " ", account, " ", reason, " ", by)
	}
	admin := func(input *policy.Input) *policy.Input {
		input.Apps[0].AdminAccount = "administrator"
		return input
	}
	// Whom members add may come in, only applications and additions over REST are gated.
	invitable := admin(gated(policy.JoinSection{
		Allow:    &policy.AccountSelector{Accounts: []string{"jared"}},
		Triggers: policy.NewTriggerSet(policy.TriggerApply, policy.TriggerRESTAPI),
	}))
	onlyClients := admin(gated(policy.JoinSection{
		Allow:    &policy.AccountSelector{Accounts: []string{"jared"}},
		Triggers: policy.NewTriggerSet(policy.TriggerApply, policy.TriggerInvite),
	}))
	unmatched := &policy.Input{Apps: []policy.App{theApp()}}
	unmatched.Apps[0].RejectUnmatched = true
	removed := prunable(group)
	removed.Refusals = []policy.Refusal{{
		Namespace: "chat", App: "prod", SDKAppID: appID, Group: group, Accounts: []string{"carol"},
		Until: wallClock.Add(time.Hour), Run: "run",
	}}
	restored := admin(members("jared"))
	restored.Refusals = []policy.Refusal{{
		Namespace: "chat", App: "prod", SDKAppID: appID, Group: group, Accounts: []string{"carol"},
		Until: wallClock.Add(time.Minute), Restored: true, Run: "run",
	}}
	byAdmin := `"JoinType":"Invited","Operator_Account":"administrator",`
	const byRESTAPI = "&OptPlatform=RESTAPI"
	tests := map[string]struct {
		input *policy.Input
		body  string
		rest  bool
		want  []string
	}{
		"one applied and is listed": {input: members("jared"), body: joinedBody(`"JoinType":"Apply",`, "jared")},
		"one applied and is not": {input: members("jared"), body: joinedBody(`"JoinType":"Apply",`, "mallory"),
			want: []string{leak("mallory", "NotListed", "gate")}},
		"two of three were invited though denied": {
			input: gated(policy.JoinSection{Deny: &policy.AccountSelector{Accounts: []string{"eve", "mallory"}}}),
			body:  joinedBody(`"JoinType":"Invited","Operator_Account":"leckie",`, "eve", "jared", "mallory"),
			want:  []string{leak("eve", "Denied", "gate"), leak("mallory", "Denied", "gate")}},
		"invitations are not gated": {input: invitable,
			body: joinedBody(`"JoinType":"Invited","Operator_Account":"leckie",`, "mallory")},
		"applications are": {input: invitable, body: joinedBody(`"JoinType":"Apply",`, "mallory"),
			want: []string{leak("mallory", "NotListed", "gate")}},
		"added over REST": {input: invitable, rest: true,
			body: joinedBody(`"JoinType":"Invited","Operator_Account":"leckie",`, "mallory"),
			want: []string{leak("mallory", "NotListed", "gate")}},
		"added by the admin account, which is REST": {input: onlyClients,
			body: joinedBody(`"JoinType":"Invited","Operator_Account":"administrator",`, "mallory")},
		"a word for the way in that is not documented": {input: onlyClients, body: joinedBody(`"JoinType":"Beamed",`,
			"mallory")}, // one way in is not gated
		"no word for the way in": {input: members("jared"), body: joinedBody("", "mallory"),
			want: []string{leak("mallory", "NotListed", "gate")}},
		"the admin account itself": {input: onlyClients, body: joinedBody(`"JoinType":"Apply",`, "administrator")},
		"the app rejects what no policy matches": {input: unmatched, body: joinedBody(`"JoinType":"Apply",`, "jared"),
			want: []string{leak("jared", "Unmatched", "nobody")}},
		"removed, and not allowed back yet": {input: removed, body: joinedBody(`"JoinType":"Apply",`, "carol"),
			want: []string{leak("carol", "Pruned", "nobody")}},
		"removed, and added by the app": {input: removed, body: joinedBody(`"JoinType":"Invited",`, "carol"), rest: true},

		"removed, and added back by an undo": {input: restored, rest: true, body: joinedBody(byAdmin, "carol")},
		"added beside one whom an undo added back": {input: restored, rest: true,
			body: joinedBody(byAdmin, "carol", "mallory"), want: []string{leak("mallory", "NotListed", "gate")}},

		"created with members": {input: members("jared"),
			body: createdBody(`"Owner_Account":"leckie","Operator_Account":"x",`, "leckie", "jared", "mallory"),
			want: []string{leak("mallory", "NotListed", "gate")}},
		"created, and one way in is not gated": {input: invitable, body: createdBody("", "mallory")},
		"created with the admin account": {input: admin(members("jared")),
			body: createdBody("", "administrator")},
		"created without members": {input: members("jared"), body: createdBody("")},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			told := new(leaks)
			g := startGate(t, tc.input, func(s *Server) { s.Leaks = told })
			command := joinedCommand
			if strings.Contains(tc.body, createdCommand) {
				command = createdCommand
			}
			query := query(command)
			if tc.rest {
				query = strings.Replace(query, "&OptPlatform=iOS", byRESTAPI, 1)
			}
			if got := g.post(t, signed(query), tc.body).shape(); got != "200 OK 0" {
				t.Errorf("answered %s", got)
			}
			if diff := cmp.Diff(tc.want, told.got); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
			if got := g.series(t, "leaks_total")[""]; got != float64(len(tc.want)) {
				t.Errorf("leaks_total %v, want %d", got, len(tc.want))
			}
			outcome := "admitted"
			if len(tc.want) > 0 {
				outcome = "leaked"
			}
			requests := map[string]float64{command + " " + outcome: 1}
			if diff := cmp.Diff(requests, g.moved(t, "callback_requests_total")); diff != "" {
				t.Errorf("callback_requests_total (-want,+got):\n%s", diff)
			}
			if moved := g.moved(t, "join_decisions_total"); len(moved) > 0 {
				t.Errorf("counted as decisions: %v", moved)
			}
		})
	}
}

// Whoever knows the SDKAppID of an app without authentication could report members, and have alerts fire.
func TestNewMembersThatAnybodyCanReportAreNotJudged(t *testing.T) {
	for name, tc := range map[string]struct {
		authentication policy.Authentication
		query          string
		want           string
	}{
		"no authentication": {policy.AuthenticateNone, query(joinedCommand), "unverified"},
		"wrong Sign":        {policy.AuthenticateToken, signedBy("x", wallClock, query(joinedCommand)), "unauthorized"},
	} {
		t.Run(name, func(t *testing.T) {
			input, told := members("jared"), new(leaks)
			input.Apps[0].Authentication = tc.authentication
			g := startGate(t, input, func(s *Server) { s.Leaks = told })
			g.post(t, tc.query, joinedBody(`"JoinType":"Apply",`, "mallory"))
			if len(told.got) > 0 || g.series(t, "leaks_total")[""] != 0 {
				t.Errorf("told of %q", told.got)
			}
			if got := g.count(t, "callback_requests_total", joinedCommand, tc.want); got != 1 {
				t.Errorf("moved %v", g.moved(t, "callback_requests_total"))
			}
		})
	}
}

func TestUnreadableNewMembersAreNotJudged(t *testing.T) {
	told := new(leaks)
	g := startGate(t, members("jared"), func(s *Server) { s.Leaks = told })
	body := joinedBody(`"NewMemberList":[{"Member_Account":"a"}],`, "mallory") // two lists
	if got := g.post(t, signed(query(joinedCommand)), body).shape(); got != "400 FAIL 1" || len(told.got) > 0 {
		t.Errorf("answered %s, told of %q", got, told.got)
	}
}

func TestLeaksAreInTheDecisionLog(t *testing.T) {
	input := members("jared")
	var out strings.Builder
	g, stop := withDecisions(t, input, decisionlog.Options{Out: &out})
	g.post(t, signed(query(joinedCommand)), joinedBody(`"JoinType":"Invited","Operator_Account":"leckie",`,
		"jared", "mallory"))
	stop()
	want := fmt.Sprintf(`{"log":"leak","version":1,"time":"2023-11-14T22:13:20.000Z","app":"chat/prod",`+
		`"group":%q,"groupType":"Public","account":"mallory","operator":"leckie","trigger":"Invite",`+
		`"verdict":"Rejected","reason":"NotListed","policy":"gate","code":10110,"audit":"Rejected",`+
		`"snapshot":"%016x"}`+"\n", group, policy.Compile(*input).Hash())
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
}
