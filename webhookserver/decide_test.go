package webhookserver

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/groupgate/groupgate/internal/policy"
)

// TestWaysRoundTheGate tries to bring mallory into a group that admits jared.
func TestWaysRoundTheGate(t *testing.T) {
	worked := members("jared") // a gate in front of groups of type Work
	worked.Policies[0].Types = policy.NewTypeSet(policy.TypeWork)
	worked.Apps[0].RejectUnmatched = false

	restAPI := strings.Replace(query(inviteCommand), "OptPlatform=iOS", "OptPlatform=RESTAPI", 1)
	typed := func(t string) string { return strings.Replace(applyBody("mallory"), `"Public"`, t, 1) }
	absent := strings.Replace(applyBody("mallory"), `"Type":"Public",`, "", 1)

	tests := map[string]struct {
		query, body string
		want        string
	}{
		"application":             {signed(query(applyCommand)), typed(`"Work"`), "200 OK 10110"},
		"old name of the type":    {signed(query(applyCommand)), typed(`"Private"`), "200 OK 10110"},
		"type nobody knows":       {signed(query(applyCommand)), typed(`"Hologram"`), "200 OK 10110"},
		"type in another case":    {signed(query(applyCommand)), typed(`"work"`), "200 OK 10110"},
		"type absent":             {signed(query(applyCommand)), absent, "200 OK 10110"},
		"type no string":          {signed(query(applyCommand)), typed(`7`), "200 OK 1"},
		"type of another group":   {signed(query(applyCommand)), typed(`"Public"`), "200 OK 0"}, // the gate is not about it
		"invitation":              {signed(query(inviteCommand)), strings.Replace(inviteBody("mallory"), "Public", "Work", 1), "200 OK 10110"},
		"invited with a member":   {signed(query(inviteCommand)), strings.Replace(inviteBody("jared", "mallory"), "Public", "Work", 1), "200 OK 0 [mallory]"},
		"added over REST":         {signed(restAPI), strings.Replace(inviteBody("mallory"), "Public", "Work", 1), "200 OK 10110"},
		"unsigned":                {query(applyCommand), typed(`"Work"`), "401 FAIL 1"},
		"forged":                  {signedBy("guess", wallClock, query(applyCommand)), typed(`"Work"`), "401 FAIL 1"},
		"signed with no token":    {signedBy("", wallClock, query(applyCommand)), typed(`"Work"`), "401 FAIL 1"},
		"foreign app":             {strings.Replace(signed(query(applyCommand)), "1400000000", "1400000001", 1), typed(`"Work"`), "403 FAIL 1"},
		"two accounts in one":     {signed(query(applyCommand)), strings.Replace(applyBody("jared"), `}`, `,"Requestor_Account":"mallory"}`, 1), "200 OK 1"},
		"account with a NUL":      {signed(query(applyCommand)), strings.Replace(typed(`"Work"`), `"mallory"`, `"jared\u0000"`, 1), "200 OK 1"},
		"account with bad UTF-8":  {signed(query(applyCommand)), strings.Replace(typed(`"Work"`), `"mallory"`, "\"jared\xff\"", 1), "200 OK 1"},
		"account in another case": {signed(query(applyCommand)), strings.Replace(typed(`"Work"`), `"mallory"`, `"Jared"`, 1), "200 OK 10110"},
		"account with a space":    {signed(query(applyCommand)), strings.Replace(typed(`"Work"`), `"mallory"`, `"jared "`, 1), "200 OK 10110"},
		"keys in another case":    {signed(query(applyCommand)), strings.Replace(typed(`"Work"`), `"Requestor_Account":"mallory"`, `"Requestor_Account":"mallory","requestor_account":"jared"`, 1), "200 OK 10110"},
		"nobody invited":          {signed(query(inviteCommand)), inviteBody(), "200 OK 1"},
		"unreadable":              {signed(query(applyCommand)), strings.TrimSuffix(applyBody("mallory"), "}"), "200 OK 1"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := startGate(t, worked).post(t, tc.query, tc.body); got.shape() != tc.want {
				t.Errorf("got %s, want %s", got.shape(), tc.want)
			}
		})
	}
}

