package simulate

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/decisionlog"
	"github.com/groupgate/groupgate/internal/manifests"
	"github.com/groupgate/groupgate/internal/policy"
)

var (
	someAccounts = []string{"anna", "boris", "chen", "staff-ann", "administrator", `"odd"` + "\u2028"}
	someGroups   = []string{"vip-1", "vip-2", "lobby", "@TGS#1"}
	someTime     = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
)

func drawSelector(t *rapid.T, prefixes bool) *v1alpha1.AccountSelector {
	if rapid.IntRange(0, 2).Draw(t, "no selector") == 0 {
		return nil
	}
	s := &v1alpha1.AccountSelector{Accounts: rapid.SliceOfN(rapid.SampledFrom(someAccounts), 0, 3).Draw(t, "accounts")}
	if prefixes && rapid.Bool().Draw(t, "a prefix") {
		s.AccountPrefixes = []string{rapid.SampledFrom([]string{"staff-", "a", "x"}).Draw(t, "prefix")}
	}
	for _, list := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"one", "two", "gone"}), 0, 2,
		rapid.ID[string]).Draw(t, "lists") {
		s.Lists = append(s.Lists, v1alpha1.AccountListReference{Name: list})
	}
	return s
}

func drawPolicies(t *rapid.T, prefixes bool) []v1alpha1.GroupPolicy {
	var policies []v1alpha1.GroupPolicy
	for _, name := range []string{"a", "b", "c", "d"}[:rapid.IntRange(0, 4).Draw(t, "policies")] {
		p := v1alpha1.GroupPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "chat", Name: name, UID: types.UID(name)}}
		p.Spec.AppRef.Name = rapid.SampledFrom([]string{"prod", "prod", "test"}).Draw(t, "app")
		p.Spec.Groups = []v1alpha1.GroupMatcher{rapid.SampledFrom([]v1alpha1.GroupMatcher{
			{Type: "All"}, {Type: "Prefix", Value: "vip-"}, {Type: "Exact", Value: "vip-1"},
		}).Draw(t, "matcher")}
		if rapid.Bool().Draw(t, "types") {
			p.Spec.GroupTypes = []v1alpha1.GroupType{v1alpha1.GroupTypePublic}
		}
		join := &v1alpha1.JoinSection{Allow: drawSelector(t, prefixes), Deny: drawSelector(t, prefixes)}
		join.Mode = rapid.SampledFrom([]v1alpha1.JoinMode{"Enforce", "Enforce", "Audit"}).Draw(t, "mode")
		if rapid.Bool().Draw(t, "triggers") {
			join.Triggers = []v1alpha1.JoinTrigger{v1alpha1.JoinTriggerInvite}
		}
		if rapid.Bool().Draw(t, "reject") {
			join.Reject = &v1alpha1.Rejection{Code: new(int32(10110)), Message: "Members only"}
		}
		p.Spec.Join = join
		policies = append(policies, p)
	}
	return policies
}

func drawObjects(t *rapid.T, prefixes bool) *manifests.Objects {
	o := &manifests.Objects{Policies: drawPolicies(t, prefixes), FromFiles: rapid.Bool().Draw(t, "from files")}
	for i, name := range []string{"prod", "test"} {
		app := v1alpha1.IMApp{ObjectMeta: metav1.ObjectMeta{Namespace: "chat", Name: name, UID: types.UID(name)}}
		app.Spec.SDKAppID, app.Spec.AdminAccount = int64(1400000000+i), "administrator"
		app.Spec.UnmatchedGroups = rapid.SampledFrom([]v1alpha1.UnmatchedGroups{"Allow", "Reject"}).Draw(t, "unmatched")
		o.Apps = append(o.Apps, app)
	}
	for _, name := range []string{"one", "two"} {
		list := v1alpha1.AccountList{ObjectMeta: metav1.ObjectMeta{Namespace: "chat", Name: name, UID: types.UID(name)}}
		list.Spec.Accounts = rapid.SliceOfN(rapid.SampledFrom(someAccounts), 0, 3).Draw(t, "listed")
		o.Lists = append(o.Lists, list)
	}
	if rapid.Bool().Draw(t, "a run") {
		o.Runs = append(o.Runs, drawRun(t))
	}
	return o
}

// drawRun returns one that removed or adds back some accounts of a group.
func drawRun(t *rapid.T) v1alpha1.PruneRun {
	run := v1alpha1.PruneRun{ObjectMeta: metav1.ObjectMeta{Namespace: "chat", Name: "run", UID: "run"}}
	run.Spec.AppRef.Name, run.Spec.GroupID = "prod", "vip-1"
	accounts := []string{"anna", "boris"}
	if rapid.Bool().Draw(t, "undone") {
		run.Status.Undo = &v1alpha1.PruneUndo{}
		for _, account := range accounts {
			run.Status.Undo.Accounts = append(run.Status.Undo.Accounts, v1alpha1.RestoredAccount{Account: account})
		}
		return run
	}
	run.Status.Plan = &v1alpha1.PrunePlan{}
	for _, account := range accounts {
		run.Status.Plan.Removals = append(run.Status.Plan.Removals, v1alpha1.PlannedRemoval{Account: account})
	}
	run.Status.Progress = &v1alpha1.PruneProgress{Settled: int32(len(accounts))}
	run.Status.Refuse = &v1alpha1.PruneRefusal{Until: metav1.NewTime(someTime), Code: 10150}
	return run
}

