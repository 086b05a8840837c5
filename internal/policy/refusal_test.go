package policy

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// recordOf returns what a run recorded of the group vip-1.
func recordOf(run string, edit func(*Refusal), accounts ...string) Refusal {
	r := Refusal{Namespace: "chat", App: "prod", Group: "vip-1", UID: run, Accounts: accounts}
	edit(&r)
	return r
}

func refusing(until time.Time, code int32, message string) func(*Refusal) {
	return func(r *Refusal) { r.Until, r.Reject = until, Rejection{Code: code, Message: message} }
}

func restoring(r *Refusal) { r.Restoring = true }

func TestRecords(t *testing.T) {
	later := now.Add(time.Hour)
	pruned := func(code int32, message string) Verdict {
		return Verdict{Reason: ReasonPruned, Code: code, Message: message}
	}
	admit := func(r Reason) Verdict { return Verdict{Admit: true, Reason: r} }
	refuse := func(r Reason) Verdict { return Verdict{Reason: r, Code: 1} }
	differing := func(v Verdict) Verdict { v.AuditDiffers = true; return v }
	refusal := recordOf("a", refusing(later, 10120, "Come back later"), "tommy", "jared")
	beingRestored := recordOf("a", restoring, "tommy", "jared")
	asAdmin := func(q *JoinQuery) { q.Trigger, q.Operator = TriggerRESTAPI, "administrator" }
	restored := recordOf("a", func(r *Refusal) { r.Restored, r.Until = true, later }, "tommy", "jared")
	reported := func(q *JoinQuery) { asAdmin(q); q.Reported = true }
	nobodysApp := func(a *App) { a.AdminAccount = "" }

	tests := map[string]struct {
		app      func(*App)
		apps     []App
		policies []Policy
		records  []Refusal
		query    func(*JoinQuery)
		want     Verdict
	}{
		"0: an application is refused": {records: []Refusal{refusal}, want: pruned(10120, "Come back later")},
		"0: an invitation is refused": {
			records: []Refusal{refusal}, query: func(q *JoinQuery) { q.Trigger = TriggerInvite },
			want: pruned(10120, "Come back later"),
		},
		"0: an addition over REST is not": {
			records: []Refusal{refusal}, query: func(q *JoinQuery) { q.Trigger = TriggerRESTAPI },
			want: admit(ReasonUnmatched),
		},
		"0: a trigger that does not exist opens nothing": {
			records: []Refusal{refusal}, query: func(q *JoinQuery) { q.Trigger = 77 },
			want: pruned(10120, "Come back later"),
		},
		"0 beats 2: allowed, and refused all the same": {
			records: []Refusal{refusal}, policies: []Policy{policyNamed("p", 1, joining(allow("jared")))},
			want: pruned(10120, "Come back later"),
		},
		"0 comes before 1: the words of the record": {
			records: []Refusal{refusal}, policies: []Policy{policyNamed("p", 1,
				joining(deny("jared"), reject(10110, "No")))}, want: pruned(10120, "Come back later"),
		},
		"0 is the same for the audited answer": {
			records: []Refusal{refusal}, policies: []Policy{
				policyNamed("p", 1, joining(audit, allow("jared"))), policyNamed("q", 2, joining(allow())),
			},
			want: pruned(10120, "Come back later"),
		},
		"0: the moment before it ends": {
			records: []Refusal{refusal}, query: func(q *JoinQuery) { q.Now = later.Add(-1) },
			want: pruned(10120, "Come back later"),
		},
		"0: the moment it ends": {
			records: []Refusal{refusal}, query: func(q *JoinQuery) { q.Now = later }, want: admit(ReasonUnmatched),
		},
		"0: without a time of the query nobody comes back": {
			records: []Refusal{refusal}, query: func(q *JoinQuery) { q.Now = time.Time{} },
			want: pruned(10120, "Come back later"),
		},
		"0: another SDKAppID under the name of the app": {
			records: []Refusal{recordOf("a", func(r *Refusal) { *r = refusal; r.SDKAppID = 2 })},
			want:    admit(ReasonUnmatched),
		},
		"0: the SDKAppID under another name": {
			records: []Refusal{recordOf("a", func(r *Refusal) {
				*r = refusal
				r.App, r.SDKAppID = "before", appID
			})},
			want: pruned(10120, "Come back later"),
		},
		"0: another account": {
			records: []Refusal{refusal}, query: func(q *JoinQuery) { q.Account = "Jared" },
			want: admit(ReasonUnmatched),
		},
		"0: another group": {
			records: []Refusal{refusal}, query: func(q *JoinQuery) { q.Group = "vip-10" }, want: admit(ReasonUnmatched),
		},
		"0: a code that reaches nobody counts as unset": {
			records: []Refusal{recordOf("a", refusing(later, 0, "Come back later"), "jared")}, want: pruned(1, ""),
		},
		"0: code 1 has no message": {
			records: []Refusal{recordOf("a", refusing(later, 1, "Come back later"), "jared")}, want: pruned(1, ""),
		},
		"0: of several, the one that ends last": {
			records: []Refusal{
				recordOf("a", refusing(later, 10101, "not this"), "jared"),
				recordOf("b", refusing(later.Add(2), 10199, "nor of another"), "tommy"),
				recordOf("c", refusing(later.Add(1), 10120, "this"), "jared"),
			}, want: pruned(10120, "this"),
		},
		"0: of several that end together, the lowest code": {
			records: []Refusal{
				recordOf("a", refusing(later, 10121, "not this"), "jared"),
				recordOf("b", refusing(later, 10120, "this"), "jared"),
			}, want: pruned(10120, "this"),
		},
		"0: then by message": {
			records: []Refusal{
				recordOf("a", refusing(later, 10120, "this too"), "jared"),
				recordOf("b", refusing(later, 10120, "this"), "jared"),
			}, want: pruned(10120, "this"),
		},
		"0: one that is over does not hide one that is not": {
			records: []Refusal{recordOf("b", refusing(now.Add(-1), 10101, ""), "jared"), refusal},
			want:    pruned(10120, "Come back later"),
		},
		"a record without an end that restores nobody is ignored": {
			records: []Refusal{recordOf("a", refusing(time.Time{}, 10120, ""), "jared")}, query: func(q *JoinQuery) {
				q.Now = time.Time{}
			},
			want: admit(ReasonUnmatched),
		},
		"a record of an app that does not exist is ignored": {
			records: []Refusal{recordOf("a", func(r *Refusal) { r.Until, r.App = later, "staging" }, "jared")},
			want:    admit(ReasonUnmatched),
		},
		"a record of another namespace is ignored": {
			records: []Refusal{recordOf("a", func(r *Refusal) { r.Until, r.Namespace = later, "other" }, "jared")},
			want:    admit(ReasonUnmatched),
		},
		"a record of a conflicted app is ignored": {
			apps:    []App{{Object: object("late", 9), SDKAppID: appID}},
			records: []Refusal{recordOf("a", func(r *Refusal) { r.Until, r.App = later, "late" }, "jared")},
			want:    admit(ReasonUnmatched),
		},

		"1b: restored past a gate": {
			records: []Refusal{beingRestored}, query: asAdmin,
			policies: []Policy{policyNamed("p", 1, joining(allow()))}, want: admit(ReasonRestored),
		},
		"1b: restored where unmatched groups are closed": {
			app: func(a *App) { a.RejectUnmatched = true }, records: []Refusal{beingRestored}, query: asAdmin,
			want: admit(ReasonRestored),
		},
		"1 beats 1b: denied": {
			records: []Refusal{beingRestored}, query: asAdmin,
			policies: []Policy{policyNamed("p", 1, joining(deny("jared")))}, want: refuse(ReasonDenied),
		},
		"1b: an audit section that denies is a difference": {
			records: []Refusal{beingRestored}, query: asAdmin, policies: []Policy{
				policyNamed("p", 1, joining(audit, deny("jared"))),
			},
			want: differing(admit(ReasonRestored)),
		},
		"1b: an audit section that has a gate is none": {
			records: []Refusal{beingRestored}, query: asAdmin,
			policies: []Policy{policyNamed("p", 1, joining(audit, allow()))}, want: admit(ReasonRestored),
		},
		"1b: not for an application, whoever claims to be the operator": {
			records: []Refusal{beingRestored}, query: func(q *JoinQuery) { q.Operator = "administrator" },
			policies: []Policy{policyNamed("p", 1, joining(allow()))}, want: refuse(ReasonNotListed),
		},
		"1b: not for an invitation": {
			records: []Refusal{beingRestored}, query: func(q *JoinQuery) {
				q.Operator, q.Trigger = "administrator", TriggerInvite
			},
			policies: []Policy{policyNamed("p", 1, joining(allow()))}, want: refuse(ReasonNotListed),
		},
		"1b: not for a trigger that does not exist": {
			records: []Refusal{beingRestored}, query: func(q *JoinQuery) {
				q.Operator, q.Trigger = "administrator", 77
			},
			policies: []Policy{policyNamed("p", 1, joining(allow()))}, want: refuse(ReasonNotListed),
		},
		"1b: not by another operator": {
			records: []Refusal{beingRestored}, query: func(q *JoinQuery) {
				q.Operator, q.Trigger = "Administrator", TriggerRESTAPI
			},
			policies: []Policy{policyNamed("p", 1, joining(allow()))}, want: refuse(ReasonNotListed),
		},
		"1b: not without an operator": {
			records: []Refusal{beingRestored}, query: func(q *JoinQuery) { q.Trigger = TriggerRESTAPI },
			policies: []Policy{policyNamed("p", 1, joining(allow()))}, want: refuse(ReasonNotListed),
		},
		"1b: nobody is the admin of an app that names none": {
			app: nobodysApp, records: []Refusal{beingRestored}, query: func(q *JoinQuery) {
				q.Trigger = TriggerRESTAPI
			},
			policies: []Policy{policyNamed("p", 1, joining(allow()))}, want: refuse(ReasonNotListed),
		},
		"1b: not for an account that is not being restored": {
			records: []Refusal{beingRestored}, query: func(q *JoinQuery) { asAdmin(q); q.Account = "mallory" },
			policies: []Policy{policyNamed("p", 1, joining(allow()))}, want: refuse(ReasonNotListed),
		},
		"1b: not in another group": {
			records: []Refusal{beingRestored}, query: func(q *JoinQuery) { asAdmin(q); q.Group = "vip-2" },
			policies: []Policy{policyNamed("p", 1, joining(allow()))}, want: refuse(ReasonNotListed),
		},
		"1b: a record that refuses restores nobody": {
			records: []Refusal{refusal}, query: asAdmin, policies: []Policy{policyNamed("p", 1, joining(allow()))},
			want: refuse(ReasonNotListed),
		},
		"a record that restores refuses nobody": {records: []Refusal{beingRestored}, want: admit(ReasonUnmatched)},
		"restored, which is reported afterwards": {
			records: []Refusal{restored}, query: reported,
			policies: []Policy{policyNamed("p", 1, joining(allow()))}, want: admit(ReasonRestored),
		},
		"restored, and denied": {
			records: []Refusal{restored}, query: reported,
			policies: []Policy{policyNamed("p", 1, joining(deny("jared")))}, want: refuse(ReasonDenied),
		},
		"restored, and another joined": {
			records: []Refusal{restored}, query: func(q *JoinQuery) { reported(q); q.Account = "mallory" },
			policies: []Policy{policyNamed("p", 1, joining(allow()))}, want: refuse(ReasonNotListed),
		},
		"restored, and reported too late": {
			records: []Refusal{restored}, query: func(q *JoinQuery) { reported(q); q.Now = later },
			policies: []Policy{policyNamed("p", 1, joining(allow()))}, want: refuse(ReasonNotListed),
		},
		"restored, and added once more": {
			records: []Refusal{restored}, query: asAdmin,
			policies: []Policy{policyNamed("p", 1, joining(allow()))}, want: refuse(ReasonNotListed),
		},
		"restored, and not refused": {records: []Refusal{restored}, want: admit(ReasonUnmatched)},
		"one run restores what another refuses": {
			records: []Refusal{refusal, recordOf("b", restoring, "jared")}, query: asAdmin,
			policies: []Policy{policyNamed("p", 1, joining(allow()))}, want: admit(ReasonRestored),
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			in := Input{Apps: append([]App{prodApp()}, tc.apps...), Policies: tc.policies}
			if tc.app != nil {
				tc.app(&in.Apps[0])
			}
			q := JoinQuery{Group: "vip-1", Type: TypePublic, Account: "jared", Trigger: TriggerApply, Now: now}
			if tc.query != nil {
				tc.query(&q)
			}
			permutations(tc.records, func(records []Refusal) {
				in.Refusals = records
				got := Compile(in).App(appID).DecideJoin(q)
				// TestDecideJoinIsTheModel tests which ones decided.
				got.Policy, got.AuditReason, got.AuditPolicy = nil, 0, nil
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("DecideJoin(%+v) of %+v (-want,+got):\n%s", q, records, diff)
				}
			})
		})
	}
}

