package policy

// DecideJoin answers whether the account may join. It allocates nothing and takes no lock.
//
// Of the sections that speak, in this order:
//  1. one denies the account: reject, with the rejection of the highest-ranked that does;
//  2. one allows it: admit;
//  3. one has a gate: reject, with the rejection of the highest-ranked that has;
//  4. one speaks: admit;
//  5. none speaks: as the app says of unmatched groups.
//
// The audited answer is that of the same steps with every audit section speaking as well.
func (a *CompiledApp) DecideJoin(q JoinQuery) Verdict {
	hash := hashAccount(q.Account)
	var live, audited tally
	for b := a.groups.find(q.Group); b != nil; b = b.next {
		for _, s := range b.sections {
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
	verdict.AuditDiffers = verdict.Admit != audited.verdict(a.rejectUnmatched).Admit
	return verdict
}

// tally is what the sections heard so far say. Sections are heard in the order of their rank, so that the first of a kind
// is the highest-ranked.
type tally struct {
	speaks  bool
	allowed bool
	denial  *Rejection
	gate    *Rejection
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
	case t.allowed:
		return Verdict{Admit: true, Reason: ReasonAllowed}
	case t.gate != nil:
		return t.gate.verdict(ReasonNotListed)
	case t.speaks:
		return Verdict{Admit: true, Reason: ReasonNotGated}
	case rejectUnmatched:
		return Verdict{Reason: ReasonUnmatched, Code: rejectCode}
	}
	return Verdict{Admit: true, Reason: ReasonUnmatched}
}

func (r *Rejection) verdict(reason Reason) Verdict {
	return Verdict{Reason: reason, Code: r.Code, Message: r.Message}
}
