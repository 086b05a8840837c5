package policy

import "time"

// JoinQuery asks whether one account may join one group.
type JoinQuery struct {
	Group   string
	Type    GroupType
	Account string
	Trigger Trigger
	// Operator is who invites or adds the account; empty for an application, and where it is not known.
	Operator string
	// Now is the time by which a refusal of removed accounts is over or not.
	Now time.Time
}

// Verdict answers a [JoinQuery].
type Verdict struct {
	Admit  bool
	Reason Reason
	// Code is 0 when Admit, else 1 or 10100..10200. Message is for the client; it is empty unless the code is one that
	// reaches the client.
	Code    int32
	Message string
	// AuditDiffers says that the answer, admit or not, would be the other one if every audit section spoke as well.
	AuditDiffers bool
}

// Reason is the step that decided a join.
type Reason uint8

// The reasons.
const (
	// ReasonDenied refuses: a section that speaks denies the account.
	ReasonDenied Reason = iota + 1
	// ReasonAllowed admits: a section that speaks allows the account.
	ReasonAllowed
	// ReasonNotListed refuses: a section that speaks has a gate and none allows the account.
	ReasonNotListed
	// ReasonNotGated admits: sections speak and none has a gate.
	ReasonNotGated
	// ReasonUnmatched admits or refuses as the app says: no section speaks.
	ReasonUnmatched
	// ReasonPruned refuses: the account was removed from the group, and may not come back yet.
	ReasonPruned
	// ReasonRestored admits: the account was removed from the group, and is being added back.
	ReasonRestored
)

var reasonNames = [...]string{"Unknown", "Denied", "Allowed", "NotListed", "NotGated", "Unmatched", "Pruned", "Restored"}

// String returns the label value of the reason.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return reasonNames[0]
}