func TestRecordsInTheHash(t *testing.T) {
	base := func() Input {
		in := world()
		in.Refusals = []Refusal{
			recordOf("a", refusing(now, 10120, "m"), "jared", "tommy"), recordOf("b", restoring, "x"),
			recordOf("c", refusing(now, 10120, "m"), "y"),
		}
		return in
	}
	want, rules := Compile(base()).Hash(), Compile(base()).RulesHash()
	for name, edit := range map[string]func(*Input){
		"group":     func(in *Input) { in.Refusals[0].Group = "vip-2" },
		"account":   func(in *Input) { in.Refusals[0].Accounts[0] = "jareD" },
		"until":     func(in *Input) { in.Refusals[0].Until = now.Add(1) },
		"code":      func(in *Input) { in.Refusals[0].Reject.Code++ },
		"message":   func(in *Input) { in.Refusals[0].Reject.Message = "n" },
		"restoring": func(in *Input) { in.Refusals[0].Restoring = true },
		"restored":  func(in *Input) { in.Refusals[0].Restored = true },
		"gone":      func(in *Input) { in.Refusals = in.Refusals[1:] },
		"over":      func(in *Input) { in.Refusals[1].Restoring = false },
		"app":       func(in *Input) { in.Refusals[0].App = "staging" },
	} {
		in := base()
		edit(&in)
		got := Compile(in)
		if got.Hash() == want {
			t.Errorf("%s does not change the hash", name)
		}
		if got.RulesHash() != rules {
			t.Errorf("%s changes the hash of the rules", name)
		}
	}
	for name, edit := range map[string]func(*Input){
		"another run":       func(in *Input) { in.Refusals[0].UID, in.Refusals[1].UID = "z", "a" },
		"another order":     func(in *Input) { in.Refusals[0], in.Refusals[2] = in.Refusals[2], in.Refusals[0] },
		"another time zone": func(in *Input) { in.Refusals[0].Until = now.In(time.FixedZone("CST", 8*3600)) },
		"a record of nobody": func(in *Input) {
			in.Refusals = append(in.Refusals, recordOf("z", refusing(now, 10120, "m")))
		},
		"a record of no app": func(in *Input) {
			in.Refusals = append(in.Refusals, recordOf("z", func(r *Refusal) { r.Until, r.App = now, "none" }, "x"))
		},
		"a record that says nothing": func(in *Input) {
			in.Refusals = append(in.Refusals, recordOf("z", func(*Refusal) {}, "x"))
		},
	} {
		in := base()
		edit(&in)
		if Compile(in).Hash() != want {
			t.Errorf("%s changes the hash", name)
		}
	}
}