func TestTriggers(t *testing.T) {
	tests := map[string]struct {
		command, platform, body string
		want                    string
	}{
		"application":                       {applyCommand, "iOS", applyBody("mallory"), "Apply"},
		"application, whatever the caller":  {applyCommand, "RESTAPI", applyBody("mallory"), "Apply"},
		"invitation":                        {inviteCommand, "iOS", inviteBody("mallory"), "Invite"},
		"invitation from nowhere":           {inviteCommand, "", inviteBody("mallory"), "Invite"},
		"members added over REST":           {inviteCommand, "RESTAPI", inviteBody("mallory"), "RESTAPI"},
		"members added over REST, any case": {inviteCommand, "RestApi", inviteBody("mallory"), "RESTAPI"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			for _, only := range []policy.Trigger{policy.TriggerApply, policy.TriggerInvite, policy.TriggerRESTAPI} {
				input := gated(policy.JoinSection{Triggers: policy.NewTriggerSet(only), Allow: &policy.AccountSelector{}})
				g := startGate(t, input)
				got := g.post(t, signed(strings.Replace(query(tc.command), "OptPlatform=iOS", "OptPlatform="+tc.platform, 1)), tc.body)
				want, series := "200 OK 0", "Unmatched "+tc.want+" admitted"
				if only.String() == tc.want {
					want, series = "200 OK 1", "NotListed "+tc.want+" rejected"
				}
				if got.shape() != want {
					t.Errorf("policy for %s: got %s, want %s", only, got.shape(), want)
				}
				if diff := cmp.Diff(map[string]float64{series: 1}, g.moved(t, "join_decisions_total")); diff != "" {
					t.Errorf("policy for %s: join_decisions_total (-want,+got):\n%s", only, diff)
				}
			}
		})
	}
}

// TestInvitationWhollyRefused: the code and message are those of the first account, not of the highest policy.
func TestInvitationWhollyRefused(t *testing.T) {
	input := &policy.Input{Apps: []policy.App{theApp()}}
	for i, name := range []string{"first", "second"} {
		input.Policies = append(input.Policies, policy.Policy{
			Object: object(name), App: "prod", Groups: everyGroup(),
			Join: &policy.JoinSection{
				Deny:   &policy.AccountSelector{Prefixes: []string{name + "-"}},
				Reject: policy.Rejection{Code: int32(10101 + i), Message: name},
			},
		})
	}
	g := startGate(t, input)
	for _, tc := range []struct {
		accounts []string
		code     int
		message  string
	}{
		{[]string{"first-1", "second-1"}, 10101, "first"},
		{[]string{"second-1", "first-1", "second-1"}, 10102, "second"},
	} {
		got := g.post(t, signed(query(inviteCommand)), inviteBody(tc.accounts...))
		if *got.ErrorCode != tc.code || got.ErrorInfo != tc.message || got.Refused != nil {
			t.Errorf("%v: got %d %q %v, want %d %q", tc.accounts, *got.ErrorCode, got.ErrorInfo, got.Refused, tc.code, tc.message)
		}
	}
}

func TestAuditIsCountedAndNeverRefuses(t *testing.T) {
	g := startGate(t, gated(policy.JoinSection{Audit: true, Allow: &policy.AccountSelector{Accounts: []string{"jared"}}}))
	for _, body := range []string{inviteBody("jared", "mallory", "trent")} {
		if got := g.post(t, signed(query(inviteCommand)), body); got.shape() != "200 OK 0" {
			t.Errorf("got %s", got.shape())
		}
	}
	if got := g.count(t, "join_audit_differences_total"); got != 2 {
		t.Errorf("join_audit_differences_total is %v, want 2", got)
	}
}

