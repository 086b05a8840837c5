package policy

import "time"

// Governing is the rule by which one group is pruned, together with everything that keeps accounts in the group.
type Governing struct {
	// Policy is the policy that the rule comes from.
	Policy Object
	// Rule is its rule, less Protect.
	Rule PruneRule
	// Invalid says why the rule cannot be used; nobody may be removed then. Empty when it can.
	Invalid string
	// Unresolved lists what is missing of the protection; nobody may be removed then. Empty when nothing is. It covers
	// every governing policy that has a rule, since the protection of each one counts.
	Unresolved []string

	adminAccount string
	protect      []*selection
}

func (g *Governing) usable() bool { return g.Invalid == "" && len(g.Unresolved) == 0 }

// Protects reports whether account must stay, whatever its activity. The app's admin account is protected, too.
func (g *Governing) Protects(account string) bool {
	if account == g.adminAccount {
		return true
	}
	hash := hashAccount(account)
	for _, s := range g.protect {
		if s.contains(account, hash) {
			return true
		}
	}
	return false
}

// inactive reports whether somebody last active at that time may go: exactly InactiveFor ago is long enough.
func (g *Governing) inactive(lastActive, now time.Time) bool {
	return !lastActive.After(now.Add(-g.Rule.InactiveFor))
}

// SeatsWanted is how many free seats the rule asks for in this group.
func (g *Governing) SeatsWanted(group GroupState) int { return g.Rule.FreeSeats.Of(group.MaxMembers) }

// SeatsNeeded is how many members must go until that many seats are free; 0 when enough are, or the limit is not known.
func (g *Governing) SeatsNeeded(group GroupState) int {
	if group.MaxMembers <= 0 {
		return 0
	}
	return max(0, g.SeatsWanted(group)-group.FreeSeats())
}