func TestDecideJoinAllocatesNothingForRecords(t *testing.T) {
	in := world(policyNamed("p", 1, joining(allow())))
	in.Refusals = []Refusal{
		recordOf("a", refusing(now, 10120, "Come back later"), "jared"),
		recordOf("b", refusing(now.Add(1), 10121, ""), "tommy"), recordOf("c", restoring, "jared"),
	}
	app := Compile(in).App(appID)
	for _, account := range []string{"jared", "tommy", "nobody"} {
		for _, trigger := range []Trigger{TriggerApply, TriggerRESTAPI} {
			q := JoinQuery{
				Group: "vip-1", Account: account, Trigger: trigger, Operator: "administrator", Now: now.Add(-1),
			}
			if got := testing.AllocsPerRun(100, func() { app.DecideJoin(q) }); got != 0 {
				t.Errorf("DecideJoin(%+v): %v allocations, want 0", q, got)
			}
		}
	}
}

// manyRecords returns those of groups that have each had so many accounts removed.
func manyRecords(groups, accounts int) []Refusal {
	records := make([]Refusal, groups)
	for i := range records {
		r := &records[i]
		*r = Refusal{
			Namespace: "chat", App: "prod", Group: fmt.Sprintf("@TGS#%08d", i), UID: fmt.Sprintf("run-%08d", i),
			Until: now, Accounts: make([]string, accounts),
		}
		for j := range r.Accounts {
			r.Accounts[j] = fmt.Sprintf("a-removed-account-%08d", i*accounts+j)
		}
	}
	return records
}

func BenchmarkCompileRecords(b *testing.B) {
	in := benchmarkInput(1000, 1_000_000)
	in.Refusals = manyRecords(1000, 1000)
	b.Run("Cold", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			Compile(in)
		}
	})
	b.Run("OneBatchRecorded", func(b *testing.B) {
		var c Compiler
		c.compile(in)
		b.ReportAllocs()
		for b.Loop() {
			c.SetRefusal(in.Refusals[0])
			c.Build()
		}
	})
}

func BenchmarkDecideJoinWithRecords(b *testing.B) {
	in := benchmarkInput(1000, 1_000_000)
	in.Refusals = manyRecords(1000, 1000)
	app := Compile(in).App(appID)
	for name, q := range map[string]JoinQuery{
		"Refused":    {Group: "@TGS#00000007", Account: "a-removed-account-00007123", Now: now.Add(-1)},
		"NotRefused": {Group: "@TGS#00000007", Account: "account-00007123", Now: now.Add(-1)},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				app.DecideJoin(q)
			}
		})
	}
}
