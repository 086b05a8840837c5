package refusals

import (
	"cmp"
	"slices"
	"time"
)

// Audience is that of a token which is good for nothing but reading from replicas.
const Audience = "groupgate-replicas"

const (
	// DefaultLimit is how many refusals are answered without a limit.
	DefaultLimit = 100
	// MaxLimit is how many are answered at most.
	MaxLimit = 1000
	// IntervalLength is that of an [Interval].
	IntervalLength = 5 * time.Minute
	// MaxIntervals is how many are kept: those of a day.
	MaxIntervals = 288
)

// Refusal is an account that was refused, or a leak.
type Refusal struct {
	Time  time.Time `json:"time"`
	Group string    `json:"group"`
	// GroupType is Work, Public, Meeting, AVChatRoom or Community, or Unknown.
	GroupType string `json:"groupType"`
	// Account would have joined; Operator invited or added it, and is empty for an application.
	Account  string `json:"account"`
	Operator string `json:"operator,omitempty"`
	// Trigger is Apply, Invite or RESTAPI.
	Trigger string `json:"trigger"`
	// Reason is the step that refused, as in the decision log.
	Reason string `json:"reason"`
	// Policy is the name of the GroupPolicy that refused, in the namespace of the app; empty if none did.
	Policy string `json:"policy,omitempty"`
	// Code and Message are those of the answer about this account; Message is empty where the client shows its own.
	Code    int32  `json:"code"`
	Message string `json:"message,omitempty"`
	// Leak says that the account is in the group already, and should not be.
	Leak bool `json:"leak,omitempty"`
}

// Refusals are those of one IMApp that one replica remembers.
type Refusals struct {
	Replica string `json:"replica"`
	// Since is when the replica began to remember.
	Since time.Time `json:"since"`
	// Capacity is how many refusals of all apps the replica remembers; 0 if it remembers none.
	Capacity int `json:"capacity"`
	// Forgotten is how many of this app made way for newer ones of any app since then.
	Forgotten uint64 `json:"forgotten"`
	// Dropped is how many decisions of all apps were never remembered since then, as too many came at once.
	Dropped uint64 `json:"dropped"`
	// Refusals are those that the filter selects, newest first. There may be more than the limit: those of the same
	// time, as of one invitation, are never separated.
	Refusals []Refusal `json:"refusals"`
}

// Activity is how many accounts joined an IMApp at one replica.
type Activity struct {
	Replica string `json:"replica"`
	// Since is when the replica began to count, and Now its time of the answer.
	Since time.Time `json:"since"`
	Now   time.Time `json:"now"`
	// SnapshotAt is up to when the replica knows the objects that it decides by: Now, or when the watch that is behind
	// for longest fell behind. It is zero where the replica has read none yet, and decides about no join.
	SnapshotAt time.Time `json:"snapshotAt,omitzero"`
	// Stale says that a watch is behind, so that changes since SnapshotAt may not be enforced.
	Stale bool `json:"stale"`
	// Intervals are those of the last 24 hours since Since, oldest first and without a gap. The last one is under way.
	Intervals []Interval `json:"intervals"`
}

// Interval is five minutes, from Start on: how many accounts were admitted and refused, and how many leaks were seen.
type Interval struct {
	Start    time.Time `json:"start"`
	Admitted uint64    `json:"admitted"`
	Refused  uint64    `json:"refused"`
	Leaked   uint64    `json:"leaked"`
}

// Filter selects refusals. Its zero value selects the newest DefaultLimit.
type Filter struct {
	// Group and Account select those of a group, and of an account; empty selects all.
	Group, Account string
	// Before selects older ones than this; zero selects all. The time of the last refusal of an answer is where the
	// next one goes on.
	Before time.Time
	// Limit is from 1 to MaxLimit, and 0 is DefaultLimit.
	Limit int
}

func (f *Filter) limit() int {
	return min(cmp.Or(max(f.Limit, 0), DefaultLimit), MaxLimit)
}

// newest sorts refusals, newest first, and cuts them at the limit, but never between two of the same time: the next
// page begins before the time of the last one. more says that there was something to cut.
func newest[T any](all []T, limit int, at func(T) int64) (page []T, more bool) {
	slices.SortStableFunc(all, func(a, b T) int { return cmp.Compare(at(b), at(a)) })
	n := limit
	for n < len(all) && at(all[n]) == at(all[n-1]) {
		n++
	}
	if n >= len(all) {
		return all, false
	}
	return all[:n], true
}

// Merge joins what several replicas answered to the same filter, newest first. more says that there are older ones:
// set Before of the filter to the time of the last.
func Merge(answers []Refusals, f Filter) (merged []Refusal, more bool) {
	for i := range answers {
		merged = append(merged, answers[i].Refusals...)
		// This replica may have older ones, which are behind its own last one.
		more = more || len(answers[i].Refusals) >= f.limit()
	}
	merged, cut := newest(merged, f.limit(), func(r Refusal) int64 { return r.Time.UnixNano() })
	return merged, more || cut
}
