package controllers

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// evicting applies the list "members" and a policy that evicts who is not on it, and publishes them.
func (w *world) evicting(name string, groups v1alpha1.GroupMatcher, members ...string) {
	w.t.Helper()
	list := newList(w.Namespace, "members", nil, members...)
	labtest.Must(w.t, client.IgnoreAlreadyExists(w.Client.Create(w.t.Context(), list)))
	labtest.Must(w.t, w.Client.Create(w.t.Context(), &v1alpha1.GroupPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name},
		Spec: v1alpha1.GroupPolicySpec{
			AppRef: v1alpha1.AppReference{Name: labtest.App}, Groups: []v1alpha1.GroupMatcher{groups},
			Join: &v1alpha1.JoinSection{
				Allow: &v1alpha1.AccountSelector{Lists: []v1alpha1.AccountListReference{{Name: "members"}}},
				Evict: &v1alpha1.EvictRule{Mode: v1alpha1.PruneModePreview},
			},
		},
	}))
	w.Publish()
}

func exactly(group string) v1alpha1.GroupMatcher {
	return v1alpha1.GroupMatcher{Type: v1alpha1.GroupMatcherExact, Value: group}
}

func beginningWith(prefix string) v1alpha1.GroupMatcher {
	return v1alpha1.GroupMatcher{Type: v1alpha1.GroupMatcherPrefix, Value: prefix}
}

// list sets who is on the list "members", and publishes it.
func (w *world) list(members ...string) {
	w.t.Helper()
	change(w, &v1alpha1.AccountList{}, "members", func(l *v1alpha1.AccountList) { l.Spec.Accounts = members })
	w.Publish()
}

func (w *world) strangers() *Strangers {
	return &Strangers{
		Client: w.Client, Live: w.Client, Snapshots: w.Store, Now: w.Clock.Now, Log: logr.Discard(),
		Metrics: NewEvictMetrics(prometheus.NewRegistry(), w.Clock.Now),
	}
}

func (w *world) leak(account string) policy.Leak {
	return policy.Leak{
		App: w.object(), Group: "lounge", Type: policy.TypePublic, Account: account, Reason: policy.ReasonNotListed,
	}
}

func (w *world) keyOf(group string) prunerun.Key {
	return prunerun.Key{Namespace: w.Namespace, App: labtest.App, Group: group}
}

// examine examines a group once, as a worker does.
func (w *world) examine(s *Strangers, group string) (again time.Duration) {
	w.t.Helper()
	again, err := s.examine(w.t.Context(), w.keyOf(group), false)
	labtest.Must(w.t, err)
	return again
}

// examineAll examines every group that is kept.
func (w *world) examineAll(s *Strangers) {
	w.t.Helper()
	s.init()
	s.mu.Lock()
	var keys []prunerun.Key
	for key := range s.groups {
		keys = append(keys, key)
	}
	s.mu.Unlock()
	for _, key := range keys {
		w.examine(s, key.Group)
	}
}

// evictions are the runs that evict members: "group trigger accounts", sorted.
func (w *world) evictions() []string {
	w.t.Helper()
	var list v1alpha1.PruneRunList
	labtest.Must(w.t, w.Client.List(w.t.Context(), &list, client.InNamespace(w.Namespace)))
	got := []string{}
	for _, run := range list.Items {
		if run.Spec.Purpose != v1alpha1.PrunePurposeEvict {
			w.t.Errorf("run %s has purpose %s", run.Name, run.Spec.Purpose)
		}
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s", run.Spec.GroupID, run.Spec.Trigger,
			strings.Join(run.Spec.Accounts, ","))))
	}
	slices.Sort(got)
	return got
}

func (w *world) hasEvictions(want ...string) {
	w.t.Helper()
	if want == nil {
		want = []string{}
	}
	if diff := cmp.Diff(want, w.evictions()); diff != "" {
		w.t.Errorf("runs that evict (-want,+got)\n%s", diff)
	}
}

const testGrace = 10 * time.Minute // the default

func TestLeakedMembersHaveARunWhenTheirGraceEnds(t *testing.T) {
	w := newWorld(t)
	w.evicting("lounge", exactly("lounge"), "alice")
	s := w.strangers()
	for _, account := range []string{"mallory", "oscar", "trudy"} {
		s.Leaked(w.leak(account))
		w.Clock.Forward(15 * time.Second)
	}
	w.Clock.Forward(time.Minute)
	s.Leaked(w.leak("late"))
	w.Clock.Forward(testGrace - time.Minute - 45*time.Second - time.Second)
	w.examine(s, "lounge")
	w.hasEvictions()
	w.Clock.Forward(time.Second)
	w.examine(s, "lounge")
	w.hasEvictions() // the others follow soon
	w.Clock.Forward(30 * time.Second)
	w.examine(s, "lounge")
	w.hasEvictions("lounge Leak mallory,oscar,trudy")
	if got := s.kept; got != 1 {
		t.Errorf("%d accounts are kept, want the one in grace", got)
	}
}

