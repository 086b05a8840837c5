package webhookserver

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/policy"
)

// TestRecordsAtTheGate sends callbacks about accounts that prune runs have recorded.
func TestRecordsAtTheGate(t *testing.T) {
	refusal := policy.Refusal{
		Namespace: "chat", App: "prod", Group: group, UID: "run-1", Accounts: []string{"jared", "tommy"},
		Until: wallClock.Add(time.Hour), Reject: policy.Rejection{Code: 10120, Message: "Come back later"},
	}
	undo := policy.Refusal{Namespace: "chat", App: "prod", Group: group, UID: "run-2", Accounts: []string{"jared",
		"tommy"}, Restoring: true}
	invitedBy := func(operator string, accounts ...string) string {
		return strings.Replace(inviteBody(accounts...), `"Operator_Account":"leckie"`, operator, 1)
	}
	byAdmin := `"Operator_Account":"administrator"`
	onPlatform := func(platform string) string {
		return strings.Replace(query(inviteCommand), "OptPlatform=iOS", "OptPlatform="+platform, 1)
	}
	gate := policy.JoinSection{Allow: &policy.AccountSelector{Accounts: []string{"leckie"}},
		Reject: policy.Rejection{Code: 10110, Message: "Members only"}}
	denial := policy.JoinSection{Deny: &policy.AccountSelector{Accounts: []string{"tommy"}},
		Reject: policy.Rejection{Code: 10111, Message: "Never"}}
	open := policy.JoinSection{Allow: &policy.AccountSelector{Accounts: []string{"jared", "tommy", "leckie"}}}

	tests := map[string]struct {
		record      policy.Refusal
		join        policy.JoinSection
		admin       string // default: administrator
		now         time.Time
		query, body string
		want        string
		message     string
		counted     map[string]float64
	}{
		"a removed account applies, though it is on the list": {
			record: refusal, join: open, query: query(applyCommand), body: applyBody("jared"),
			want: "200 OK 10120", message: "Come back later", counted: map[string]float64{"Pruned Apply rejected": 1},
		},
		"a removed account is invited": {
			record: refusal, join: open, query: query(inviteCommand), body: inviteBody("tommy", "jared"),
			want: "200 OK 10120", message: "Come back later", counted: map[string]float64{"Pruned Invite rejected": 2},
		},
		"invited with somebody who was not removed": {
			record: refusal, join: open, query: query(inviteCommand), body: inviteBody("leckie", "jared"),
			want: "200 OK 0 [jared]", counted: map[string]float64{"Pruned Invite rejected": 1,
				"Allowed Invite admitted": 1},
		},
		"a removed account is added over REST": {
			record: refusal, join: open, query: onPlatform("RESTAPI"), body: inviteBody("jared"),
			want: "200 OK 0", counted: map[string]float64{"Allowed RESTAPI admitted": 1},
		},
		"a second before its time": {
			record: refusal, join: open, now: wallClock.Add(time.Hour - time.Second), query: query(applyCommand),
			body: applyBody("jared"),
			want: "200 OK 10120", message: "Come back later", counted: map[string]float64{"Pruned Apply rejected": 1},
		},
		"its time has come, though the snapshot still has the record": {
			record: refusal, join: open, now: wallClock.Add(time.Hour), query: query(applyCommand),
			body: applyBody("jared"),
			want: "200 OK 0", counted: map[string]float64{"Allowed Apply admitted": 1},
		},

		"restored past a gate": {
			record: undo, join: gate, query: onPlatform("RESTAPI"), body: invitedBy(byAdmin, "jared", "tommy"),
			want: "200 OK 0", counted: map[string]float64{"Restored RESTAPI admitted": 2},
		},
		"restored, denied": {
			record: undo, join: denial, query: onPlatform("RESTAPI"), body: invitedBy(byAdmin, "tommy"),
			want: "200 OK 10111", message: "Never", counted: map[string]float64{"Denied RESTAPI rejected": 1},
		},
		"restored, one of them denied": {
			record: undo, join: denial, query: onPlatform("restapi"), body: invitedBy(byAdmin, "tommy", "jared"),
			want: "200 OK 0 [tommy]", counted: map[string]float64{"Denied RESTAPI rejected": 1,
				"Restored RESTAPI admitted": 1},
		},
		"somebody else added along": {
			record: undo, join: gate, query: onPlatform("RESTAPI"), body: invitedBy(byAdmin, "jared", "mallory"),
			want: "200 OK 0 [mallory]", counted: map[string]float64{"NotListed RESTAPI rejected": 1,
				"Restored RESTAPI admitted": 1},
		},
		"added by another admin": {
			record: undo, join: gate, query: onPlatform("RESTAPI"),
			body: invitedBy(`"Operator_Account":"administrator2"`, "jared"),
			want: "200 OK 10110", message: "Members only", counted: map[string]float64{"NotListed RESTAPI rejected": 1},
		},
		"added by the admin in another case": {
			record: undo, join: gate, query: onPlatform("RESTAPI"),
			body: invitedBy(`"Operator_Account":"Administrator"`, "jared"),
			want: "200 OK 10110", message: "Members only", counted: map[string]float64{"NotListed RESTAPI rejected": 1},
		},
		"invited by the admin from a client": {
			record: undo, join: gate, query: onPlatform("Web"), body: invitedBy(byAdmin, "jared"),
			want: "200 OK 10110", message: "Members only", counted: map[string]float64{"NotListed Invite rejected": 1},
		},
		"two operators are none": {
			record: undo, join: gate, query: onPlatform("RESTAPI"),
			body: invitedBy(byAdmin+`,"Operator_Account":"mallory"`, "jared"),
			want: "200 OK 10110", message: "Members only", counted: map[string]float64{"NotListed RESTAPI rejected": 1},
		},
		"no operator": {
			record: undo, join: gate, query: onPlatform("RESTAPI"), body: strings.Replace(invitedBy("", "jared"), ",,",
				",", 1),
			want: "200 OK 10110", message: "Members only", counted: map[string]float64{"NotListed RESTAPI rejected": 1},
		},
		"no operator of an app without an admin": {
			record: undo, join: gate, admin: "-", query: onPlatform("RESTAPI"), body: strings.Replace(invitedBy("",
				"jared"), ",,", ",", 1),
			want: "200 OK 10110", message: "Members only", counted: map[string]float64{"NotListed RESTAPI rejected": 1},
		},
		"an application that names an operator": {
			record: undo, join: gate, query: strings.Replace(query(applyCommand), "iOS", "RESTAPI", 1),
			body: strings.Replace(applyBody("jared"), "}", ","+byAdmin+"}", 1),
			want: "200 OK 10110", message: "Members only", counted: map[string]float64{"NotListed Apply rejected": 1},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			input := gated(tc.join)
			input.Refusals = []policy.Refusal{tc.record}
			input.Apps[0].AdminAccount = "administrator"
			if tc.admin == "-" {
				input.Apps[0].AdminAccount = ""
			}
			now := wallClock
			if !tc.now.IsZero() {
				now = tc.now
			}
			g := startGate(t, input, func(s *Server) { s.Now = func() time.Time { return now } })
			got := g.post(t, signedBy(token, now, tc.query), tc.body)
			if got.shape() != tc.want || got.ErrorInfo != tc.message {
				t.Errorf("got %s %q, want %s %q", got.shape(), got.ErrorInfo, tc.want, tc.message)
			}
			if diff := cmp.Diff(tc.counted, g.moved(t, "join_decisions_total")); diff != "" {
				t.Errorf("join_decisions_total (-want,+got):\n%s", diff)
			}
		})
	}
}
