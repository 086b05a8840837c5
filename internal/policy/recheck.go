package policy

import "time"

// KeptReason says why a planned removal is not carried out.
type KeptReason uint8

// The reasons for which Recheck keeps a member.
const (
	// KeptLeft: the account is no longer in the group.
	KeptLeft KeptReason = iota + 1
	// KeptRoleChanged: it is an owner or an admin now.
	KeptRoleChanged
	// KeptActiveAgain: it joined or spoke since the plan, or is active by the rule as it is now.
	KeptActiveAgain
	// KeptProtected: it is protected now, or is the app's admin account.
	KeptProtected
	// KeptAdmitted: the gates of the group admit it now.
	KeptAdmitted
	// KeptUnknown: it is muted, its role or activity is not known, its activity lies in the future, or the rule cannot
	// be used. Of an eviction, its role or time of joining is not known, or a gate cannot be used.
	KeptUnknown
)

var keptReasonNames = [...]string{"", "Left", "RoleChanged", "ActiveAgain", "Protected", "Admitted", "Unknown"}

// String returns the spelling of the API.
func (r KeptReason) String() string {
	if r >= KeptLeft && int(r) < len(keptReasonNames) {
		return keptReasonNames[r]
	}
	return keptReasonNames[KeptUnknown]
}

// Kept is one member whose removal was planned and that stays.
type Kept struct {
	Account string
	Reason  KeptReason
}

// Recheck applies the rule once more to a batch of planned removals, right before it is deleted, with the members as
// they are now: remove may go, kept stays, both in the order of the batch. An account that is absent from current has
// left.
//
// The rule may have changed since the plan: g is the one in force now. While g.Invalid or g.Unresolved is set, Recheck
// keeps every member; callers wait instead of calling it then.
func (g *GoverningRule) Recheck(
	batch []Removal, current map[string]Member, now time.Time,
) (remove []string, kept []Kept) {
	return recheck(g, batch, current, now)
}

// keeper is a rule that is applied once more to planned removals. keptFor returns why the account stays, or 0.
type keeper interface {
	keptFor(planned Removal, current map[string]Member, now time.Time) KeptReason
}

func recheck(
	rule keeper, batch []Removal, current map[string]Member, now time.Time,
) (remove []string, kept []Kept) {
	for _, planned := range batch {
		if reason := rule.keptFor(planned, current, now); reason != 0 {
			kept = append(kept, Kept{Account: planned.Account, Reason: reason})
			continue
		}
		remove = append(remove, planned.Account)
	}
	return remove, kept
}

// RecheckInFlight is Recheck for a batch whose deletion was recorded and may have happened: a member that has left
// since counts as removed by the run, even if it has joined again. batch must not hold members that the run has
// recorded as kept.
func (g *GoverningRule) RecheckInFlight(
	batch []Removal, current map[string]Member, now time.Time,
) (removed, remove []string, kept []Kept) {
	return recheckInFlight(g, batch, current, now)
}

func recheckInFlight(
	rule keeper, batch []Removal, current map[string]Member, now time.Time,
) (removed, remove []string, kept []Kept) {
	var present []Removal
	for _, planned := range batch {
		m, isMember := current[planned.Account]
		if HasLeft(planned, m, isMember) {
			removed = append(removed, planned.Account)
			continue
		}
		present = append(present, planned)
	}
	remove, kept = recheck(rule, present, current, now)
	return removed, remove, kept
}

// HasLeft reports whether a member whose removal was recorded has left the group since: it is absent, or has joined
// again. Had it joined again before the record, Recheck would have kept it.
func HasLeft(planned Removal, now Member, present bool) bool {
	return !present || !planned.LastActive.IsZero() && now.Joined.After(planned.LastActive)
}

func (g *GoverningRule) keptFor(planned Removal, current map[string]Member, now time.Time) KeptReason {
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
