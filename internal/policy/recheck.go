package policy

import "time"

// KeptReason says why a member that was planned to go stays.
type KeptReason uint8

// The reasons for which the last look keeps a member.
const (
	// KeptLeft: the account is no longer in the group.
	KeptLeft KeptReason = iota + 1
	// KeptRoleChanged: it is an owner or an admin now.
	KeptRoleChanged
	// KeptActiveAgain: it joined or spoke since the plan, or is active by the rule as it is now.
	KeptActiveAgain
	// KeptProtected: it is protected now, or is the app's admin account.
	KeptProtected
	// KeptUnknown: its role or activity is not known, or lies in the future, or the rule cannot be used.
	KeptUnknown
)

var keptReasonNames = [...]string{"", "Left", "RoleChanged", "ActiveAgain", "Protected", "Unknown"}

// String returns the spelling of the API.
func (r KeptReason) String() string {
	if r >= KeptLeft && int(r) < len(keptReasonNames) {
		return keptReasonNames[r]
	}
	return keptReasonNames[KeptUnknown]
}

// Kept is one member that was planned to go and stays.
type Kept struct {
	Account string
	Reason  KeptReason
}

// Recheck goes through a batch of planned removals once more, right before it is deleted, with the members as they are
// now: remove may go, kept stays, both in the order of the batch. An account that is absent from current has left.
//
// The rule may have changed since the plan: g is the one in force now. While g.Invalid or g.Unresolved is set, nobody may
// be removed and Recheck keeps everyone; callers wait instead of calling it then.
func (g *GoverningRule) Recheck(batch []Removal, current map[string]Member, now time.Time) (remove []string, kept []Kept) {
	for _, planned := range batch {
		if reason := g.keeps(planned, current, now); reason != 0 {
			kept = append(kept, Kept{Account: planned.Account, Reason: reason})
			continue
		}
		remove = append(remove, planned.Account)
	}
	return remove, kept
}

// RecheckInFlight is Recheck for a batch whose deletion was recorded and may have happened: who has gone since counts as removed
// by the run, whether or not it has come back. Leave out of batch whom the run has recorded as kept already.
func (g *GoverningRule) RecheckInFlight(batch []Removal, current map[string]Member, now time.Time) (removed, remove []string, kept []Kept) {
	var there []Removal
	for _, planned := range batch {
		m, present := current[planned.Account]
		if HasLeft(planned, m, present) {
			removed = append(removed, planned.Account)
			continue
		}
		there = append(there, planned)
	}
	remove, kept = g.Recheck(there, current, now)
	return removed, remove, kept
}

// HasLeft says whether a member whose removal was recorded has left the group since: it is absent, or it is a member anew. The look before
// the record would have kept it, had it joined before that.
func HasLeft(planned Removal, now Member, present bool) bool {
	return !present || !planned.LastActive.IsZero() && now.Joined.After(planned.LastActive)
}

// keeps returns why the account stays, or 0.
func (g *GoverningRule) keeps(planned Removal, current map[string]Member, now time.Time) KeptReason {
	m, present := current[planned.Account]
	lastActive, known := m.lastActive(now)
	switch {
	case !present:
		return KeptLeft
	case m.Role == RoleOwner, m.Role == RoleAdmin:
		return KeptRoleChanged
	case m.Role != RoleMember, !g.usable():
		return KeptUnknown
	case g.Protects(planned.Account):
		return KeptProtected
	case !known:
		return KeptUnknown
	case lastActive.After(planned.LastActive), !g.inactive(lastActive, now):
		return KeptActiveAgain
	}
	return 0
}
