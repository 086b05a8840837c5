package policy

import (
	"cmp"
	"strings"
	"time"

	"github.com/groupgate/groupgate/internal/accounts"
)

// compiledRefusal is the compiled form of a [Refusal].
type compiledRefusal struct {
	app      objectName
	sdkAppID uint64 // 0: not known
	group    string
	accounts accounts.Set
	// until is when the refusal ends; zero if the accounts are not refused.
	until     time.Time
	reject    Rejection
	restoring bool
	restored  bool
	run       string

	// fingerprint leaves out the run, on which no decision depends, and which app it is.
	fingerprint fingerprint
}

func compileRefusal(r *Refusal) *compiledRefusal {
	compiled := &compiledRefusal{
		app:       objectName{r.Namespace, r.App},
		sdkAppID:  r.SDKAppID,
		group:     r.Group,
		accounts:  accounts.NewSet(r.Accounts),
		until:     r.Until.Round(0).UTC(),
		reject:    r.Reject.normal(),
		restoring: r.Restoring,
		restored:  r.Restored,
		run:       r.Run,
	}
	var t transcript
	t.text(compiled.group)
	t.accounts(compiled.accounts)
	t.time(compiled.until)
	t.rejection(compiled.reject)
	t.flag(compiled.restoring)
	t.flag(compiled.restored)
	compiled.fingerprint = t.sum()
	return compiled
}

// matters reports whether any decision can depend on the refusal.
func (r *compiledRefusal) matters() bool {
	return r.accounts != "" && (r.restoring || !r.until.IsZero())
}

// groupRefusals are those of one group. The one that ends last comes first: its rejection counts. Of two that end
// together the content decides, so that the order of the input never does.
type groupRefusals []*compiledRefusal

func byEnd(a, b *compiledRefusal) int {
	return cmp.Or(b.until.Compare(a.until), cmp.Compare(a.reject.Code, b.reject.Code),
		strings.Compare(a.reject.Message, b.reject.Message), cmp.Compare(a.fingerprint, b.fingerprint))
}

// refusing returns the record by which the account is refused at that time; nil if it is not.
func (g groupRefusals) refusing(account string, hash uint64, now time.Time) *compiledRefusal {
	for _, r := range g {
		if !now.Before(r.until) {
			return nil // and those after it end no later
		}
		if !r.restored && r.accounts.Contains(account, hash) {
			return r
		}
	}
	return nil
}

// restoring returns the record by which the account is being added back or, for a report, was; nil if there is none.
func (g groupRefusals) restoring(q *JoinQuery, hash uint64) *compiledRefusal {
	for _, r := range g {
		holds := r.restoring || r.restored && q.Reported && q.Now.Before(r.until)
		if holds && r.accounts.Contains(q.Account, hash) {
			return r
		}
	}
	return nil
}