func TestLeaksThatNeedNoRun(t *testing.T) {
	tests := map[string]func(w *world, s *Strangers){
		"the list has been corrected": func(w *world, s *Strangers) {
			s.Leaked(w.leak("mallory"))
			w.list("alice", "mallory")
		},
		"no policy evicts from the group": func(w *world, s *Strangers) {
			leak := w.leak("mallory")
			leak.Group = "other"
			s.Leaked(leak)
		},
		"a run was refused, not the policy": func(w *world, s *Strangers) {
			leak := w.leak("mallory")
			leak.Reason = policy.ReasonPruned
			s.Leaked(leak)
		},
		"a live room": func(w *world, s *Strangers) {
			leak := w.leak("mallory")
			leak.Type = policy.TypeAVChatRoom
			s.Leaked(leak)
		},
		"evict was taken out": func(w *world, s *Strangers) {
			s.Leaked(w.leak("mallory"))
			change(w, &v1alpha1.GroupPolicy{}, "lounge", func(p *v1alpha1.GroupPolicy) { p.Spec.Join.Evict = nil })
			w.Publish()
		},
		"an unfinished run names the account": func(w *world, s *Strangers) {
			labtest.Must(w.t, w.Client.Create(w.t.Context(), w.evictRun("by-hand", "mallory")))
			s.Leaked(w.leak("mallory"))
		},
		"the plan of an unfinished run has the account": func(w *world, s *Strangers) {
			labtest.Must(w.t, w.Client.Create(w.t.Context(), w.evictRun("by-hand", "mallory")))
			w.planned("by-hand", 1)
			s.Leaked(w.leak("mallory"))
		},
	}
	for name, happens := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.evicting("lounge", exactly("lounge"), "alice")
			s := w.strangers()
			happens(w, s)
			before := w.evictions()
			w.Clock.Forward(testGrace)
			w.examineAll(s)
			w.hasEvictions(before...)
			if len(s.groups) != 0 || s.kept != 0 {
				t.Errorf("%d groups are kept with %d accounts", len(s.groups), s.kept)
			}
		})
	}
}

func (w *world) evictRun(name string, accounts ...string) *v1alpha1.PruneRun {
	return &v1alpha1.PruneRun{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name},
		Spec: v1alpha1.PruneRunSpec{
			AppRef: v1alpha1.AppReference{Name: labtest.App}, GroupID: "lounge",
			Purpose: v1alpha1.PrunePurposeEvict, Trigger: v1alpha1.PruneTriggerManual, Accounts: accounts,
		},
	}
}

func TestStrangersWaitForTheRunOfTheirGroup(t *testing.T) {
	w := newWorld(t)
	w.evicting("lounge", exactly("lounge"), "alice")
	s := w.strangers()
	s.Leaked(w.leak("mallory"))
	w.Clock.Forward(testGrace)
	w.examine(s, "lounge")
	s.Leaked(w.leak("oscar"))
	w.Clock.Forward(testGrace)
	w.examine(s, "lounge")
	w.hasEvictions("lounge Leak mallory")

	name := w.keyOf("lounge").EvictName(1)
	w.end(name, v1alpha1.ReasonNothingToRemove, 0)
	w.examine(s, "lounge")
	w.hasEvictions("lounge Leak mallory") // the group is held off
	w.Clock.Forward(time.Minute)
	w.examine(s, "lounge")
	w.hasEvictions("lounge Leak mallory", "lounge Leak oscar")
}

func TestNoRunIsMadeWhileMembersAreAddedBack(t *testing.T) {
	w := newWorld(t)
	w.evicting("lounge", exactly("lounge"), "alice")
	s := w.strangers()
	labtest.Must(t, w.Client.Create(t.Context(), w.evictRun("by-hand", "trudy")))
	w.end("by-hand", v1alpha1.ReasonRemoved, 1)
	w.RequestUndo("by-hand")
	before := w.evictions()
	s.Leaked(w.leak("mallory"))
	w.Clock.Forward(testGrace)
	if again := w.examine(s, "lounge"); again <= 0 {
		t.Error("the account is forgotten")
	}
	w.hasEvictions(before...)
}

func TestProcessThatEndsMakesTheRunsOfThoseInGrace(t *testing.T) {
	w := newWorld(t)
	w.evicting("all", v1alpha1.GroupMatcher{Type: v1alpha1.GroupMatcherAll}, "alice")
	s := w.strangers()
	stop := start(t, s.Start)
	s.Leaked(w.leak("mallory"))
	s.Leaked(w.leak("oscar"))
	other := w.leak("trudy")
	other.Group = "bar"
	s.Leaked(other)
	pause(t, 100*time.Millisecond)
	w.hasEvictions()
	stop()
	w.hasEvictions("bar Leak trudy", "lounge Leak mallory,oscar")
	if s.kept != 0 {
		t.Errorf("%d accounts are kept", s.kept)
	}
}

