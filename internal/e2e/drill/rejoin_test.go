package drill

import (
	"context"
	"slices"
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/lab"
)

// checkRejoining sends every manager applications of some accounts that were removed, and of one that was not. Records
// that are about to expire are skipped.
func (p runner) checkRejoining(ctx context.Context) {
	const margin = 3 * time.Second
	for _, g := range p.Groups {
		full, err := p.im(p.Rule.App).Group(ctx, g.ID)
		if err != nil {
			continue
		}
		accounts := p.gone(g.ID)
		accounts = append(choose(step{N: 4, Pick: uint64(len(accounts))}, accounts), "stranger")
		runs := p.ledger.runsOf(p.Rule.App, g.ID)
		for _, account := range accounts {
			now := time.Now()
			var refusal *v1alpha1.PruneRefusal
			unclear := false
			for i := range runs {
				r := runs[i].Status.Refuse
				if r == nil || runs[i].Spec.Undo != "" ||
					!slices.Contains(append(done(&runs[i]), inFlight(&runs[i])...), account) ||
					slices.Contains(keptBy(&runs[i]), account) {
					continue
				}
				unclear = unclear || r.Until.Sub(now).Abs() < margin || refusal != nil
				if r.Until.After(now) {
					refusal = r
				}
			}
			if unclear {
				continue
			}
			want := lab.Answer{Status: 200}
			v := p.policy(p.Name)
			switch {
			case refusal != nil:
				want.ErrorCode, want.ErrorInfo = int(refusal.Code), refusal.Message
			case v != nil && v.rule.Invalid && v.rule.Code > 0 && v.rule.governs(p.Rule.App, g.ID, g.Type):
				// An invalid join section admits no account.
				want.ErrorCode, want.ErrorInfo = v.rule.Code, v.rule.Message
			}
			for i, r := range p.replicas {
				got, err := r.callback(ctx, full.SDKAppID, lab.CommandApply, map[string]any{
					"GroupId": g.ID, "Type": g.Type, "Requestor_Account": account,
				})
				if err != nil {
					p.violation("%s: send manager %d the application of %s: %v", p.Name, i, account, err)
					continue
				}
				if got.Status != want.Status || got.ErrorCode != want.ErrorCode ||
					want.ErrorInfo != "" && got.ErrorInfo != want.ErrorInfo {
					p.violation("%s: manager %d answers %+v to %s, who applies to %q, want %+v", p.Name, i, got,
						account, g.ID, want)
				}
			}
		}
	}
}
