package policy

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/accounts"
)

func TestDecideJoin(t *testing.T) {
	ask := JoinQuery{Group: "vip-1", Type: TypePublic, Account: "jared", Trigger: TriggerApply}
	admit := func(r Reason) Verdict { return Verdict{Admit: true, Reason: r} }
	refuse := func(r Reason, code int32, message string) Verdict {
		return Verdict{Reason: r, Code: code, Message: message}
	}
	differing := func(v Verdict) Verdict { v.AuditDiffers = true; return v }
	members := reject(10110, "Members only")
	vip := List{
		Object: object("vip-0", 0), Labels: map[string]string{"list": "vip"},
		Accounts: accounts.NewSet([]string{"jared"}),
	}
	rejectUnmatched := prodApp()
	rejectUnmatched.RejectUnmatched = true

	tests := map[string]struct {
		app      *App
		lists    []List
		policies []Policy
		query    func(*JoinQuery)
		want     Verdict
	}{
		"5: nothing speaks, unmatched groups are open": {want: admit(ReasonUnmatched)},
		"5: nothing speaks, unmatched groups are closed": {
			app: &rejectUnmatched, want: refuse(ReasonUnmatched, 1, ""),
		},
		"4: a section without allow admits": {
			app: &rejectUnmatched, policies: []Policy{policyNamed("p", 1, joining())}, want: admit(ReasonNotGated),
		},
		"3: an allow without the account rejects": {
			policies: []Policy{policyNamed("p", 1, joining(allow("tommy"), members))},
			want:     refuse(ReasonNotListed, 10110, "Members only"),
		},
		"3: allow present and empty admits nobody": {
			policies: []Policy{policyNamed("p", 1, joining(allow()))}, want: refuse(ReasonNotListed, 1, ""),
		},
		"2: allowed": {
			policies: []Policy{policyNamed("p", 1, joining(allow("jared")))}, want: admit(ReasonAllowed),
		},
		"2 beats 3: any allow admits, whatever ranks higher": {
			policies: []Policy{
				policyNamed("closed", 1, on(exact("vip-1")), joining(allow())),
				policyNamed("open", 2, joining(allow("jared"))),
			}, want: admit(ReasonAllowed),
		},
		"1 beats 2: any deny rejects, whatever ranks higher": {
			policies: []Policy{
				policyNamed("open", 1, on(exact("vip-1")), joining(allow("jared"))),
				policyNamed("closed", 2, joining(deny("jared"), members)),
			}, want: refuse(ReasonDenied, 10110, "Members only"),
		},
		"1 within one section": {
			policies: []Policy{policyNamed("p", 1, joining(allow("jared"), deny("jared")))},
			want:     refuse(ReasonDenied, 1, ""),
		},
		"1: a deny of others is no gate": {
			app: &rejectUnmatched, policies: []Policy{policyNamed("p", 1, joining(deny("mallory")))},
			want: admit(ReasonNotGated),
		},
		"1: the message of the highest-ranked that denies, not of one that ranks higher": {
			policies: []Policy{
				policyNamed("silent", 0, on(exact("vip-1")), joining(allow(), reject(10101, "not this"))),
				policyNamed("low", 1, joining(deny("jared"), reject(10102, "nor this"))),
				policyNamed("high", 2, on(prefix("vip-")), joining(deny("jared"), members)),
			}, want: refuse(ReasonDenied, 10110, "Members only"),
		},
		"3: the message of the highest-ranked that has a gate": {
			policies: []Policy{
				policyNamed("open", 0, on(exact("vip-1")), joining(reject(10101, "not this"))),
				policyNamed("low", 1, joining(allow(), reject(10102, "nor this"))),
				policyNamed("high", 2, on(prefix("vip-")), joining(allow(), members)),
			}, want: refuse(ReasonNotListed, 10110, "Members only"),
		},
		"rank: exact before prefix": {
			policies: []Policy{
				policyNamed("a", 1, on(prefix("vip-1")), joining(allow(), reject(10101, ""))),
				policyNamed("b", 2, on(exact("vip-1")), joining(allow(), reject(10102, ""))),
			}, want: refuse(ReasonNotListed, 10102, ""),
		},
		"rank: longer prefix before shorter": {
			policies: []Policy{
				policyNamed("a", 1, on(prefix("vi")), joining(allow(), reject(10101, ""))),
				policyNamed("b", 2, on(prefix("vip")), joining(allow(), reject(10102, ""))),
			}, want: refuse(ReasonNotListed, 10102, ""),
		},
		"rank: prefix before all": {
			policies: []Policy{
				policyNamed("a", 1, on(all()), joining(allow(), reject(10101, ""))),
				policyNamed("b", 2, on(prefix("v")), joining(allow(), reject(10102, ""))),
			}, want: refuse(ReasonNotListed, 10102, ""),
		},
		"rank: older before younger": {
			policies: []Policy{
				policyNamed("a", 2, joining(allow(), reject(10101, ""))),
				policyNamed("b", 1, joining(allow(), reject(10102, ""))),
			}, want: refuse(ReasonNotListed, 10102, ""),
		},
		"rank: then by name": {
			policies: []Policy{
				policyNamed("b", 1, joining(allow(), reject(10101, ""))),
				policyNamed("a", 1, joining(allow(), reject(10102, ""))),
			}, want: refuse(ReasonNotListed, 10102, ""),
		},
		"rank: by the best matcher that matches": {
			policies: []Policy{
				policyNamed("a", 1, on(all(), exact("another")), joining(allow(), reject(10101, ""))),
				policyNamed("b", 2, on(all(), prefix("vip"), exact("vip-1")), joining(allow(), reject(10102, ""))),
				policyNamed("c", 1, on(prefix("vip-")), joining(allow(), reject(10103, ""))),
			}, want: refuse(ReasonNotListed, 10102, ""),
		},
		"matching is byte for byte": {
			policies: []Policy{policyNamed("p", 1, on(exact("VIP-1"), prefix("Vip"), exact("vip-1 ")),
				joining(allow()))}, want: admit(ReasonUnmatched),
		},
		"accounts are compared byte for byte": {
			policies: []Policy{policyNamed("p", 1, joining(allow("Jared", "jared ", "jare", "jaredd")))},
			want:     refuse(ReasonNotListed, 1, ""),
		},
		"a trigger that is not listed: silent": {
			policies: []Policy{policyNamed("p", 1, joining(allow(), triggeredBy(TriggerInvite, TriggerRESTAPI)))},
			want:     admit(ReasonUnmatched),
		},
		"a trigger that is listed: speaks": {
			policies: []Policy{policyNamed("p", 1, joining(allow(), triggeredBy(TriggerRESTAPI)))},
			query:    func(q *JoinQuery) { q.Trigger = TriggerRESTAPI }, want: refuse(ReasonNotListed, 1, ""),
		},
		"no triggers: all of them": {
			policies: []Policy{policyNamed("p", 1, joining(allow()))},
			query:    func(q *JoinQuery) { q.Trigger = TriggerInvite }, want: refuse(ReasonNotListed, 1, ""),
		},
		"a trigger that does not exist opens no gate": {
			policies: []Policy{policyNamed("p", 1, joining(allow(), triggeredBy(TriggerApply)))},
			query:    func(q *JoinQuery) { q.Trigger = 77 }, want: refuse(ReasonNotListed, 1, ""),
		},
		"types: another type is not governed": {
			policies: []Policy{policyNamed("p", 1, ofTypes(TypeWork), joining(allow()))}, want: admit(ReasonUnmatched),
		},
		"types: one of them is": {
			policies: []Policy{policyNamed("p", 1, ofTypes(TypeWork, TypePublic), joining(allow()))},
			want:     refuse(ReasonNotListed, 1, ""),
		},
		"types: an unknown type passes every filter": {
			policies: []Policy{policyNamed("p", 1, ofTypes(TypeWork), joining(allow()))},
			query:    func(q *JoinQuery) { q.Type = TypeUnknown }, want: refuse(ReasonNotListed, 1, ""),
		},
		"types: a type out of range is unknown": {
			policies: []Policy{policyNamed("p", 1, ofTypes(TypeWork), joining(allow()))},
			query:    func(q *JoinQuery) { q.Type = 200 }, want: refuse(ReasonNotListed, 1, ""),
		},
		"audit never speaks, its deny differs": {
			app: &rejectUnmatched, policies: []Policy{
				policyNamed("p", 1, joining(audit, deny("jared"))), policyNamed("q", 2, joining()),
			},
			want: differing(admit(ReasonNotGated)),
		},
		"audit: its gate differs": {
			policies: []Policy{policyNamed("p", 1, joining(audit, allow()))}, want: differing(admit(ReasonUnmatched)),
		},
		"audit: its allow differs": {
			policies: []Policy{
				policyNamed("p", 1, joining(audit, allow("jared"))), policyNamed("q", 2, joining(allow())),
			},
			want: differing(refuse(ReasonNotListed, 1, "")),
		},
		"audit: speaking alone differs where unmatched groups are closed": {
			app: &rejectUnmatched, policies: []Policy{policyNamed("p", 1, joining(audit))},
			want: differing(refuse(ReasonUnmatched, 1, "")),
		},
		"audit: another code for the same answer is no difference": {
			policies: []Policy{
				policyNamed("p", 1, on(exact("vip-1")), joining(audit, deny("jared"), members)),
				policyNamed("q", 2, joining(allow())),
			},
			want: refuse(ReasonNotListed, 1, ""),
		},
		"audit: its allow does not overrule a deny": {
			policies: []Policy{
				policyNamed("p", 1, joining(audit, allow("jared"))), policyNamed("q", 2, joining(deny("jared"))),
			},
			want: refuse(ReasonDenied, 1, ""),
		},
		"a list by name": {
			lists: []List{vip}, policies: []Policy{
				policyNamed("p", 1, joining(func(j *JoinSection) { j.Allow = byListName("vip-0") })),
			},
			want: admit(ReasonAllowed),
		},
		"a list by label": {
			lists: []List{vip}, policies: []Policy{policyNamed("p", 1, joining(func(j *JoinSection) {
				j.Allow = byLabels(Requirement{Key: "list", Op: OpIn, Values: []string{"vip"}})
			}))}, want: admit(ReasonAllowed),
		},
		"a list of another namespace is none": {
			lists: []List{
				{
					Object: Object{Namespace: "other", Name: "vip-0", UID: "x"}, Labels: vip.Labels,
					Accounts: vip.Accounts,
				},
			},
			policies: []Policy{policyNamed("p", 1, joining(func(j *JoinSection) {
				j.Allow = &AccountSelector{Lists: append(byListName("vip-0").Lists, byLabels().Lists...)}
			}))}, want: refuse(ReasonNotListed, 1, ""),
		},
		"a missing list in allow is empty": {
			policies: []Policy{policyNamed("p", 1, joining(func(j *JoinSection) { j.Allow = byListName("vip-0") }))},
			want:     refuse(ReasonNotListed, 1, ""),
		},
		"a missing list leaves the rest of the selector": {
			policies: []Policy{policyNamed("p", 1, joining(func(j *JoinSection) {
				j.Allow = byListName("vip-0")
				j.Allow.Accounts = []string{"jared"}
			}))}, want: admit(ReasonAllowed),
		},
		"a missing list in deny is empty": {
			policies: []Policy{policyNamed("p", 1, joining(func(j *JoinSection) { j.Deny = byListName("vip-0") }))},
			want:     admit(ReasonNotGated),
		},
		"a list in deny": {
			lists: []List{vip}, policies: []Policy{
				policyNamed("p", 1, joining(func(j *JoinSection) { j.Deny = byListName("vip-0") })),
			},
			want: refuse(ReasonDenied, 1, ""),
		},
		"an account prefix": {
			policies: []Policy{
				policyNamed("p", 1, joining(func(j *JoinSection) {
					j.Allow = &AccountSelector{Prefixes: []string{"zz",
						"jar", "jaredx"}}
				})),
			},
			want: admit(ReasonAllowed),
		},
		"code 10100 reaches the client": {
			policies: []Policy{policyNamed("p", 1, joining(allow(), reject(10100, "m")))},
			want:     refuse(ReasonNotListed, 10100, "m"),
		},
		"code 10200 reaches the client": {
			policies: []Policy{policyNamed("p", 1, joining(allow(), reject(10200, "m")))},
			want:     refuse(ReasonNotListed, 10200, "m"),
		},
		"a message without a code is not sent": {
			policies: []Policy{policyNamed("p", 1, joining(allow(), reject(0, "m")))},
			want:     refuse(ReasonNotListed, 1, ""),
		},
		"a code below the range counts as unset": {
			policies: []Policy{policyNamed("p", 1, joining(allow(), reject(10099, "m")))},
			want:     refuse(ReasonNotListed, 1, ""),
		},
		"a code above the range counts as unset": {
			policies: []Policy{policyNamed("p", 1, joining(allow(), reject(10201, "m")))},
			want:     refuse(ReasonNotListed, 1, ""),
		},
		"a policy without a join section never speaks": {
			policies: []Policy{policyNamed("p", 1, prune())}, want: admit(ReasonUnmatched),
		},
		"a policy of another app does not govern": {
			policies: []Policy{policyNamed("p", 1, joining(allow()), func(p *Policy) { p.App = "staging" })},
			want:     admit(ReasonUnmatched),
		},
		"a policy of another namespace does not govern": {
			policies: []Policy{policyNamed("p", 1, joining(allow()), func(p *Policy) { p.Namespace = "other" })},
			want:     admit(ReasonUnmatched),
		},
		"an invalid policy rejects as an empty allow does": {
			policies: []Policy{
				policyNamed("p", 1, joining(allow("jared"), members), func(p *Policy) { p.Invalid = "bad" }),
			},
			want: refuse(ReasonNotListed, 10110, "Members only"),
		},
		"an invalid policy without allow rejects, too": {
			policies: []Policy{policyNamed("p", 1, joining(), func(p *Policy) { p.Invalid = "bad" })},
			want:     refuse(ReasonNotListed, 1, ""),
		},
		"an invalid policy does not overrule the allow of another": {
			policies: []Policy{
				policyNamed("p", 1, joining(), func(p *Policy) { p.Invalid = "bad" }),
				policyNamed("q", 2, joining(allow("jared"))),
			},
			want: admit(ReasonAllowed),
		},
		"an invalid policy still denies": {
			policies: []Policy{
				policyNamed("p", 1, joining(deny("jared")), func(p *Policy) { p.Invalid = "bad" }),
				policyNamed("q", 2, joining(allow("jared"))),
			}, want: refuse(ReasonDenied, 1, ""),
		},
		"an invalid policy in audit mode still only audits": {
			policies: []Policy{policyNamed("p", 1, joining(audit), func(p *Policy) { p.Invalid = "bad" })},
			want:     differing(admit(ReasonUnmatched)),
		},
		"an unreadable selector makes its policy invalid": {
			policies: []Policy{
				policyNamed("p", 1, joining(func(j *JoinSection) { j.Deny = &AccountSelector{Invalid: "bad"} })),
			},
			want: refuse(ReasonNotListed, 1, ""),
		},
		"an invalid rule closes the gate of its policy": {
			policies: []Policy{
				policyNamed("p", 1, joining(allow("jared")), prune(func(r *PruneRule) { r.InactiveFor = 0 })),
			},
			want: refuse(ReasonNotListed, 1, ""),
		},
		"an empty account prefix admits nobody": {
			policies: []Policy{
				policyNamed("p", 1, joining(func(j *JoinSection) {
					j.Allow = &AccountSelector{Prefixes: []string{""}}
				})),
			},
			want: refuse(ReasonNotListed, 1, ""),
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			in := Input{Apps: []App{prodApp()}, Lists: tc.lists, Policies: tc.policies}
			if tc.app != nil {
				in.Apps[0] = *tc.app
			}
			q := ask
			if tc.query != nil {
				tc.query(&q)
			}
			got := Compile(in).App(appID).DecideJoin(q)
			// TestDecideJoinIsTheModel tests which ones decided.
			got.Policy, got.AuditReason, got.AuditPolicy = nil, 0, nil
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("DecideJoin(%+v) (-want,+got):\n%s", q, diff)
			}
		})
	}
}

