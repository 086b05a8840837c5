package policy

// Leak is a member whom the gate refuses: the vendor admitted the account without an answer, or without asking, or a
// policy has changed since it was admitted.
type Leak struct {
	App            Object
	Group, Account string
	Type           GroupType
	Reason         Reason
	// Policy refuses the account; nil where the app refuses all joins of unmatched groups, or a run does.
	Policy *Object
}
