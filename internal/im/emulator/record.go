package emulator

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"
)

// CallbackRecord is one callback that was sent, and what came of it.
type CallbackRecord struct {
	ID       int       `json:"id"` // ascending, from 1
	SDKAppID uint64    `json:"sdkAppID"`
	Command  string    `json:"command"`
	Group    string    `json:"group,omitempty"`
	SentAt   time.Time `json:"sentAt"` // by the emulator's clock
	// DurationMillis is real time.
	DurationMillis int64 `json:"durationMillis"`
	// Query is what was appended to the callback URL; the value of Sign is blotted out.
	Query string          `json:"query"`
	Body  json.RawMessage `json:"body"`
	// Status is the HTTP status of the answer, 0 if there was none.
	Status int `json:"status,omitempty"`
	// Answer is the body of the answer, cut at 4 KiB.
	Answer string `json:"answer,omitempty"`
	// Outcome is one of the constants below.
	Outcome string `json:"outcome"`
	// Failure says why a callback failed.
	Failure string `json:"failure,omitempty"`
	// Fault is the kind of the fault that struck, if one did.
	Fault string `json:"fault,omitempty"`
}

// Outcomes of a callback.
const (
	OutcomeAllowed       = "Allowed"       // before: go ahead
	OutcomeRefused       = "Refused"       // before: the whole request is refused
	OutcomePartlyRefused = "PartlyRefused" // before: RefusedMembers_Account was not empty
	OutcomeFailedOpen    = "FailedOpen"    // before: no usable answer in time, so the user is let in
	OutcomeFailedClosed  = "FailedClosed"  // before: no usable answer in time, and the settings say Refuse
	OutcomeDelivered     = "Delivered"     // after: answered; what the answer says is ignored
	OutcomeFailed        = "Failed"        // after: not delivered, or no usable answer
)

// CallRecord is one call of the REST API.
type CallRecord struct {
	ID             int             `json:"id"` // ascending, from 1
	SDKAppID       uint64          `json:"sdkAppID,omitempty"`
	API            string          `json:"api"`
	Identifier     string          `json:"identifier,omitempty"`
	Group          string          `json:"group,omitempty"`
	ReceivedAt     time.Time       `json:"receivedAt"` // by the emulator's clock
	DurationMillis int64           `json:"durationMillis"`
	Body           json.RawMessage `json:"body,omitempty"` // left out above 16 KiB and when it is not JSON
	Code           int             `json:"code"`           // the ErrorCode of the answer
	Info           string          `json:"info,omitempty"`
	Fault          string          `json:"fault,omitempty"` // the kind of the fault that struck, if one did
}

// CallCount is how often an API was called since the last reset or clearing.
type CallCount struct {
	API    string `json:"api"`
	Calls  int    `json:"calls"`
	Failed int    `json:"failed"` // answered with another ErrorCode than 0, or spoiled by a fault
}

const (
	keptRecords  = 2000 // of each kind
	keptBody     = 16 << 10
	keptAnswer   = 4 << 10
	otherAPIName = "other" // what is not one of the APIs, so that counting stays bounded
)

// journal keeps the last records of one kind.
type journal[T any] struct {
	mu      sync.Mutex
	last    int
	records []T // oldest first, at most twice keptRecords
}

// add files the record that is made for the next id.
func (j *journal[T]) add(record func(id int) T) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last++
	j.records = append(j.records, record(j.last))
	if len(j.records) >= 2*keptRecords {
		j.records = slices.Clone(j.records[len(j.records)-keptRecords:])
	}
}

// newest returns up to limit records that match, oldest first.
func (j *journal[T]) newest(limit int, match func(*T) bool) []T {
	j.mu.Lock()
	defer j.mu.Unlock()
	found := []T{}
	for i := len(j.records) - 1; i >= max(0, len(j.records)-keptRecords) && len(found) < limit; i-- {
		if match(&j.records[i]) {
			found = append(found, j.records[i])
		}
	}
	slices.Reverse(found)
	return found
}

func (j *journal[T]) clear() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.records = nil
}

// tally counts calls by API.
type tally struct {
	mu     sync.Mutex
	counts map[string]CallCount
}

func (t *tally) add(api string, failed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = map[string]CallCount{}
	}
	c := t.counts[api]
	c.API = api
	c.Calls++
	if failed {
		c.Failed++
	}
	t.counts[api] = c
}

func (t *tally) list() []CallCount {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]CallCount, 0, len(t.counts))
	for _, c := range t.counts {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b CallCount) int { return strings.Compare(a.API, b.API) })
	return all
}

func (t *tally) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts = nil
}
