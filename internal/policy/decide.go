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
}

// Verdict answers a [JoinQuery].
type Verdict struct {
	Admit  bool
	Reason Reason
	// Code is 0 when Admit, else 1 or 10100..10200. Message is for the client; it is empty unless the code reaches the
	// client.
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

// DecideJoin answers whether the account may join. It allocates nothing and takes no lock.
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
func (a *CompiledApp) DecideJoin(q JoinQuery) Verdict {
	hash := accounts.Hash(q.Account)
	var live, audited tally
	if len(a.refusals) > 0 {
		rejection, restored := a.checkRefusals(&q, hash)
		if rejection != nil {
			return rejection.verdict(ReasonPruned)
		}
		live.restored, audited.restored = restored, restored
	}
	for b := range a.groups.matching(q.Group) {
		for i := range b.sections {
			s := &b.sections[i]
			if !s.types.holdsForJoin(q.Type) || !s.triggers.holds(q.Trigger) {
				continue
			}
			denies := s.deny.contains(q.Account, hash)
			allows := s.gated && s.allow.contains(q.Account, hash)
			audited.add(s, denies, allows)
			if !s.audit {
				live.add(s, denies, allows)
			}
		}
	}
	verdict := live.verdict(a.rejectUnmatched)
	if audited != live {
		verdict.AuditDiffers = verdict.Admit != audited.verdict(a.rejectUnmatched).Admit
	}
	return verdict
}

// checkRefusals returns the rejection of an account that is refused. restored reports whether the app's admin account
// is adding the account back; an empty operator is no admin.
func (a *CompiledApp) checkRefusals(q *JoinQuery, hash uint64) (rejection *Rejection, restored bool) {
	refusals := a.refusals[q.Group]
	if q.Trigger != TriggerRESTAPI {
		return refusals.rejection(q.Account, hash, q.Now), false
	}
	isAdmin := q.Operator != "" && q.Operator == a.adminAccount
	return nil, isAdmin && refusals.restore(q.Account, hash)
}

// section is the compiled form of a [JoinSection].
type section struct {
	types    TypeSet
	triggers TriggerSet
	audit    bool
	// gated says that the section has an allow, even if it is empty.
	gated  bool
	allow  selection
	deny   selection
	reject Rejection
}

// tally is the result of the sections added so far. They are added in the order of their rank, so that the first of a
// kind is the highest-ranked.
type tally struct {
	speaks  bool
	allowed bool
	// restored comes from the refusals; no section sets it.
	restored bool
	denial   *Rejection
	gate     *Rejection
}

func (t *tally) add(s *section, denies, allows bool) {
	t.speaks = true
	t.allowed = t.allowed || allows
	if denies && t.denial == nil {
		t.denial = &s.reject
	}
	if s.gated && t.gate == nil {
		t.gate = &s.reject
	}
}

func (t *tally) verdict(rejectUnmatched bool) Verdict {
	switch {
	case t.denial != nil:
		return t.denial.verdict(ReasonDenied)
	case t.restored:
		return Verdict{Admit: true, Reason: ReasonRestored}
	case t.allowed:
		return Verdict{Admit: true, Reason: ReasonAllowed}
	case t.gate != nil:
		return t.gate.verdict(ReasonNotListed)
	case t.speaks:
		return Verdict{Admit: true, Reason: ReasonNotGated}
	case rejectUnmatched:
		return Verdict{Reason: ReasonUnmatched, Code: RefuseCode}
	}
	return Verdict{Admit: true, Reason: ReasonUnmatched}
}

func (r *Rejection) verdict(reason Reason) Verdict {
	return Verdict{Reason: reason, Code: r.Code, Message: r.Message}
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
