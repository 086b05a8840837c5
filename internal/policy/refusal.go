package policy

import (
	"cmp"
	"strings"
	"time"

	"github.com/groupgate/groupgate/internal/accounts"
)

// recordPart is the compiled form of a [Refusal].
type recordPart struct {
	app      objectName
	group    string
	accounts accounts.Set
	// until is when the refusal ends; zero where there is none.
	until     time.Time
	reject    Rejection
	restoring bool

	// fingerprint stands for what the record says: which run holds it is no matter.
	fingerprint fingerprint
}

func newRecordPart(r *Refusal) *recordPart {
	part := &recordPart{
		app:       objectName{r.Namespace, r.App},
		group:     r.Group,
		accounts:  accounts.NewSet(r.Accounts),
		until:     r.Until.Round(0).UTC(),
		reject:    r.Reject.normal(),
		restoring: r.Restoring,
	}
	var t transcript
	t.text(part.group)
	t.part(fingerprint(part.accounts.Fingerprint()))
	t.time(part.until)
	t.number(int64(part.reject.Code))
	t.text(part.reject.Message)
	t.flag(part.restoring)
	part.fingerprint = t.sum()
	return part
}

// matters reports whether any verdict can depend on the record.
func (p *recordPart) matters() bool {
	return p.accounts != "" && (p.restoring || !p.until.IsZero())
}

// groupRecords are those of one group. The refusal that ends last comes first: it is the one that counts. Of two that end
// together, what they say decides, so that the order of the input never does.
type groupRecords []*recordPart

func byEnd(a, b *recordPart) int {
	return cmp.Or(b.until.Compare(a.until), cmp.Compare(a.reject.Code, b.reject.Code),
		strings.Compare(a.reject.Message, b.reject.Message), cmp.Compare(a.fingerprint, b.fingerprint))
}

// refusal returns what the account is told at that time; nil where it is not refused.
func (g groupRecords) refusal(account string, hash uint64, now time.Time) *Rejection {
	for _, r := range g {
		if !now.Before(r.until) {
			return nil // and those after it end no later
		}
		if r.accounts.Contains(account, hash) {
			return &r.reject
		}
	}
	return nil
}

// restores reports whether the account is being added back.
func (g groupRecords) restores(account string, hash uint64) bool {
	for _, r := range g {
		if r.restoring && r.accounts.Contains(account, hash) {
			return true
		}
	}
	return false
}

// distinctRecords returns one record for each UID. There is never more than one; should there be, what they hold decides.
func distinctRecords(records []Refusal) []*Refusal {
	distinct := make([]*Refusal, 0, len(records))
	byUID := make(map[string]int, len(records))
	for i := range records {
		r := &records[i]
		at, again := byUID[r.UID]
		switch {
		case r.UID == "" || !again:
			byUID[r.UID] = len(distinct)
			distinct = append(distinct, r)
		case r.order(distinct[at]) > 0:
			distinct[at] = r
		}
	}
	return distinct
}

// order is total on what records hold.
func (r *Refusal) order(other *Refusal) int {
	return cmp.Or(strings.Compare(r.Namespace, other.Namespace), strings.Compare(r.App, other.App),
		strings.Compare(r.Group, other.Group), cmp.Compare(newRecordPart(r).fingerprint, newRecordPart(other).fingerprint))
}
