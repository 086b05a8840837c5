package policy

import (
	"fmt"
	"testing"
)

// TestNames pins the words that become metric labels, conditions and records.
func TestNames(t *testing.T) {
	tests := []struct {
		got, want string
	}{
		{
			fmt.Sprint(TypeUnknown, TypeWork, TypePublic, TypeMeeting, TypeAVChatRoom, TypeCommunity, GroupType(9)),
			"Unknown Work Public Meeting AVChatRoom Community Unknown",
		},
		{fmt.Sprint(TriggerApply, TriggerInvite, TriggerRESTAPI, Trigger(9)), "Apply Invite RESTAPI Unknown"},
		{
			fmt.Sprint(ReasonDenied, ReasonAllowed, ReasonNotListed, ReasonNotGated, ReasonUnmatched, ReasonPruned,
				ReasonRestored, Reason(9)),
			"Denied Allowed NotListed NotGated Unmatched Pruned Restored Unknown",
		},
		{fmt.Sprint(ModePreview, ModeApprove, ModeEnforce, PruneMode(9)), "Preview Approve Enforce Unknown"},
		{
			fmt.Sprint(KeptLeft, KeptRoleChanged, KeptActiveAgain, KeptProtected, KeptUnknown, KeptReason(0),
				KeptReason(9)),
			"Left RoleChanged ActiveAgain Protected Unknown Unknown Unknown",
		},
		{fmt.Sprint(Accepted, TargetNotFound, Invalid, Acceptance(9)), "Accepted TargetNotFound Invalid Unknown"},
		{
			fmt.Sprint(exact("a\"b"), prefix("vip-"), all(), GroupMatcher{Kind: 9}),
			`Exact "a\"b" Prefix "vip-" All Unknown ""`,
		},
		{object("prod", 0).Key(), "chat/prod"},
	}
	for _, tc := range tests {
		if tc.got != tc.want {
			t.Errorf("got %s, want %s", tc.got, tc.want)
		}
	}
	for _, word := range []string{"Work", "Public", "Meeting", "AVChatRoom", "Community"} {
		if got := ParseGroupType(word).String(); got != word {
			t.Errorf("ParseGroupType(%s) = %s", word, got)
		}
	}
	for _, word := range []string{"", "work", "Private", "Unknown", "ChatRoom", "Work "} {
		if got := ParseGroupType(word); got != TypeUnknown {
			t.Errorf("ParseGroupType(%q) = %s, want unknown", word, got)
		}
	}
}

func TestSelector(t *testing.T) {
	labels := map[string]string{"list": "vip", "tier": ""}
	tests := map[string]struct {
		selector Selector
		want     bool
		text     string
	}{
		"nothing required": {want: true},
		"in":               {selector: Selector{{"list", OpIn, []string{"vip"}}}, want: true, text: "list=vip"},
		"in several": {
			selector: Selector{{"list", OpIn, []string{"x", "vip"}}}, want: true, text: "list in (x,vip)",
		},
		"not in": {selector: Selector{{"list", OpNotIn, []string{"vip"}}}, text: "list notin (vip)"},
		"not in others": {
			selector: Selector{{"list", OpNotIn, []string{"x"}}}, want: true, text: "list notin (x)",
		},
		"not in, label missing": {
			selector: Selector{{"none", OpNotIn, []string{"x"}}}, want: true, text: "none notin (x)",
		},
		"in, label missing":      {selector: Selector{{"none", OpIn, []string{""}}}, text: "none="},
		"in, label empty":        {selector: Selector{{"tier", OpIn, []string{""}}}, want: true, text: "tier="},
		"exists":                 {selector: Selector{{"tier", OpExists, nil}}, want: true, text: "tier"},
		"exists, label missing":  {selector: Selector{{"none", OpExists, nil}}, text: "none"},
		"does not exist":         {selector: Selector{{"none", OpDoesNotExist, nil}}, want: true, text: "!none"},
		"does not exist, but is": {selector: Selector{{"list", OpDoesNotExist, nil}}, text: "!list"},
		"all must hold": {
			selector: Selector{{"list", OpIn, []string{"vip"}}, {"none", OpExists, nil}}, text: "list=vip,none",
		},
		"unknown operator": {selector: Selector{{"list", "Like", []string{"vip"}}}, text: "list Like"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tc.selector.Matches(labels); got != tc.want {
				t.Errorf("Matches = %t, want %t", got, tc.want)
			}
			if got := tc.selector.String(); got != tc.text {
				t.Errorf("String = %q, want %q", got, tc.text)
			}
		})
	}
}

// TestSelectorsAreNotConfused has two selectors that print alike and select differently.
func TestSelectorsAreNotConfused(t *testing.T) {
	in := world(
		policyNamed("p", 1, on(exact("p")), joining(func(j *JoinSection) {
			j.Allow = byLabels(Requirement{Key: "list", Op: OpIn, Values: []string{"a", "b"}})
		})),
		policyNamed("q", 1, on(exact("q")), joining(func(j *JoinSection) {
			j.Allow = byLabels(Requirement{Key: "list", Op: OpIn, Values: []string{"a,b", "x"}})
		})),
		policyNamed("r", 1, on(exact("r")), joining(func(j *JoinSection) {
			j.Allow = byLabels(Requirement{Key: "list", Op: OpIn, Values: []string{"a", "b,x"}})
		})),
	)
	in.Lists = []List{listNamed("l", map[string]string{"list": "a"}, "jared")}
	app := Compile(in).App(appID)
	for group, want := range map[string]bool{"p": true, "q": false, "r": true} {
		if got := app.DecideJoin(JoinQuery{Group: group, Account: "jared"}).Admit; got != want {
			t.Errorf("group %s: admitted %t, want %t", group, got, want)
		}
	}
}

// TestEqualSelectorsStayInTheirNamespaces has two namespaces with one selector: what it selects is remembered for each.
func TestEqualSelectorsStayInTheirNamespaces(t *testing.T) {
	vip := byLabels(Requirement{Key: "list", Op: OpIn, Values: []string{"vip"}})
	var in Input
	for i, namespace := range []string{"chat", "other"} {
		app := prodApp()
		app.Namespace, app.UID, app.SDKAppID = namespace, namespace, appID+uint64(i)
		in.Apps = append(in.Apps, app)
		p := policyNamed("p", 1, joining(func(j *JoinSection) { j.Allow = vip }))
		p.Namespace, p.UID = namespace, namespace
		in.Policies = append(in.Policies, p)
		l := listNamed("vip", map[string]string{"list": "vip"}, "of-"+namespace)
		l.Namespace, l.UID = namespace, namespace
		in.Lists = append(in.Lists, l)
	}
	s := Compile(in)
	for i, namespace := range []string{"chat", "other"} {
		for account, want := range map[string]bool{"of-chat": namespace == "chat", "of-other": namespace == "other"} {
			if got := s.App(appID + uint64(i)).DecideJoin(JoinQuery{Group: "g", Account: account}).Admit; got != want {
				t.Errorf("app of namespace %s: %s admitted %t, want %t", namespace, account, got, want)
			}
		}
	}
}
