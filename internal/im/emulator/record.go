package emulator

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"
)

// CallbackRecord is one callback with its answer and outcome.
type CallbackRecord struct {
	ID       int       `json:"id"` // ascending, from 1
	SDKAppID uint64    `json:"sdkAppID"`
	Command  string    `json:"command"`
	Group    string    `json:"group,omitempty"`
	SentAt   time.Time `json:"sentAt"` // by the emulator's clock
	// DurationMillis is real time.
	DurationMillis int64 `json:"durationMillis"`
	// Query is what was appended to the callback URL, without the value of Sign.
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
	// Fault is the kind of the fault that was injected, if any.
	Fault string `json:"fault,omitempty"`
}

// Outcomes of a callback.
const (
	OutcomeAllowed       = "Allowed"       // before: go ahead
	OutcomeRefused       = "Refused"       // before: the whole request is refused
	OutcomePartlyRefused = "PartlyRefused" // before: RefusedMembers_Account was not empty
	OutcomeFailedOpen    = "FailedOpen"    // before: no usable answer in time, so the action went ahead
	OutcomeFailedClosed  = "FailedClosed"  // before: no usable answer in time, and the settings say Refuse
	OutcomeDelivered     = "Delivered"     // after: answered; the content of the answer is ignored
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
	Fault          string          `json:"fault,omitempty"` // the kind of the fault that was injected, if any
}

// CallCount is the number of calls of an API since the counts were last cleared.
type CallCount struct {
	API    string `json:"api"`
	Calls  int    `json:"calls"`
	Failed int    `json:"failed"` // answered with an ErrorCode other than 0, or hit by a fault
}

const (
	maxRecords        = 2000 // of each kind
	maxRecordedBody   = 16 << 10
	maxRecordedAnswer = 4 << 10
	otherAPIName      = "other" // stands for all unknown APIs, so that the number of counts is bounded
)

// journal holds the last maxRecords records of one kind.
type journal[T any] struct {
	mu      sync.Mutex
	last    int
	records []T // oldest first, at most twice maxRecords
}

// add appends the record that the function makes for the next id.
func (j *journal[T]) add(record func(id int) T) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last++
	j.records = append(j.records, record(j.last))
	if len(j.records) >= 2*maxRecords {
		j.records = slices.Clone(j.records[len(j.records)-maxRecords:])
	}
}

// newest returns up to limit records that match, oldest first.
func (j *journal[T]) newest(limit int, match func(*T) bool) []T {
	j.mu.Lock()
	defer j.mu.Unlock()
	found := []T{}
	for i := len(j.records) - 1; i >= max(0, len(j.records)-maxRecords) && len(found) < limit; i-- {
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
