package webhookserver

import (
	"encoding/json"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/policy"
)

// TestAnswers covers every step in its order, and every way in which it can end a request.
func TestAnswers(t *testing.T) {
	const (
		closeJoin = "200 OK 1" // refuses a join
		goOn      = "200 OK 0"
		bad       = "400 FAIL 1"
	)
	withoutTokens := members("jared")
	withoutTokens.Apps[0].Tokens = nil
	withEmptyToken := members("jared")
	withEmptyToken.Apps[0].Tokens = []policy.Token{{Name: policy.TokenCurrent}}
	unsigned := members("jared")
	unsigned.Apps[0].Authentication, unsigned.Apps[0].Tokens = policy.AuthenticateNone, nil
	unsignedPrunable := prunable(group)
	unsignedPrunable.Apps[0].Authentication, unsignedPrunable.Apps[0].Tokens = policy.AuthenticateNone, nil
	badSign := strings.Repeat("0", 64)

	tests := map[string]struct {
		input   *policy.Input // default: members("jared")
		never   bool          // no snapshot was ever published
		method  string        // default: POST
		path    string        // default: Path
		query   string
		body    string
		want    string
		counted string // "command result"
		failure string // reason of a 401
	}{
		// Path and method.
		"another path": {path: "/", query: signed(query(applyCommand)), body: applyBody("jared"),
			want: "404 FAIL 1", counted: "other bad_request"},
		"path below": {path: "/callback/", query: signed(query(applyCommand)), body: applyBody("jared"),
			want: "404 FAIL 1", counted: "other bad_request"},
		"path with two slashes": {path: "//callback", query: signed(query(applyCommand)), body: applyBody("jared"),
			want: "404 FAIL 1", counted: "other bad_request"},
		"GET": {method: http.MethodGet, query: signed(query(applyCommand)), want: "405 FAIL 1",
			counted: "other bad_request"},
		"PUT": {method: http.MethodPut, query: signed(query(applyCommand)), body: applyBody("jared"),
			want: "405 FAIL 1", counted: "other bad_request"},

		// Size.
		"512 KiB": {query: signed(query(applyCommand)), body: applyBody("jared") + strings.Repeat(" ",
			maxBody-len(applyBody("jared"))),
			want: goOn, counted: applyCommand + " admitted"},
		"512 KiB and one byte": {query: signed(query(applyCommand)), body: applyBody("jared") + strings.Repeat(" ",
			maxBody+1-len(applyBody("jared"))),
			want: closeJoin, counted: applyCommand + " too_large"},
		"512 KiB and one byte, no join": {query: signed(query(otherCommand)), body: strings.Repeat(" ", maxBody+1),
			want: "413 FAIL 1", counted: "other too_large"},

		// Readiness.
		"before the first snapshot": {never: true, query: signed(query(applyCommand)),
			body: applyBody("jared"), want: "503 FAIL 1", counted: applyCommand + " not_ready"},
		"before the first snapshot, another app": {never: true, query: "SdkAppid=1", body: applyBody("jared"),
			want: "503 FAIL 1", counted: "other not_ready"},
		"empty snapshot": {input: &policy.Input{}, query: signed(query(applyCommand)),
			body: applyBody("jared"), want: "403 FAIL 1", counted: applyCommand + " unknown_app"},

		// SdkAppid.
		"SdkAppid missing": {query: signed("CallbackCommand=" + applyCommand), body: applyBody("jared"),
			want: "403 FAIL 1", counted: applyCommand + " missing_app"},
		"SdkAppid empty": {query: signed("SdkAppid=&CallbackCommand=" + applyCommand),
			body: applyBody("jared"), want: "403 FAIL 1", counted: applyCommand + " missing_app"},
		"SdkAppid no number": {query: signed("SdkAppid=0x53724E00"), body: applyBody("jared"),
			want: "403 FAIL 1", counted: "other unknown_app"},
		"SdkAppid over 64 bits": {query: signed("SdkAppid=18446744075109551616"), body: applyBody("jared"),
			want: "403 FAIL 1", counted: "other unknown_app"},
		"SdkAppid unknown": {query: signed("SdkAppid=1400000001"), body: applyBody("jared"),
			want: "403 FAIL 1", counted: "other unknown_app"},
		"SdkAppid repeated": {query: signed("SdkAppid=1400000000&SdkAppid=1400000001"),
			body: applyBody("jared"), want: "403 FAIL 1", counted: "other unknown_app"},
		"SdkAppid repeated, other way": {query: signed("SdkAppid=1400000001&SdkAppid=1400000000"),
			body: applyBody("jared"), want: "403 FAIL 1", counted: "other unknown_app"},
		"SdkAppid repeated alike": {query: signed("SdkAppid=1400000000&SdkAppid=1400000000"),
			body: applyBody("jared"), want: goOn, counted: applyCommand + " admitted"},
		"SDKAppID in another case": {query: signed("SDKAppID=1400000000"), body: applyBody("jared"), want: goOn,
			counted: applyCommand + " admitted"},

		// Sign.
		"Sign and RequestTime missing": {query: query(applyCommand), body: applyBody("jared"), want: "401 FAIL 1",
			counted: applyCommand + " unauthorized", failure: "missing"},
		"Sign missing": {query: query(applyCommand) + "&RequestTime=1700000000",
			body: applyBody("jared"), want: "401 FAIL 1", counted: applyCommand + " unauthorized", failure: "missing"},
		"RequestTime missing": {query: strings.Split(signed(query(applyCommand)), "&RequestTime")[0],
			body: applyBody("jared"), want: "401 FAIL 1", counted: applyCommand + " unauthorized", failure: "missing"},
		"Sign empty": {query: query(applyCommand) + "&Sign=&RequestTime=1700000000",
			body: applyBody("jared"), want: "401 FAIL 1", counted: applyCommand + " unauthorized", failure: "missing"},
		"Sign wrong": {query: query(applyCommand) + "&RequestTime=1700000000&Sign=" + badSign,
			body: applyBody("jared"), want: "401 FAIL 1", counted: applyCommand + " unauthorized", failure: "wrong"},
		"Sign no hex": {query: query(applyCommand) + "&RequestTime=1700000000&Sign=" +
			strings.Repeat("x", 64), body: applyBody("jared"), want: "401 FAIL 1", counted: applyCommand +
			" unauthorized", failure: "wrong"},
		"Sign cut short": {query: strings.Replace(signed(query(applyCommand)), "&RequestTime",
			"zz&RequestTime", 1), body: applyBody("jared"), want: "401 FAIL 1", counted: applyCommand + " unauthorized",
			failure: "wrong"},
		"Sign by another token": {query: signedBy("other", wallClock, query(applyCommand)),
			body: applyBody("jared"), want: "401 FAIL 1", counted: applyCommand + " unauthorized", failure: "wrong"},
		"Sign repeated": {query: signed(query(applyCommand)) + "&Sign=" + badSign,
			body: applyBody("jared"), want: "401 FAIL 1", counted: applyCommand + " unauthorized", failure: "repeated"},
		"RequestTime repeated": {query: signed(query(applyCommand)) + "&RequestTime=1700000000",
			body: applyBody("jared"), want: "401 FAIL 1", counted: applyCommand + " unauthorized", failure: "repeated"},
		"RequestTime no number": {query: query(applyCommand) + "&RequestTime=-1&Sign=" + badSign,
			body: applyBody("jared"), want: "401 FAIL 1", counted: applyCommand + " unauthorized",
			failure: "malformed"},
		"RequestTime in milliseconds": {query: query(applyCommand) + "&RequestTime=1700000000000&Sign=" + badSign,
			body: applyBody("jared"), want: "401 FAIL 1", counted: applyCommand + " unauthorized",
			failure: "malformed"},
		"app without a token": {input: withoutTokens, query: signed(query(applyCommand)),
			body: applyBody("jared"), want: "401 FAIL 1", counted: applyCommand + " unauthorized", failure: "no_token"},
		"app with an empty token": {input: withEmptyToken, query: signedBy("", wallClock, query(applyCommand)),
			body: applyBody("jared"), want: "401 FAIL 1", counted: applyCommand + " unauthorized", failure: "no_token"},
		"app without authentication": {input: unsigned, query: query(applyCommand), body: applyBody("jared"),
			want: goOn, counted: applyCommand + " admitted"},
		"unsigned and unreadable": {query: query(applyCommand), body: "{", want: "401 FAIL 1",
			counted: applyCommand + " unauthorized", failure: "missing"},

		// Body: an unreadable join is refused.
		"unreadable, join by the query": {query: signed(query(applyCommand)), body: "{", want: closeJoin,
			counted: applyCommand + " unreadable"},
		"empty, join by the query": {query: signed(query(inviteCommand)), want: closeJoin,
			counted: inviteCommand + " unreadable"},
		"array, join by the query": {query: signed(query(applyCommand)), body: "[]", want: closeJoin,
			counted: applyCommand + " unreadable"},
		"data after the object, join by the query": {query: signed(query(applyCommand)), body: applyBody("jared") +
			"x", want: closeJoin, counted: applyCommand + " unreadable"},
		"unreadable, join by the body": {query: signed("SdkAppid=1400000000"),
			body: `{"CallbackCommand":"` + applyCommand + `","GroupId":1}`, want: closeJoin, counted: applyCommand +
				" unreadable"},
		"unreadable, join by the body, not the query": {query: signed(query(fullCommand)),
			body: `{"CallbackCommand":"` + inviteCommand + `","GroupId":"g"}`, want: closeJoin, counted: inviteCommand +
				" unreadable"},
		"unreadable, join by the query, not the body": {query: signed(query(applyCommand)),
			body: `{"CallbackCommand":"` + fullCommand + `"}`, want: closeJoin, counted: fullCommand + " unreadable"},
		"unreadable, command given twice": {query: signed("SdkAppid=1400000000"), body: `{"CallbackCommand":"` +
			otherCommand + `","CallbackCommand":"` + applyCommand + `"}`,
			want: closeJoin, counted: applyCommand + " unreadable"},
		"invitation of nobody": {query: signed(query(inviteCommand)), body: inviteBody(), want: closeJoin,
			counted: inviteCommand + " unreadable"},
		"account empty": {query: signed(query(applyCommand)), body: applyBody(""), want: closeJoin,
			counted: applyCommand + " unreadable"},
		"account of 256 bytes": {query: signed(query(applyCommand)), body: applyBody(strings.Repeat("a",
			256)), want: closeJoin, counted: applyCommand + " unreadable"},
		"account of 255 bytes": {query: signed(query(applyCommand)), body: applyBody(strings.Repeat("a",
			255)), want: "200 OK 10110", counted: applyCommand + " rejected"},
		"no command, join by the query": {query: signed(query(applyCommand)), body: `{"GroupId":"g"}`,
			want: closeJoin, counted: applyCommand + " unreadable"},
		"unreadable, full by the query": {query: signed(query(fullCommand)), body: "{", want: bad,
			counted: fullCommand + " bad_request"},
		"unreadable, nothing by the query": {query: signed("SdkAppid=1400000000"), body: "{", want: bad,
			counted: "other bad_request"},
		"empty, nothing by the query": {query: signed("SdkAppid=1400000000"), want: bad,
			counted: "other bad_request"},
		"unreadable, other by the query": {query: signed(query(otherCommand)), body: "{", want: bad,
			counted: "other bad_request"},
		"unreadable full group": {query: signed(query(fullCommand)), body: `{"CallbackCommand":"` +
			fullCommand + `"}`, want: bad, counted: fullCommand + " bad_request"},
		"no command, full by the query": {query: signed(query(fullCommand)), body: `{"GroupId":"g"}`, want: bad,
			counted: fullCommand + " bad_request"},
		"no command, unknown by the query": {query: signed(query("Console.Verify")), body: `{}`, want: goOn,
			counted: "other ignored"},
		"no command, other by the query": {query: signed(query(otherCommand)), body: `{}`, want: goOn,
			counted: "other ignored"},
		"no command at all": {query: signed("SdkAppid=1400000000"), body: `{"hello":"world"}`,
			want: goOn, counted: "other ignored"},

		// Command.
		"query names another known command": {query: signed(query(inviteCommand)), body: applyBody("jared"),
			want: closeJoin, counted: applyCommand + " unreadable"},
		"query names a command we do not serve": {query: signed(query(otherCommand)), body: applyBody("jared"),
			want: closeJoin, counted: applyCommand + " unreadable"},
		"query names a join, body something else": {query: signed(query(applyCommand)), body: `{"CallbackCommand":"` +
			otherCommand + `"}`, want: closeJoin, counted: "other unreadable"},
		"query and body name different commands, neither a join": {query: signed(query(fullCommand)),
			body: `{"CallbackCommand":"` + otherCommand + `"}`, want: bad, counted: "other bad_request"},
		"query names an unknown command": {query: signed(query("Group.CallbackBeforeAplyJoinGroup")),
			body: applyBody("mallory"), want: "200 OK 10110", counted: applyCommand + " rejected"},
		"query names no command": {query: signed("SdkAppid=1400000000"), body: applyBody("mallory"),
			want: "200 OK 10110", counted: applyCommand + " rejected"},
		"command repeated alike in the query": {query: signed(query(applyCommand) + "&CallbackCommand=" +
			applyCommand), body: applyBody("jared"), want: closeJoin, counted: applyCommand + " unreadable"},
		"command repeated in the query": {query: signed(query("x") + "&CallbackCommand=" + applyCommand),
			body: applyBody("jared"), want: closeJoin, counted: applyCommand + " unreadable"},
		"command repeated in the query, a join second, an unreadable body": {
			query: signed(query("x") + "&CallbackCommand=" + applyCommand), body: "{", want: closeJoin,
			counted: applyCommand + " unreadable"},
		"command repeated in the query, no join": {query: signed(query(otherCommand) + "&CallbackCommand=x"),
			body: `{"CallbackCommand":"` + otherCommand + `"}`, want: bad, counted: "other bad_request"},
		"command we do not serve": {query: signed(query(otherCommand)), body: `{"CallbackCommand":"` +
			otherCommand + `","GroupId":7}`, want: goOn, counted: "other ignored"},
		"command nobody knows": {query: signed(query("A.B")), body: `{"CallbackCommand":"A.B"}`,
			want: goOn, counted: "other ignored"},

		// Decisions.
		"apply, listed": {query: signed(query(applyCommand)), body: applyBody("jared"), want: goOn,
			counted: applyCommand + " admitted"},
		"apply, not listed": {query: signed(query(applyCommand)), body: applyBody("mallory"),
			want: "200 OK 10110", counted: applyCommand + " rejected"},
		"apply, no code": {input: gated(policy.JoinSection{Allow: &policy.AccountSelector{}}),
			query: signed(query(applyCommand)), body: applyBody("mallory"), want: closeJoin, counted: applyCommand +
				" rejected"},
		"invite, all listed": {query: signed(query(inviteCommand)), body: inviteBody("jared"), want: goOn,
			counted: inviteCommand + " admitted"},
		"invite, some listed": {query: signed(query(inviteCommand)), body: inviteBody("mallory", "jared", "trent",
			"mallory"), want: "200 OK 0 [mallory trent]", counted: inviteCommand + " partial"},
		"invite, none listed": {query: signed(query(inviteCommand)), body: inviteBody("mallory", "trent"),
			want: "200 OK 10110", counted: inviteCommand + " rejected"},
		"invite, one twice, listed": {query: signed(query(inviteCommand)), body: inviteBody("jared", "jared"),
			want: goOn, counted: inviteCommand + " admitted"},
		"full, not pruned": {query: signed(query(fullCommand)), body: fullBody(group), want: goOn,
			counted: fullCommand + " ignored"},
		"full, pruned, unsigned app": {input: unsignedPrunable, query: query(fullCommand), body: fullBody(group),
			want: goOn, counted: fullCommand + " unverified"},
		"full, not pruned, unsigned app": {input: unsignedPrunable, query: query(fullCommand), body: fullBody("other"),
			want: goOn, counted: fullCommand + " ignored"},
		"full, pruned": {input: prunable(group), query: signed(query(fullCommand)), body: fullBody(group),
			want: goOn, counted: fullCommand + " admitted"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			input := tc.input
			if input == nil && !tc.never {
				input = members("jared")
			}
			g := startGate(t, input)
			method, path := tc.method, tc.path
			if method == "" {
				method = http.MethodPost
			}
			if path == "" {
				path = Path
			}
			got := g.do(t, method, path+"?"+tc.query, strings.NewReader(tc.body))
			if got.shape() != tc.want {
				t.Errorf("got %s (%s), want %s", got.shape(), got.ErrorInfo, tc.want)
			}
			if diff := cmp.Diff(map[string]float64{tc.counted: 1}, g.moved(t, "callback_requests_total")); diff != "" {
				t.Errorf("callback_requests_total (-want,+got):\n%s", diff)
			}
			wantFailures := map[string]float64{}
			if tc.failure != "" {
				wantFailures[tc.failure] = 1
			}
			if diff := cmp.Diff(wantFailures, g.moved(t, "callback_auth_failures_total")); diff != "" {
				t.Errorf("callback_auth_failures_total (-want,+got):\n%s", diff)
			}
			command, result := strings.Fields(tc.counted)[0], strings.Fields(tc.counted)[1]
			switch result {
			case "unauthorized", "unknown_app", "missing_app", "not_ready":
				command = "other" // strangers must not hide slow answers to the vendor
			}
			if diff := cmp.Diff(map[string]float64{command: 1}, g.moved(t, "callback_duration_seconds")); diff != "" {
				t.Errorf("callback_duration_seconds (-want,+got):\n%s", diff)
			}
			if got.Status == http.StatusMethodNotAllowed && got.Header.Get("Allow") != http.MethodPost {
				t.Errorf("Allow is %q", got.Header.Get("Allow"))
			}
		})
	}
}

