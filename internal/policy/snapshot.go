package policy

import (
	"iter"
	"slices"

	"github.com/groupgate/groupgate/internal/accounts"
)

// Snapshot is a compiled input. It never changes, so that any number of goroutines may read it without a lock.
type Snapshot struct {
	bySDKAppID map[uint64]*CompiledApp
	byName     map[objectName]*CompiledApp
	// apps are the holders, ordered by name.
	apps     []*CompiledApp
	hash     uint64
	rules    uint64
	accounts int

	policies policyVerdicts
	appsSeen appVerdicts
	lists    compiledLists
	// acceptances counts the policies of each.
	acceptances [len(acceptanceNames)]int
}

// App returns the app that holds the SDKAppID, or nil if none does.
func (s *Snapshot) App(sdkAppID uint64) *CompiledApp { return s.bySDKAppID[sdkAppID] }

// AppNamed returns the app of that name, or nil if it is missing or conflicted.
func (s *Snapshot) AppNamed(namespace, name string) *CompiledApp {
	return s.byName[objectName{namespace, name}]
}

// Apps returns the apps that hold an SDKAppID, ordered by namespace and name.
func (s *Snapshot) Apps() iter.Seq[*CompiledApp] { return slices.Values(s.apps) }

// Hash stands for everything that decisions and plans depend on. Replicas that serve the same have the same hash.
func (s *Snapshot) Hash() uint64 { return s.hash }

// RulesHash is Hash less what runs recorded: while it stays, every plan that was made stands, and every rule that could not be used still cannot.
func (s *Snapshot) RulesHash() uint64 { return s.rules }

// Stats counts what a snapshot holds.
type Stats struct {
	// Policies counts the policies of each acceptance; every acceptance is a key.
	Policies map[Acceptance]int
	// Accounts counts the accounts of all lists, and those that policies name themselves.
	Accounts int
}

// Stats counts what the snapshot holds.
func (s *Snapshot) Stats() Stats {
	stats := Stats{Policies: make(map[Acceptance]int, len(acceptanceNames)), Accounts: s.accounts}
	for acceptance, count := range s.acceptances {
		stats.Policies[Acceptance(acceptance)] = count
	}
	return stats
}

// PolicyVerdict returns the verdict on the policy of that name and UID.
func (s *Snapshot) PolicyVerdict(namespace, name, uid string) (PolicyVerdict, bool) {
	if v := s.policies.find(objectName{namespace, name}); v != nil && v.UID == uid {
		return *v, true
	}
	return PolicyVerdict{}, false
}

// AppVerdict returns the verdict on the app of that name and UID.
func (s *Snapshot) AppVerdict(namespace, name, uid string) (AppVerdict, bool) {
	if v := s.appsSeen.find(objectName{namespace, name}); v != nil && v.UID == uid {
		return *v, true
	}
	return AppVerdict{}, false
}

// ListVerdict returns the verdict on the list of that name and UID.
func (s *Snapshot) ListVerdict(namespace, name, uid string) (ListVerdict, bool) {
	if l := s.lists.find(objectName{namespace, name}); l != nil && l.UID == uid {
		return l.ListVerdict, true
	}
	return ListVerdict{}, false
}

// Accounts returns the accounts of the list of that name; none if there is no such list.
func (s *Snapshot) Accounts(namespace, name string) accounts.Set {
	if l := s.orEmpty().lists.find(objectName{namespace, name}); l != nil {
		return l.accounts
	}
	return ""
}

// PolicyVerdicts returns the verdicts on all policies, ordered by namespace and name.
func (s *Snapshot) PolicyVerdicts() iter.Seq[PolicyVerdict] { return s.policies.all() }

// AppVerdicts returns the verdicts on all apps, ordered by namespace and name.
func (s *Snapshot) AppVerdicts() iter.Seq[AppVerdict] { return s.appsSeen.all() }

// ListVerdicts returns the verdicts on all lists, ordered by namespace and name.
func (s *Snapshot) ListVerdicts() iter.Seq[ListVerdict] { return verdictsOn(s.lists.all()) }

// PolicyVerdictsSince returns the verdicts on policies that before does not hold, in the order of PolicyVerdicts; all of them if
// before is nil. Between snapshots of one Compiler that costs next to nothing. What is gone is in none.
func (s *Snapshot) PolicyVerdictsSince(before *Snapshot) iter.Seq[PolicyVerdict] {
	return s.policies.since(before.orEmpty().policies)
}

// AppVerdictsSince is PolicyVerdictsSince for apps.
func (s *Snapshot) AppVerdictsSince(before *Snapshot) iter.Seq[AppVerdict] {
	return s.appsSeen.since(before.orEmpty().appsSeen)
}

// ListVerdictsSince is PolicyVerdictsSince for lists.
func (s *Snapshot) ListVerdictsSince(before *Snapshot) iter.Seq[ListVerdict] {
	return verdictsOn(s.lists.since(before.orEmpty().lists))
}

func (s *Snapshot) orEmpty() *Snapshot {
	if s == nil {
		return &Snapshot{}
	}
	return s
}
