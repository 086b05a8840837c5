package policy

import (
	"iter"
	"slices"
	"sync/atomic"

	"github.com/groupgate/groupgate/internal/accounts"
)

// Store holds the snapshot that is served. Its zero value is ready and was never built. It is safe for concurrent use
// and takes no lock.
type Store struct{ current atomic.Pointer[Snapshot] }

// Load returns the snapshot published last, or nil before the first one. Load once per request and pass it down: two
// loads may return different snapshots.
func (s *Store) Load() *Snapshot { return s.current.Load() }

// Publish makes snapshot the one that is served from now on.
func (s *Store) Publish(snapshot *Snapshot) { s.current.Store(snapshot) }

// Snapshot is a compiled input. It never changes, so that any number of goroutines may read it without a lock.
type Snapshot struct {
	bySDKAppID map[uint64]*CompiledApp
	byName     map[objectName]*CompiledApp
	// apps are those that hold their SDKAppID, ordered by name.
	apps     []*CompiledApp
	hash     uint64
	rules    uint64
	accounts int

	policies    policyVerdicts
	appVerdicts appVerdicts
	lists       compiledLists
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

// Hash covers everything that decisions and plans depend on. Replicas that serve the same have the same hash.
func (s *Snapshot) Hash() uint64 { return s.hash }

// RulesHash is Hash without the refusals: while it stays the same, plans stay valid, and a rule that could not be used
// still cannot.
func (s *Snapshot) RulesHash() uint64 { return s.rules }

// Stats counts the content of a snapshot.
type Stats struct {
	// Policies counts the policies of each acceptance; every acceptance is a key.
	Policies map[Acceptance]int
	// Accounts counts the accounts of all lists, and those that policies name themselves.
	Accounts int
}

// Stats counts the content of the snapshot.
func (s *Snapshot) Stats() Stats {
	stats := Stats{Policies: make(map[Acceptance]int, len(acceptanceNames)), Accounts: s.accounts}
	for acceptance, count := range s.acceptances {
		stats.Policies[Acceptance(acceptance)] = count
	}
	return stats
}

// Accounts returns the accounts of the list of that name; none if there is no such list, or no snapshot.
func (s *Snapshot) Accounts(namespace, name string) accounts.Set {
	if l := s.orEmpty().lists.find(objectName{namespace, name}); l != nil {
		return l.set
	}
	return ""
}

func (s *Snapshot) orEmpty() *Snapshot {
	if s == nil {
		return &Snapshot{}
	}
	return s
}

// CompiledApp is an app that holds its SDKAppID, together with the policies that name it. It never changes.
type CompiledApp struct {
	object         Object
	sdkAppID       uint64
	adminAccount   string
	authentication Authentication
	// tokens is a function because package fmt prints unexported fields without calling the methods that redact a
	// secret, but cannot look into a function.
	tokens           func() []Token
	rejectUnmatched  bool
	pruningSuspended bool
	groups           *groupIndex
	refusals         map[string]groupRefusals // by group; nil if there are none
}

func newCompiledApp(a *App) *CompiledApp {
	tokens := a.usableTokens()
	return &CompiledApp{
		object:           a.Object.comparable(),
		sdkAppID:         a.SDKAppID,
		adminAccount:     a.AdminAccount,
		authentication:   a.Authentication,
		tokens:           func() []Token { return tokens },
		rejectUnmatched:  a.RejectUnmatched,
		pruningSuspended: a.PruningSuspended,
	}
}

// usableTokens leaves out empty tokens, which must never verify anything.
func (a *App) usableTokens() []Token {
	var usable []Token
	for _, t := range a.Tokens {
		if t.Value != "" {
			usable = append(usable, t)
		}
	}
	return slices.Clip(usable)
}

// refusal says why the app refuses every callback.
func (a *App) refusal() AppRefusal {
	switch {
	case a.Authentication == AuthenticateNone || len(a.usableTokens()) > 0:
		return NotRefused
	case !a.SecretFound:
		return RefusedSecretNotFound
	}
	return RefusedTokenMissing
}

// Object is the IMApp.
func (a *CompiledApp) Object() Object { return a.object }

// SDKAppID is the vendor's number of the app.
func (a *CompiledApp) SDKAppID() uint64 { return a.sdkAppID }

// AdminAccount is the identifier that REST calls are signed for.
func (a *CompiledApp) AdminAccount() string { return a.adminAccount }

// Authentication says how a callback proves that the vendor sent it.
func (a *CompiledApp) Authentication() Authentication { return a.authentication }

// Tokens returns the tokens that verify a callback; none of them is empty. The slice is shared: do not change it.
func (a *CompiledApp) Tokens() []Token { return a.tokens() }

// PruningSuspended says that no group of the app is pruned.
func (a *CompiledApp) PruningSuspended() bool { return a.pruningSuspended }

// PolicyVerdict returns the verdict on the policy of that name and UID.
func (s *Snapshot) PolicyVerdict(namespace, name, uid string) (PolicyVerdict, bool) {
	if v := s.policies.find(objectName{namespace, name}); v != nil && v.UID == uid {
		return *v, true
	}
	return PolicyVerdict{}, false
}

// AppVerdict returns the verdict on the app of that name and UID.
func (s *Snapshot) AppVerdict(namespace, name, uid string) (AppVerdict, bool) {
	if v := s.appVerdicts.find(objectName{namespace, name}); v != nil && v.UID == uid {
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

// PolicyVerdicts returns the verdicts on all policies, ordered by namespace and name.
func (s *Snapshot) PolicyVerdicts() iter.Seq[PolicyVerdict] { return s.policies.all() }

// AppVerdicts returns the verdicts on all apps, ordered by namespace and name.
func (s *Snapshot) AppVerdicts() iter.Seq[AppVerdict] { return s.appVerdicts.all() }

// ListVerdicts returns the verdicts on all lists, ordered by namespace and name.
func (s *Snapshot) ListVerdicts() iter.Seq[ListVerdict] { return verdictsOn(s.lists.all()) }

// PolicyVerdictsSince returns the verdicts on policies that are new or changed since an earlier snapshot of the same
// Compiler, in the order of PolicyVerdicts; all of them if before is nil. It compares addresses. Policies that are gone
// are left out.
func (s *Snapshot) PolicyVerdictsSince(before *Snapshot) iter.Seq[PolicyVerdict] {
	return s.policies.since(before.orEmpty().policies)
}

// AppVerdictsSince is PolicyVerdictsSince for apps.
func (s *Snapshot) AppVerdictsSince(before *Snapshot) iter.Seq[AppVerdict] {
	return s.appVerdicts.since(before.orEmpty().appVerdicts)
}

// ListVerdictsSince is PolicyVerdictsSince for lists.
func (s *Snapshot) ListVerdictsSince(before *Snapshot) iter.Seq[ListVerdict] {
	return verdictsOn(s.lists.since(before.orEmpty().lists))
}
