package pruning

import (
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab/labtest"
)

const (
	listed      = 40 // members whom the list of inhabited admits
	grace       = 10 * time.Minute
	inGraceWait = "Complete=False/InGrace"
	evictedNow  = "Complete=True/Removed"
)

// inhabited is a world with a group of an owner, an admin, t1 to t40, and as many strangers s1, s2, ..., who joined two
// hours ago. The policy "lounge" admits whom the list "members" names, and evicts the others in mode Enforce.
func inhabited(t *testing.T, strangers int, edits ...func(*v1alpha1.JoinSection)) *world {
	t.Helper()
	w := newWorld(t)
	w.Group(fullGroup, listed, 0)
	w.Resize(fullGroup, 200)
	if strangers > 0 {
		w.Put(fullGroup, emulator.MemberSpec{Prefix: "s", Count: strangers, JoinedAgo: "2h", SpokeAgo: "1h"})
	}
	w.list("members", nil, numbered("t", listed)...)
	join := &v1alpha1.JoinSection{
		Allow: &v1alpha1.AccountSelector{Lists: listNamed("members")},
		Evict: &v1alpha1.EvictRule{Mode: v1alpha1.PruneModeEnforce},
	}
	for _, edit := range edits {
		edit(join)
	}
	w.joinPolicy("lounge", join)
	w.Publish()
	return w
}

// joinPolicy applies a policy for fullGroup that is about joins; the snapshot does not show it before the next Publish.
func (w *world) joinPolicy(name string, join *v1alpha1.JoinSection) {
	w.t.Helper()
	must(w.t, w.Client.Create(w.t.Context(), &v1alpha1.GroupPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name},
		Spec: v1alpha1.GroupPolicySpec{
			AppRef: v1alpha1.AppReference{Name: labtest.App},
			Groups: []v1alpha1.GroupMatcher{{Type: v1alpha1.GroupMatcherExact, Value: fullGroup}},
			Join:   join,
		},
	}))
}

// list makes an AccountList; the snapshot does not show it before the next Publish.
func (w *world) list(name string, labels map[string]string, accounts ...string) {
	w.t.Helper()
	list := &v1alpha1.AccountList{Spec: v1alpha1.AccountListSpec{Accounts: accounts}}
	list.ObjectMeta = metav1.ObjectMeta{Namespace: w.Namespace, Name: name, Labels: labels}
	must(w.t, w.Client.Create(w.t.Context(), list))
}

// editList edits an AccountList; the snapshot does not show that before the next Publish.
func (w *world) editList(name string, edit func(*v1alpha1.AccountList)) {
	w.t.Helper()
	change(w, &v1alpha1.AccountList{}, name, edit)
}

// admit puts accounts on the list of inhabited.
func (w *world) admit(accounts ...string) {
	w.t.Helper()
	w.editList("members", func(l *v1alpha1.AccountList) { l.Spec.Accounts = append(l.Spec.Accounts, accounts...) })
}

// evict makes a PruneRun with purpose Evict for fullGroup.
func (w *world) evict(name string, trigger v1alpha1.PruneTrigger, accounts ...string) {
	w.t.Helper()
	must(w.t, w.Client.Create(w.t.Context(), &v1alpha1.PruneRun{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name},
		Spec: v1alpha1.PruneRunSpec{
			AppRef: v1alpha1.AppReference{Name: labtest.App}, GroupID: fullGroup,
			Purpose: v1alpha1.PrunePurposeEvict, Trigger: trigger, Accounts: accounts,
		},
	}))
}

// evicted carries out an eviction that is a routine.
func (w *world) evicted(r *replica, name string) *v1alpha1.PruneRun {
	w.t.Helper()
	w.evict(name, v1alpha1.PruneTriggerRound)
	r.mustStep(name)
	wantConditions(w.t, w.Get(name), "Planned=True/Planned", inGraceWait)
	w.Clock.Forward(grace + time.Second)
	return r.finish(name)
}

func numbered(prefix string, n int) []string {
	accounts := make([]string, n)
	for i := range accounts {
		accounts[i] = prefix + strconv.Itoa(i+1)
	}
	return accounts
}