func drawQueries(t *rapid.T) []policy.JoinQuery {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) policy.JoinQuery {
		q := policy.JoinQuery{
			Group:   rapid.SampledFrom(someGroups).Draw(t, "group"),
			Type:    policy.GroupType(rapid.IntRange(0, int(policy.TypeCommunity)).Draw(t, "type")),
			Account: rapid.SampledFrom(append(someAccounts, "stranger")).Draw(t, "account"),
			Trigger: policy.Trigger(rapid.IntRange(0, int(policy.TriggerRESTAPI)).Draw(t, "trigger")),
			Now:     someTime.Add(time.Duration(rapid.IntRange(-2000, 2000).Draw(t, "ms")) * time.Millisecond),
		}
		if q.Trigger != policy.TriggerApply {
			q.Operator = rapid.SampledFrom([]string{"", "administrator", "anna"}).Draw(t, "operator")
		}
		return q
	}), 1, 40).Draw(t, "queries")
}

// logOf returns the log of the decisions on the queries about chat/prod.
func logOf(t failing, c *manifests.Compiled, queries []policy.JoinQuery, key *decisionlog.Accounts) *bytes.Buffer {
	var out bytes.Buffer
	log := decisionlog.NewLog(decisionlog.Options{Out: &out, All: true, Accounts: key}, prometheus.NewRegistry(),
		logr.Discard())
	app := c.AppNamed("chat", "prod")
	if app == nil {
		t.Fatalf("there is no app")
	}
	for _, q := range queries {
		v := app.DecideJoin(q)
		log.Add(decisionlog.New("chat/prod", c.Hash(), &q, &v))
	}
	ctx, end := context.WithCancel(context.WithoutCancel(t.Context()))
	end()
	log.Run(ctx)
	return &out
}

type failing interface {
	Fatalf(string, ...any)
	Context() context.Context
}

func reportOn(t failing, o Options, log *bytes.Buffer) *Report {
	s, err := New(o)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	if err := s.Read("log", log); err != nil {
		t.Fatalf("Read: %v", err)
	}
	report, err := s.Report()
	switch left := s.report.Skipped; {
	case err != nil && s.report.Decisions == 0 && left != (Skipped{}):
		return &s.report // all decisions were left out, which is an error by itself
	case err != nil:
		t.Fatalf("Report: %v", err)
	}
	return report
}

func hashes(t failing) *decisionlog.Accounts {
	accounts, err := decisionlog.Hashed(policy.Secret(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatalf("Hashed: %v", err)
	}
	return accounts
}

// A difference that is found where nothing changed would be one between the tool and the callback server.
func TestReplayingTheSameManifestsFindsNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		objects, queries := drawObjects(t, true), drawQueries(t)
		for _, before := range []*manifests.Objects{nil, objects} {
			r := reportOn(t, Options{Now: objects, Before: before}, logOf(t, objects.Compile(), queries, nil))
			if r.Opened+r.Closed+len(r.Changes) != 0 || r.Decisions != len(queries) || r.Skipped != (Skipped{}) {
				t.Fatalf("against the same (%t): %+v", before != nil, r)
			}
		}
	})
}

// The same with the hashes of the accounts: prefixes alone cannot be told.
func TestReplayingHashedAccountsFindsNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prefixes := rapid.Bool().Draw(t, "prefixes")
		objects, queries := drawObjects(t, prefixes), drawQueries(t)
		log := logOf(t, objects.Compile(), queries, hashes(t))
		s, err := New(Options{Now: objects, Accounts: hashes(t)})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Read("log", log); err != nil {
			t.Fatal(err)
		}
		r := &s.report
		if r.Opened+r.Closed != 0 || r.Decisions+r.Skipped.Prefixes != len(queries) ||
			!prefixes && r.Skipped != (Skipped{}) {
			t.Fatalf("%+v", r)
		}
	})
}

// Every decision that other policies would make otherwise is counted, whatever it is compared with, and no other is.
func TestChangesAreThoseOfTheDecisions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, queries := drawObjects(t, true), drawQueries(t)
		now := *before
		now.Policies, now.Runs = drawPolicies(t, true), nil
		now.FromFiles = false
		compiled := before.Compile()
		before.Runs = slices.Clone(before.Runs)
		was, is := compiled.AppNamed("chat", "prod"), now.Compile().AppNamed("chat", "prod")
		var opened, closed, runs int
		var names []string
		for _, q := range queries {
			a, b := was.DecideJoin(q), is.DecideJoin(q)
			byRun := a.Reason == policy.ReasonPruned || a.Reason == policy.ReasonRestored
			switch {
			case a.Admit == b.Admit:
				continue
			case byRun:
				runs++
				continue
			case b.Admit:
				opened++
			default:
				closed++
			}
			names = append(names, q.Group+" "+q.Account)
		}
		slices.Sort(names)
		names = slices.Compact(names)
		r := reportOn(t, Options{Now: &now}, logOf(t, compiled, queries, nil))
		if r.Opened != opened || r.Closed != closed || r.Skipped.Runs != runs || r.Decisions != len(queries)-runs {
			t.Fatalf("%+v, want %d opened, %d closed, %d by runs", r, opened, closed, runs)
		}
		var decisions int
		for _, c := range r.Changes {
			decisions += c.Decisions
			for _, example := range c.Examples {
				if _, found := slices.BinarySearch(names, c.Group+" "+example); !found {
					t.Fatalf("%+v names %s", c, example)
				}
			}
		}
		if decisions != opened+closed {
			t.Fatalf("changes of %d decisions, want %d", decisions, opened+closed)
		}
		r = reportOn(t, Options{Now: &now, Before: before}, logOf(t, compiled, queries, nil))
		if r.Opened < opened || r.Closed < closed || r.Opened+r.Closed > opened+closed+runs {
			t.Fatalf("against the objects: %+v, want %d opened, %d closed, up to %d by runs", r, opened, closed, runs)
		}
	})
}
