package policy

import (
	"iter"
	"slices"
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

	policies verdicts[PolicyVerdict]
	appsSeen verdicts[AppVerdict]
	lists    verdicts[ListVerdict]
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
	for acceptance := range acceptanceNames {
		stats.Policies[Acceptance(acceptance)] = 0
	}
	for _, v := range s.policies.inOrder {
		stats.Policies[v.Acceptance]++
	}
	return stats
}

// PolicyVerdict returns the verdict on the policy with that UID.
func (s *Snapshot) PolicyVerdict(uid string) (PolicyVerdict, bool) { return s.policies.of(uid) }

// AppVerdict returns the verdict on the app with that UID.
func (s *Snapshot) AppVerdict(uid string) (AppVerdict, bool) { return s.appsSeen.of(uid) }

// ListVerdict returns the verdict on the list with that UID.
func (s *Snapshot) ListVerdict(uid string) (ListVerdict, bool) { return s.lists.of(uid) }

// PolicyVerdicts returns the verdicts on all policies, ordered by namespace and name.
func (s *Snapshot) PolicyVerdicts() iter.Seq[PolicyVerdict] { return slices.Values(s.policies.inOrder) }

// AppVerdicts returns the verdicts on all apps, ordered by namespace and name.
func (s *Snapshot) AppVerdicts() iter.Seq[AppVerdict] { return slices.Values(s.appsSeen.inOrder) }

// ListVerdicts returns the verdicts on all lists, ordered by namespace and name.
func (s *Snapshot) ListVerdicts() iter.Seq[ListVerdict] { return slices.Values(s.lists.inOrder) }

// verdicts are those of one kind, in the order of names.
type verdicts[V any] struct {
	inOrder []V
	byUID   map[string]int
}

func newVerdicts[V any](capacity int) verdicts[V] {
	return verdicts[V]{inOrder: make([]V, 0, capacity), byUID: make(map[string]int, capacity)}
}

// add keeps the first verdict for a UID, should two objects claim one.
func (v *verdicts[V]) add(uid string, verdict V) {
	if _, taken := v.byUID[uid]; !taken {
		v.byUID[uid] = len(v.inOrder)
	}
	v.inOrder = append(v.inOrder, verdict)
}

func (v *verdicts[V]) of(uid string) (V, bool) {
	i, ok := v.byUID[uid]
	if !ok {
		var none V
		return none, false
	}
	return v.inOrder[i], true
}