func TestUnknownWordsAreCounted(t *testing.T) {
	tests := map[string]struct {
		query, body string
		want        map[string]float64
	}{
		"all known":            {query(applyCommand), applyBody("jared"), map[string]float64{}},
		"known by its old":     {query(applyCommand), strings.Replace(applyBody("jared"), "Public", "ChatRoom", 1), map[string]float64{}},
		"type unknown":         {query(applyCommand), strings.Replace(applyBody("jared"), "Public", "Hologram", 1), map[string]float64{"group_type": 1}},
		"type absent":          {query(inviteCommand), strings.Replace(inviteBody("jared"), `"Type":"Public",`, "", 1), map[string]float64{"group_type": 1}},
		"query's word unknown": {query("Group.CallbackBeforeAplyJoinGroup"), applyBody("jared"), map[string]float64{"query_command": 1}},
		"query without a word": {"SdkAppid=1400000000", applyBody("jared"), map[string]float64{}},
		"no type in full":      {query(fullCommand), fullBody(group), map[string]float64{}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := startGate(t, members("jared"))
			g.post(t, signed(tc.query), tc.body)
			if diff := cmp.Diff(tc.want, g.moved(t, "callback_unknown_words_total")); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}

func TestFullGroups(t *testing.T) {
	suspended := prunable(group)
	suspended.Apps[0].PruningSuspended = true
	tests := map[string]struct {
		input *policy.Input
		body  string
		want  []string
	}{
		"pruned":            {prunable(group), fullBody(group), []string{"chat/prod " + group}},
		"pruned, in topic":  {prunable(group), `{"CallbackCommand":"` + fullCommand + `","GroupId":"` + group + `","TopicId":"t","EventTime":null}`, []string{"chat/prod " + group}},
		"another group":     {prunable(group), fullBody("vip"), nil},
		"pruning suspended": {suspended, fullBody(group), nil},
		"only a join gate":  {members("jared"), fullBody(group), nil},
		"group unreadable":  {prunable(group), `{"CallbackCommand":"` + fullCommand + `","GroupId":["` + group + `"]}`, nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := startGate(t, tc.input)
			g.post(t, signed(query(fullCommand)), tc.body)
			if diff := cmp.Diff(tc.want, g.full.groups()); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}

// TestFullGroupsOutliveTheirRequest: the memory of a body is used again, the id of a group is kept.
func TestFullGroupsOutliveTheirRequest(t *testing.T) {
	input := prunable(group)
	input.Policies[0].Groups = everyGroup()
	g := newGate(t, input)
	var want []string
	for i := range 100 {
		id := fmt.Sprintf("group-%03d", i)
		want = append(want, "chat/prod "+id)
		g.handler.ServeHTTP(httptest.NewRecorder(), request(signed(query(fullCommand)), fullBody(id)))
	}
	if diff := cmp.Diff(want, g.full.groups()); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
}

// TestInvitationsAgreeWithApplications: what an invitation is answered is what each of its accounts would be told
// alone.
func TestInvitationsAgreeWithApplications(t *testing.T) {
	accounts := rapid.SampledFrom([]string{"a", "ab", "abc", "b", "ba", "c", "会员", `"q"`, "long-" + strings.Repeat("x", 200)})
	selector := func(name string) *rapid.Generator[*policy.AccountSelector] {
		return rapid.Custom(func(t *rapid.T) *policy.AccountSelector {
			if rapid.Bool().Draw(t, name+" absent") {
				return nil
			}
			return &policy.AccountSelector{
				Accounts: rapid.SliceOfN(accounts, 0, 3).Draw(t, name),
				Prefixes: rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "lo"}), 0, 1).Draw(t, name+" prefixes"),
			}
		})
	}
	rapid.Check(t, func(rt *rapid.T) {
		input := policy.Input{Apps: []policy.App{theApp()}}
		input.Apps[0].RejectUnmatched = rapid.Bool().Draw(rt, "reject unmatched")
		for i := range rapid.IntRange(0, 3).Draw(rt, "policies") {
			input.Policies = append(input.Policies, policy.Policy{
				Object: object(fmt.Sprint("p", i)), App: "prod", Groups: everyGroup(),
				Join: &policy.JoinSection{
					Audit:  rapid.Bool().Draw(rt, "audit"),
					Allow:  selector("allow").Draw(rt, "allow"),
					Deny:   selector("deny").Draw(rt, "deny"),
					Reject: policy.Rejection{Code: rapid.SampledFrom([]int32{0, 10100, 10200}).Draw(rt, "code"), Message: fmt.Sprint("m", i)},
				},
			})
		}
		invited := rapid.SliceOfN(accounts, 1, 40).Draw(rt, "invited")
		g := newGate(t, &input)
		answer := func(command, body string) reply {
			recorder := httptest.NewRecorder()
			g.handler.ServeHTTP(recorder, request(signed(query(command)), body))
			return decodeReply(t, recorder.Code, recorder.Header(), recorder.Body.Bytes())
		}

		var once, refused []string
		var first reply
		for _, account := range invited {
			if slices.Contains(once, account) {
				continue
			}
			once = append(once, account)
			if got := answer(applyCommand, applyBody(account)); *got.ErrorCode != 0 {
				if len(refused) == 0 {
					first = got
				}
				refused = append(refused, account)
			}
		}
		want := reply{Status: http.StatusOK, ActionStatus: "OK", ErrorCode: new(int)}
		switch {
		case len(refused) == len(once):
			want.ErrorCode, want.ErrorInfo = first.ErrorCode, first.ErrorInfo
		case len(refused) > 0:
			want.Refused = refused
		}
		got := answer(inviteCommand, inviteBody(invited...))
		got.Header = nil
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Errorf("(-want,+got):\n%s", diff)
		}
	})
}

// request is a callback that does not travel.
func request(query, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/callback", strings.NewReader(body))
	r.URL.RawQuery = query
	return r
}
