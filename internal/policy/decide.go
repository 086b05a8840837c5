package policy

import (
	"time"

	"github.com/groupgate/groupgate/internal/accounts"
)

// JoinQuery asks whether one account may join one group.
type JoinQuery struct {
	Group   string
	Type    GroupType
	Account string
	Trigger Trigger
	// Operator is the account that invites or adds; empty for an application, and if it is not known.
	Operator string
	// Now is the time of the query: refusals end.
	Now time.Time
	// Reported says that the account has joined: what an undo has added counts as if it were still being added, since
	// the vendor reports it afterwards.
	Reported bool
}

// Verdict answers a [JoinQuery].
type Verdict struct {
	Admit  bool
	Reason Reason
	// AuditDiffers says that the answer, admit or not, would be the other one if every audit section spoke as well.
	// AuditReason and AuditPolicy are those of that other answer; they are not set otherwise.
	AuditDiffers bool
	AuditReason  Reason
	// Code is 0 when Admit, else 1 or 10100..10200. Message is for the client; it is empty unless the code reaches the
	// client.
	Code    int32
	Message string
	// Policy is the one that decided: of those that say what the reason says, the highest-ranked. It is nil where a run
	// decided, or no policy spoke. It belongs to the snapshot.
	Policy      *Object
	AuditPolicy *Object
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

var reasonNames = [...]string{
	"Unknown", "Denied", "Allowed", "NotListed", "NotGated", "Unmatched", "Pruned", "Restored",
}

// String returns the label value of the reason.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return reasonNames[0]
}

// DecideJoin answers whether the account may join. It allocates nothing and takes no lock. Compiler.ExplainJoin says
// why.
//
// Refusals of prune runs come first:
//  0. one refuses the account at the time of the query, which is no addition over REST: reject, with its rejection; of
//     several, that of the one that ends last. A section that allows the account does not change that.
//
// Of the sections that speak, in this order:
//  1. one denies the account: reject, with the rejection of the highest-ranked that does; else, if the account is being
//     restored, and the app's admin account adds it over REST: admit;
//  2. one allows it: admit;
//  3. one has a gate: reject, with the rejection of the highest-ranked that has;
//  4. one speaks: admit;
//  5. none speaks: as the app says of unmatched groups.
//
// The audited answer follows the same steps with every audit section speaking as well.
//
// A client cannot reach the exemption of step 1: the vendor's backend marks a callback as an addition over REST, and
// the holder of the admin account's key could remove the gate as well.
func (a *CompiledApp) DecideJoin(q JoinQuery) Verdict { return a.decideJoin(&q, nil) }

// decideJoin writes what it finds on its way into e, unless that is nil.
func (a *CompiledApp) decideJoin(q *JoinQuery, e *JoinExplanation) Verdict {
	hash := accounts.Hash(q.Account)
	var live, audited tally
	audits := false // audited is kept from the first section in mode Audit on
	if len(a.refusals) > 0 {
		record, restored := a.checkRefusals(q, hash)
		if e != nil && record != nil {
			e.Run, e.Until = record.run, record.until
		}
		if record != nil && !restored {
			return record.reject.verdict(ReasonPruned, nil)
		}
		live.restored = restored
	}
	for b := range a.groups.matching(q.Group) {
		for i := range b.sections {
			s := &b.sections[i]
			if !s.types.holdsForJoin(q.Type) || !s.triggers.holds(q.Trigger) {
				if e != nil {
					e.hear(s, b.matcher, q, false, false)
				}
				continue
			}
			denies := s.deny.contains(q.Account, hash)
			allows := s.gated && s.allow.contains(q.Account, hash)
			if s.audit && !audits {
				audits, audited = true, live
			}
			if audits {
				audited.add(s, denies, allows)
			}
			if !s.audit {
				live.add(s, denies, allows)
			}
			if e != nil {
				e.hear(s, b.matcher, q, denies, allows)
			}
		}
	}
	verdict := live.verdict(a.rejectUnmatched)
	if audits {
		if other := audited.verdict(a.rejectUnmatched); other.Admit != verdict.Admit {
			verdict.AuditDiffers, verdict.AuditReason, verdict.AuditPolicy = true, other.Reason, other.Policy
		}
	}
	return verdict
}

// checkRefusals returns the record that refuses the account or, if restored, the one by which the app's admin account
// is adding it back; nil if there is none. An empty operator is no admin.
func (a *CompiledApp) checkRefusals(q *JoinQuery, hash uint64) (record *compiledRefusal, restored bool) {
	refusals := a.refusals[q.Group]
	if q.Trigger != TriggerRESTAPI {
		return refusals.refusing(q.Account, hash, q.Now), false
	}
	if q.Operator == "" || q.Operator != a.adminAccount {
		return nil, false
	}
	record = refusals.restoring(q, hash)
	return record, record != nil
}

// section is the compiled form of a [JoinSection]. It fills one cache line, of which a decision among thousands of
// policies consists.
type section struct {
	policy   *parsedPolicy
	types    TypeSet
	triggers TriggerSet
	audit    bool
	// gated says that the section has an allow, even if it is empty.
	gated bool
	allow selection
	deny  selection
}

// reject is the answer of the section to an account that it does not admit.
func (s *section) reject(reason Reason) Verdict {
	return s.policy.reject.verdict(reason, &s.policy.object)
}

// tally is the result of the sections added so far. They are added in the order of their rank, so that the first of a
// kind is the highest-ranked.
type tally struct {
	first, allowing, denying, gated *section
	// restored comes from the refusals; no section sets it.
	restored bool
}

func (t *tally) add(s *section, denies, allows bool) {
	if t.first == nil {
		t.first = s
	}
	if allows && t.allowing == nil {
		t.allowing = s
	}
	if denies && t.denying == nil {
		t.denying = s
	}
	if s.gated && t.gated == nil {
		t.gated = s
	}
}

func (t *tally) verdict(rejectUnmatched bool) Verdict {
	switch {
	case t.denying != nil:
		return t.denying.reject(ReasonDenied)
	case t.restored:
		return Verdict{Admit: true, Reason: ReasonRestored}
	case t.allowing != nil:
		return Verdict{Admit: true, Reason: ReasonAllowed, Policy: &t.allowing.policy.object}
	case t.gated != nil:
		return t.gated.reject(ReasonNotListed)
	case t.first != nil:
		return Verdict{Admit: true, Reason: ReasonNotGated, Policy: &t.first.policy.object}
	case rejectUnmatched:
		return Verdict{Reason: ReasonUnmatched, Code: RefuseCode}
	}
	return Verdict{Admit: true, Reason: ReasonUnmatched}
}

func (r *Rejection) verdict(reason Reason, by *Object) Verdict {
	return Verdict{Reason: reason, Code: r.Code, Message: r.Message, Policy: by}
}

// Codes with which the answer to a before-join callback refuses (page 34370).
const (
	// RefuseCode refuses without a message: the client sees 10016.
	RefuseCode = 1
	// From minClientCode to maxClientCode, code and message reach the client.
	minClientCode = 10100
	maxClientCode = 10200
)

func (r Rejection) reachesClient() bool { return r.Code >= minClientCode && r.Code <= maxClientCode }

// normal returns the rejection as the vendor understands it.
func (r Rejection) normal() Rejection {
	if !r.reachesClient() {
		return Rejection{Code: RefuseCode}
	}
	return r
}