// TestRefusalsSayNothing checks that no answer says more than the policy's author wrote.
func TestRefusalsSayNothing(t *testing.T) {
	tests := map[string]struct {
		input *policy.Input
		want  string
	}{
		"message of the policy": {members("jared"), "Members only"},
		"code without message": {gated(policy.JoinSection{Allow: &policy.AccountSelector{},
			Reject: policy.Rejection{Code: 10150}}), ""},
		"no code": {gated(policy.JoinSection{Allow: &policy.AccountSelector{}}), "rejected"},
		"code out of range": {gated(policy.JoinSection{Allow: &policy.AccountSelector{},
			Reject: policy.Rejection{Code: 7, Message: "psst"}}), "rejected"},
		"message to be escaped": {gated(policy.JoinSection{Allow: &policy.AccountSelector{},
			Reject: policy.Rejection{Code: 10100, Message: "\"\\\n</script>\u2028会员"}}), "\"\\\n</script>\u2028会员"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := startGate(t, tc.input).post(t, signed(query(applyCommand)),
				applyBody("mallory")); got.ErrorInfo != tc.want {
				t.Errorf("got %q, want %q", got.ErrorInfo, tc.want)
			}
		})
	}
}

// TestFixtures answers documented and captured callbacks.
func TestFixtures(t *testing.T) {
	type fixture struct {
		Name, Query, Body, Effect, Policy string
		Want                              struct {
			Status       int
			ActionStatus string
			ErrorInfo    *string
			ErrorCode    int
			Refused      []string `json:"RefusedMembers_Account"`
		}
	}
	policies := map[string]policy.Policy{
		"": {},
		"any with whenFull.prune {mode: Preview, inactiveFor: 30d} on the group": prunable("").Policies[0],
		"allow " +
			"jared": gated(policy.JoinSection{Allow: &policy.AccountSelector{Accounts: []string{"jared"}}}).Policies[0],
		"allow jared; reject 10110 Members only": members("jared").Policies[0],
	}
	document, err := os.ReadFile("testdata/callbacks.json")
	if err != nil {
		t.Fatal(err)
	}
	var fixtures []fixture
	if err := json.Unmarshal(document, &fixtures); err != nil {
		t.Fatal(err)
	}
	for _, tc := range fixtures {
		t.Run(tc.Name, func(t *testing.T) {
			input := policy.Input{Apps: []policy.App{theApp()}}
			p, known := policies[tc.Policy]
			if !known {
				t.Fatalf("the fixture has a policy that this test does not know: %q", tc.Policy)
			}
			if tc.Policy != "" {
				p.Groups = everyGroup()
				input.Policies = append(input.Policies, p)
			}
			g := startGate(t, &input)
			got := g.post(t, signed(tc.Query), tc.Body)
			want := reply{Status: tc.Want.Status, ActionStatus: tc.Want.ActionStatus, ErrorCode: &tc.Want.ErrorCode,
				Refused: tc.Want.Refused}
			if got.shape() != want.shape() {
				t.Errorf("got %s, want %s", got.shape(), want.shape())
			}
			if tc.Want.ErrorInfo != nil && got.ErrorInfo != *tc.Want.ErrorInfo {
				t.Errorf("ErrorInfo %q, want %q", got.ErrorInfo, *tc.Want.ErrorInfo)
			}
			wantFull, wantUnreadable := 0, 0.0
			switch tc.Effect {
			case "one PruneRun for the group":
				wantFull = 1
			case "counted as unreadable":
				wantUnreadable = 1
			case "", "nothing":
			default:
				t.Fatalf("the fixture has an effect that this test does not know: %q", tc.Effect)
			}
			if got := g.full.groups(); len(got) != wantFull {
				t.Errorf("full groups passed on: %q, want %d", got, wantFull)
			}
			if got := g.count(t, "callback_requests_total", applyCommand, "unreadable"); got != wantUnreadable {
				t.Errorf("counted as unreadable: %v, want %v", got, wantUnreadable)
			}
		})
	}
}

// TestContentLength: net/http sets it for short answers, the server for long ones, and none is sent in chunks.
func TestContentLength(t *testing.T) {
	g := startGate(t, members("jared"))
	shortest, longest := 2*countedBody, 0
	for n := range 40 {
		input := members("jared")
		input.Policies[0].Join.Reject.Message = strings.Repeat("x", countedBody-80+n)
		g.store.Publish(policy.Compile(*input))
		got := g.post(t, signed(query(applyCommand)), applyBody("mallory")) // which looks at the length
		if len(got.ErrorInfo) != countedBody-80+n {
			t.Fatalf("a message of %d bytes, want %d", len(got.ErrorInfo), countedBody-80+n)
		}
		length, err := strconv.Atoi(got.Header.Get("Content-Length"))
		if err != nil {
			t.Fatal(err)
		}
		shortest, longest = min(shortest, length), max(longest, length)
	}
	if shortest >= countedBody || longest <= countedBody {
		t.Errorf("answers of %d to %d bytes, which says nothing about the border of %d", shortest, longest, countedBody)
	}
}
