package policy

import "github.com/groupgate/groupgate/internal/accounts"

// DecideJoin answers whether the account may join. It allocates nothing and takes no lock.
//
// Before all else come the records of prune runs:
//  0. a record refuses the account at the time of the query, which is no addition over REST: reject, with the rejection
//     of the record; of several, that of the one that refuses for longest. A section that allows the account does not
//     change that.
//
// Of the sections that speak, in this order:
//  1. one denies the account: reject, with the rejection of the highest-ranked that does; else, where a record says that
//     the account is being added back, and the app's admin account adds it over REST: admit;
//  2. one allows it: admit;
//  3. one has a gate: reject, with the rejection of the highest-ranked that has;
//  4. one speaks: admit;
//  5. none speaks: as the app says of unmatched groups.
//
// The audited answer is that of the same steps with every audit section speaking as well.
//
// No client can reach the exemption of step 1: the vendor's backend itself says of a callback that it is about an
// addition over REST, and who holds the key of the admin account could as well remove the gate.
func (a *CompiledApp) DecideJoin(q JoinQuery) Verdict {
	hash := accounts.Hash(q.Account)
	var live, audited tally
	if len(a.records) > 0 {
		refusal, restored := a.recorded(&q, hash)
		if refusal != nil {
			return refusal.verdict(ReasonPruned)
		}
		live.restored, audited.restored = restored, restored
	}
	for b := range a.groups.matching(q.Group) {
		for i := range b.sections {
			s := &b.sections[i]
			if !s.types.admitsJoin(q.Type) || !s.triggers.holds(q.Trigger) {
				continue
			}
			denies := s.deny.contains(q.Account, hash)
			allows := s.gated && s.allow.contains(q.Account, hash)
			audited.hear(s, denies, allows)
			if !s.audit {
				live.hear(s, denies, allows)
			}
		}
	}
	verdict := live.verdict(a.rejectUnmatched)
	if audited != live {
		verdict.AuditDiffers = verdict.Admit != audited.verdict(a.rejectUnmatched).Admit
	}
	return verdict
}

// recorded returns what the records say of the account: that it is refused and with which words, or that it is being added
// back by the app's admin account. An account without a name is no admin.
func (a *CompiledApp) recorded(q *JoinQuery, hash uint64) (refusal *Rejection, restored bool) {
	records := a.records[q.Group]
	if q.Trigger != TriggerRESTAPI {
		return records.refusal(q.Account, hash, q.Now), false
	}
	isAdmin := q.Operator != "" && q.Operator == a.adminAccount
	return nil, isAdmin && records.restores(q.Account, hash)
}

// tally is what the sections heard so far say. Sections are heard in the order of their rank, so that the first of a kind
// is the highest-ranked.
type tally struct {
	speaks  bool
	allowed bool
	// restored is what the records say; no section says it.
	restored bool
	denial   *Rejection
	gate     *Rejection
}

func (t *tally) hear(s *section, denies, allows bool) {
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