func TestLongIDs(t *testing.T) {
	long := make([]byte, 300)
	for i := range long {
		long[i] = 'x'
	}
	app := Compile(world(
		policyNamed("p", 1, joining(allow(string(long), string(long[:255])))),
		policyNamed("q", 2, joining(func(j *JoinSection) { j.Deny = &AccountSelector{Prefixes: []string{"xx"}} }),
			on(exact("staff"))),
	)).App(appID)
	tests := map[string]struct {
		group, account string
		want           Reason
	}{
		"255 bytes can be listed":          {account: string(long[:255]), want: ReasonAllowed},
		"256 bytes are on no list":         {account: string(long[:256]), want: ReasonNotListed},
		"300 bytes are on no list":         {account: string(long), want: ReasonNotListed},
		"prefixes hold whatever follows":   {group: "staff", account: string(long), want: ReasonDenied},
		"a long group id matches as usual": {group: string(long), account: "jared", want: ReasonNotListed},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := app.DecideJoin(JoinQuery{Group: tc.group, Account: tc.account}).Reason; got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestDecideJoinAllocatesNothing(t *testing.T) {
	in := world(
		policyNamed("a", 1, on(exact("vip-1"), prefix("vip-"), prefix("v"), all()),
			joining(allow("jared"), reject(10110, "Members only"))),
		policyNamed("b", 2, on(prefix("vip")), joining(audit,
			func(j *JoinSection) { j.Deny = &AccountSelector{Prefixes: []string{"a", "m"}} })),
		policyNamed("c", 3, joining(func(j *JoinSection) { j.Deny = byListName("bad") })),
	)
	// Longer than what Go copies to the stack when it turns bytes into a string.
	long := "an-account-with-a-name-of-more-than-thirty-two-bytes"
	in.Lists = []List{listNamed("bad", nil, "mallory", long)}
	app := Compile(in).App(appID)
	for _, account := range []string{"jared", "mallory", long, "nobody"} {
		for _, group := range []string{"vip-1", "vip-2", "other"} {
			q := JoinQuery{Group: group, Type: TypePublic, Account: account}
			if got := testing.AllocsPerRun(100, func() { app.DecideJoin(q) }); got != 0 {
				t.Errorf("DecideJoin(%+v): %v allocations, want 0", q, got)
			}
		}
	}
}
