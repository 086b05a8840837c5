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
	return &Ring{replica: replica, since: now, capacity: capacity, forgotten: map[unique.Handle[string]]uint64{}}
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
	kept := record{
		time: d.Time.UnixNano(), app: unique.Make(d.App), group: unique.Make(d.Group), policy: unique.Make(d.Policy),
		message: unique.Make(d.Message), account: ids[:len(d.Account)], operator: ids[len(d.Account):],
		code: d.Code, groupType: d.GroupType, trigger: d.Trigger, reason: d.Reason, leak: d.Leak,
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.records) < r.capacity {
		r.records = append(r.records, kept)
		return
	}
	r.forgotten[r.records[r.next].app]++
	r.records[r.next] = kept
	r.next = (r.next + 1) % r.capacity
}

// Refusals returns those of an app, "namespace/name".
func (r *Ring) Refusals(app string, f Filter) Refusals {
	key := unique.Make(app)
	r.mu.Lock()
	answer := Refusals{Replica: r.replica, Since: r.since, Capacity: r.capacity, Forgotten: r.forgotten[key]}
	all := []Refusal{}
	for i := range r.records {
		// The newest one is before next.
		kept := &r.records[(r.next-1-i+2*len(r.records))%len(r.records)]
		if kept.app != key {
			continue
		}
		if refusal := kept.refusal(); f.selects(&refusal) {
			all = append(all, refusal)
		}
	}
	r.mu.Unlock()
	answer.Refusals, _ = f.newest(all)
	return answer
}

func (r *record) refusal() Refusal {
	return Refusal{
		Time: time.Unix(0, r.time).UTC(), Group: r.group.Value(), GroupType: r.groupType.String(), Account: r.account,
		Operator: r.operator, Trigger: r.trigger.String(), Reason: r.reason.String(), Policy: r.policy.Value(),
		Code: r.code, Message: r.message.Value(), Leak: r.leak,
	}
}
