package refusals

import (
	"strings"
	"sync"
	"time"
	"unique"

	"github.com/groupgate/groupgate/internal/decisionlog"
	"github.com/groupgate/groupgate/internal/policy"
)

// DefaultCapacity is how many refusals a replica remembers: about 1.5 MB.
const DefaultCapacity = 10_000

// Ring has the last refusals and leaks of all apps together. It shares no memory with callbacks and snapshots. It is
// safe for concurrent use.
type Ring struct {
	replica  string
	since    time.Time
	capacity int

	mu sync.Mutex
	// records grow up to capacity; from then on the oldest one is at next.
	records   []record
	next      int
	last      record                           // the newest, for its names
	forgotten map[unique.Handle[string]]uint64 // by app
}

// record is a Refusal in little memory. The names of apps, groups and policies, and the messages, are a few, which many
// records share.
type record struct {
	time                        int64 // Unix, in nanoseconds
	app, group, policy, message unique.Handle[string]
	account, operator           string
	code                        int32
	groupType                   policy.GroupType
	trigger                     policy.Trigger
	reason                      policy.Reason
	leak                        bool
}

// NewRing remembers up to capacity refusals from now on; none if that is 0.
func NewRing(capacity int, replica string, now time.Time) *Ring {
	none := unique.Make("")
	return &Ring{
		replica: replica, since: now, capacity: capacity, forgotten: map[unique.Handle[string]]uint64{},
		last: record{app: none, group: none, policy: none, message: none},
	}
}

// Keep remembers a decision that refuses. The oldest one makes way for it.
func (r *Ring) Keep(d *decisionlog.Decision) {
	if d.Admitted || r.capacity == 0 {
		return
	}
	ids := d.Account + d.Operator // of a callback, whose text the strings would keep in memory
	if d.Operator == "" {
		ids = strings.Clone(ids) // nothing was joined
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := record{
		time: d.Time.UnixNano(), app: intern(r.last.app, d.App), group: intern(r.last.group, d.Group),
		policy: intern(r.last.policy, d.Policy), message: intern(r.last.message, d.Message),
		account: ids[:len(d.Account)], operator: ids[len(d.Account):],
		code: d.Code, groupType: d.GroupType, trigger: d.Trigger, reason: d.Reason, leak: d.Leak,
	}
	r.last = kept
	if len(r.records) < r.capacity {
		r.records = append(r.records, kept)
		return
	}
	r.forgotten[r.records[r.next].app]++
	r.records[r.next] = kept
	r.next = (r.next + 1) % r.capacity
}

// intern returns the handle of a name, which often is the one of the record before.
func intern(last unique.Handle[string], name string) unique.Handle[string] {
	if last.Value() == name {
		return last
	}
	return unique.Make(name)
}

// Refusals returns those of an app, "namespace/name".
func (r *Ring) Refusals(app string, f Filter) Refusals {
	key, group := unique.Make(app), unique.Make(f.Group)
	var all []record
	r.mu.Lock()
	answer := Refusals{
		Replica: r.replica, Since: r.since, Capacity: r.capacity, Forgotten: r.forgotten[key], Refusals: []Refusal{},
	}
	for i := range r.records {
		// The newest one is before next, so that they are nearly in order.
		kept := &r.records[(r.next-1-i+2*len(r.records))%len(r.records)]
		if kept.app == key && (f.Group == "" || kept.group == group) &&
			(f.Account == "" || kept.account == f.Account) &&
			(f.Before.IsZero() || time.Unix(0, kept.time).Before(f.Before)) {
			all = append(all, *kept)
		}
	}
	r.mu.Unlock()
	page, _ := newest(all, f.limit(), func(r record) int64 { return r.time })
	for i := range page {
		answer.Refusals = append(answer.Refusals, page[i].refusal())
	}
	return answer
}

func (r *record) refusal() Refusal {
	return Refusal{
		Time: time.Unix(0, r.time).UTC(), Group: r.group.Value(), GroupType: r.groupType.String(), Account: r.account,
		Operator: r.operator, Trigger: r.trigger.String(), Reason: r.reason.String(), Policy: r.policy.Value(),
		Code: r.code, Message: r.message.Value(), Leak: r.leak,
	}
}
