package decisionlog

import (
	"time"

	"github.com/groupgate/groupgate/internal/policy"
)

// Version is that of the lines. It changes when a field changes its meaning or goes, not when one is added.
const Version = 1

// Decision is about one account that would join one group, or about a leak.
type Decision struct {
	Time time.Time
	// App is the "namespace/name" of the IMApp.
	App   string
	Group string
	// Account would join; Operator invites or adds it, and is empty for an application.
	Account, Operator string
	// Policy is the name of the one that decided, empty if none did. It is in the namespace of the app.
	Policy string
	// Message is that of the answer about this account, empty unless it reaches the client. Lines do not have it.
	Message string
	// Audit is the other verdict, which sections in mode Audit would have caused, if there is one.
	Audit Difference
	// Snapshot is the hash of the snapshot that was in force.
	Snapshot uint64

	// The small fields are together: a callback copies a decision into the queue, and thousands may wait there.

	// Code is that of the answer about this account, 0 if it is admitted.
	Code      int32
	GroupType policy.GroupType
	Trigger   policy.Trigger
	Reason    policy.Reason
	Admitted  bool
	// Leak says that the account is in the group already, and should not be. Its Trigger is one that it was judged by.
	Leak bool
}

// Difference is the verdict if sections in mode Audit spoke as well. It is zero if that would be the same.
type Difference struct {
	Reason policy.Reason
	Policy string
}

// Exists reports whether there is a difference.
func (d Difference) Exists() bool { return d.Reason != 0 }

// New returns the decision on a query. It shares no memory with the snapshot but names and the message.
func New(app string, snapshot uint64, q *policy.JoinQuery, v *policy.Verdict) Decision {
	return Decision{
		Time: q.Now, App: app, Group: q.Group, GroupType: q.Type, Account: q.Account, Operator: q.Operator,
		Trigger: q.Trigger, Admitted: v.Admit, Reason: v.Reason, Policy: nameOf(v.Policy), Code: v.Code,
		Message: v.Message, Audit: Difference{v.AuditReason, nameOf(v.AuditPolicy)}, Snapshot: snapshot,
	}
}

// Detach gives the ids memory of their own. Those of a callback are parts of one text, which a waiting decision keeps.
func (d *Decision) Detach() {
	ids := d.Group + d.Account + d.Operator
	d.Group, ids = ids[:len(d.Group)], ids[len(d.Group):]
	d.Account, d.Operator = ids[:len(d.Account)], ids[len(d.Account):]
}

func nameOf(o *policy.Object) string {
	if o == nil {
		return ""
	}
	return o.Name
}

// verdictName is the spelling of a verdict in a line.
func verdictName(admitted bool) string {
	if admitted {
		return "Admitted"
	}
	return "Rejected"
}