// A run with an account that is long in grace would hold up the other evictions of its group until that has ended.
func TestProcessThatEndsLeavesLongGraceToTheRound(t *testing.T) {
	w := newWorld(t)
	w.evicting("lounge", exactly("lounge"), "alice")
	change(w, &v1alpha1.GroupPolicy{}, "lounge", func(p *v1alpha1.GroupPolicy) { p.Spec.Join.Evict.Grace = "7d" })
	w.Publish()
	s := w.strangers()
	ends := func() { s.flush(t.Context()) }
	s.Leaked(w.leak("mallory"))
	ends()
	w.hasEvictions()
	w.Clock.Forward(6*24*time.Hour + time.Minute) // less than an interval is left
	s.Leaked(w.leak("oscar"))
	ends()
	w.hasEvictions("lounge Leak mallory")
}

func TestStrangersAreBounded(t *testing.T) {
	w := newWorld(t)
	w.evicting("lounge", exactly("lounge"), "alice")
	s := w.strangers()
	for i := range maxStrangers + 5 {
		s.Leaked(w.leak(fmt.Sprint("bot", i)))
	}
	if got := testutil.ToFloat64(s.Metrics.overflow); got != 5 || s.kept != maxStrangers {
		t.Errorf("%v lost, %d kept", got, s.kept)
	}
	w.Clock.Forward(testGrace)
	w.examine(s, "lounge")
	run := w.Get(w.keyOf("lounge").EvictName(1))
	if got := len(run.Spec.Accounts); got != maxAccountsPerRun || s.kept != maxStrangers-maxAccountsPerRun {
		t.Errorf("the run has %d accounts, and %d are kept", got, s.kept)
	}
}

// room makes a group with members who joined long ago.
func (w *world) room(id string, members ...string) {
	w.t.Helper()
	_, err := w.Emulator.CreateGroup(w.t.Context(), emulator.GroupSpec{
		ID: id, Type: "Public", Owner: "owner", MaxMembers: 500, CreatedAgo: "400d",
		Members: []emulator.MemberSpec{
			{Accounts: []string{"boss"}, Role: "Admin", JoinedAgo: "300d"},
			{Accounts: members, JoinedAgo: "100d"},
		},
	})
	labtest.Must(w.t, err)
}

// planned writes a plan to evict n members into the status of a run, as the cache has it: without their accounts.
func (w *world) planned(name string, n int32) {
	w.t.Helper()
	run := w.Get(name)
	run.Status.Plan = &v1alpha1.PrunePlan{CreatedAt: metav1.NewTime(w.Clock.Now()), Candidates: n, Size: &n}
	labtest.Must(w.t, w.Client.Status().Update(w.t.Context(), run))
}

func TestRunThatMayHaveReadTheListBeforeIsFollowedByAnother(t *testing.T) {
	w := newWorld(t)
	w.evicting("lounge", exactly("lounge"), "alice")
	s := w.strangers()
	labtest.Must(t, w.Client.Create(t.Context(), w.evictRun("by-hand")))
	s.take(w.keyOf("lounge"), &strangeGroup{
		groupType: policy.TypePublic, trigger: v1alpha1.PruneTriggerVerdictChange, whole: w.Clock.Now(),
	})
	w.examine(s, "lounge")
	w.end("by-hand", v1alpha1.ReasonNothingToRemove, 0)
	w.Clock.Forward(2 * time.Minute)
	w.examine(s, "lounge")
	w.hasEvictions("lounge Manual", "lounge VerdictChange")
}

func TestAccountThatNoRunCanNameHoldsUpNoOther(t *testing.T) {
	w := newWorld(t)
	w.room("lounge", "alice")
	w.evicting("lounge", exactly("lounge"), "alice")
	l := w.leader()
	joined := w.Clock.Now().Unix()
	l.vendor.instead(func(call sweepCall, _ *http.Request) string {
		if call.API != labtest.ListMembers {
			return ""
		}
		return fmt.Sprintf(`{"ActionStatus":"OK","ErrorCode":0,"MemberNum":2,"MemberList":[`+
			`{"Member_Account":%q,"Role":"Member","JoinTime":%d},`+
			`{"Member_Account":"trudy","Role":"Member","JoinTime":%d}]}`, strings.Repeat("x", 256), joined, joined)
	})
	l.works()
	w.Clock.Forward(testGrace)
	l.works()
	w.hasEvictions("lounge Round trudy")
}
