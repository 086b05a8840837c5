package emulator

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Fault is a rule that makes REST calls or callbacks fail. Rules are tried in the order in which they were added: those
// of the kinds latency, noDate and skip add up, and the first other rule that fires is injected.
type Fault struct {
	// ID is assigned by the emulator.
	ID int `json:"id,omitempty"`
	// API is the last part of a REST path, for example delete_group_member; * matches every one. Either API or Callback
	// is set.
	API string `json:"api,omitempty"`
	// Callback is a command, for example Group.CallbackBeforeApplyJoinGroup; * matches every one.
	Callback string `json:"callback,omitempty"`
	// Group limits the rule to one group. A call that names several groups matches no such rule.
	Group string `json:"group,omitempty"`
	// Accounts limits the rule to calls and callbacks about members that name one of them; required with Kind skip.
	Accounts []string `json:"accounts,omitempty"`

	// Kind is one of the Fault constants.
	Kind string `json:"kind"`
	// Latency is the delay of Kind latency, for example "300ms".
	Latency string `json:"latency,omitempty"`
	// Status is the HTTP status of Kind http, default 502; 200 is a page of HTML instead of an answer.
	Status int `json:"status,omitempty"`
	// Code is the ErrorCode of Kind code.
	Code int `json:"code,omitempty"`
	// Info is the ErrorInfo of Kind code.
	Info string `json:"info,omitempty"`
	// AfterEffect injects the fault after the call has taken effect, so that only its answer is lost. Without it, the
	// call has no effect. It is always set for kind truncate.
	AfterEffect bool `json:"afterEffect,omitempty"`
	// EffectAfter lets the call take effect this long after its answer, in real time, for example "3s".
	EffectAfter string `json:"effectAfter,omitempty"`

	// Skip is how many matching calls pass before the rule fires.
	Skip int `json:"skip,omitempty"`
	// Count is how often the rule fires; 0: without limit.
	Count int `json:"count,omitempty"`
	// Probability, between 0 and 1, makes the rule fire at random; 0: always.
	Probability float64 `json:"probability,omitempty"`
	// Seed makes the random choices reproducible.
	Seed uint64 `json:"seed,omitempty"`

	// Fired is how often the rule has fired; read-only.
	Fired int `json:"fired"`

	matched     int
	latency     time.Duration
	effectAfter time.Duration
	random      *rand.Rand
}

// Kinds of faults.
const (
	// FaultLatency delays by Fault.Latency of real time. For a callback, that counts towards the 2 seconds.
	FaultLatency = "latency"
	// FaultHTTP answers with the HTTP status Fault.Status and no JSON.
	FaultHTTP = "http"
	// FaultCode answers HTTP 200 with Fault.Code.
	FaultCode = "code"
	// FaultTruncate breaks the connection in the middle of the answer.
	FaultTruncate = "truncate"
	// FaultHang does not answer until the caller times out.
	FaultHang = "hang"
	// FaultDrop breaks the connection instead of answering.
	FaultDrop = "drop"
	// FaultOK answers OK and nothing else: a list that was asked for is missing, and the call has no effect.
	FaultOK = "ok"
	// FaultNoDate leaves the Date header out of the answer.
	FaultNoDate = "noDate"
	// FaultSkip makes delete_group_member pass over Fault.Accounts, and report success.
	FaultSkip = "skip"
	// FaultRepeat delivers a callback twice, as retries of the vendor may.
	FaultRepeat = "repeat"
)

func (f *Fault) validate() error {
	if (f.API == "") == (f.Callback == "") {
		return errors.New(`set either "api" or "callback", for example "api": "delete_group_member" or "callback": "*"`)
	}
	switch f.Kind {
	case FaultLatency:
		d, err := time.ParseDuration(f.Latency)
		if err != nil || d <= 0 {
			return errors.New(`kind latency needs "latency", a duration such as "300ms" or "3s"`)
		}
		f.latency = d
	case FaultHTTP:
		if f.Status == 0 {
			f.Status = 502
		}
		if f.Status != 200 && (f.Status < 400 || f.Status > 599) {
			return errors.New(`"status" must be an HTTP error, 400 to 599, or 200 for a page of HTML`)
		}
	case FaultCode:
		if f.Code <= 0 {
			return errors.New(`kind code needs "code", for example 60007 for a call or 1 for a callback`)
		}
	case FaultTruncate:
		f.AfterEffect = true
	case FaultHang, FaultDrop:
	case FaultOK, FaultNoDate:
		if f.API == "" {
			return fmt.Errorf("kind %s is for calls", f.Kind)
		}
	case FaultSkip:
		if f.API != apiDelete || len(f.Accounts) == 0 {
			return errors.New(`kind skip needs "api": "delete_group_member" and "accounts", which it passes over`)
		}
	case FaultRepeat:
		if f.Callback == "" {
			return errors.New("kind repeat is for callbacks: a call is repeated by its caller")
		}
	default:
		return fmt.Errorf(
			"kind %q is unknown: use latency, http, code, truncate, hang, drop, ok, noDate, skip or repeat", f.Kind)
	}
	if f.EffectAfter != "" {
		d, err := time.ParseDuration(f.EffectAfter)
		if err != nil || d <= 0 || f.API == "" || f.AfterEffect || f.addsUp() {
			return errors.New(`"effectAfter" is a duration such as "3s", for calls, without "afterEffect"; ` +
				`it goes with the kinds http, code, hang, drop and ok`)
		}
		f.effectAfter = d
	}
	switch {
	case f.Probability < 0 || f.Probability > 1:
		return errors.New(`"probability" must be between 0 and 1; leave it out for always`)
	case f.Skip < 0 || f.Count < 0:
		return errors.New(`"skip" and "count" must not be negative`)
	}
	return nil
}

// addsUp reports whether the fault leaves room for others in the same call.
func (f *Fault) addsUp() bool {
	return f.Kind == FaultLatency || f.Kind == FaultNoDate || f.Kind == FaultSkip
}

// faultList holds the rules in force.
type faultList struct {
	mu    sync.Mutex
	rules []*Fault
	last  int
}

func (l *faultList) add(f Fault) (Fault, error) {
	if err := f.validate(); err != nil {
		return Fault{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	f.ID, f.Fired, f.matched = l.last, 0, 0
	f.random = rand.New(rand.NewPCG(f.Seed, f.Seed)) //nolint:gosec // a fault must be reproducible
	l.rules = append(l.rules, &f)
	return f, nil
}

func (l *faultList) list() []Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Fault, len(l.rules))
	for i, f := range l.rules {
		all[i] = *f
	}
	return all
}

func (l *faultList) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rules = nil
}

func (l *faultList) remove(id int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := len(l.rules)
	l.rules = slices.DeleteFunc(l.rules, func(f *Fault) bool { return f.ID == id })
	return len(l.rules) < before
}

// injected is what the rules inject into one call or callback. The zero value is nothing.
type injected struct {
	latency time.Duration
	noDate  bool
	skip    []string
	fault   *Fault // a copy; nil: only the others
}

func (t injected) is(kind string) bool { return t.fault != nil && t.fault.Kind == kind }

func (t injected) name() string {
	if t.fault != nil {
		return t.fault.Kind
	}
	switch {
	case t.latency > 0:
		return FaultLatency
	case t.noDate:
		return FaultNoDate
	case t.skip != nil:
		return FaultSkip
	}
	return ""
}

func (l *faultList) forCall(api, group string, accounts []string) injected {
	return l.pick(func(f *Fault) bool { return matches(f.API, api) && f.concerns(group, accounts) })
}

func (l *faultList) forCallback(command, group string, accounts []string) injected {
	return l.pick(func(f *Fault) bool { return matches(f.Callback, command) && f.concerns(group, accounts) })
}

// concerns reports whether the rule is about the group and one of the accounts.
func (f *Fault) concerns(group string, accounts []string) bool {
	return (f.Group == "" || f.Group == group) && (len(f.Accounts) == 0 ||
		slices.ContainsFunc(f.Accounts, func(account string) bool { return slices.Contains(accounts, account) }))
}

func matches(pattern, name string) bool { return pattern != "" && (pattern == "*" || pattern == name) }

func (l *faultList) pick(match func(*Fault) bool) (t injected) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.rules {
		if !match(f) || !f.fires() {
			continue
		}
		if f.addsUp() {
			t.latency += f.latency
			t.noDate = t.noDate || f.Kind == FaultNoDate
			if f.Kind == FaultSkip {
				t.skip = append(t.skip, f.Accounts...)
			}
			continue
		}
		hit := *f
		t.fault = &hit
		break
	}
	return t
}

// fires counts a match and reports whether the rule fires. The caller holds the lock of the list.
func (f *Fault) fires() bool {
	f.matched++
	if f.matched <= f.Skip || f.Count > 0 && f.Fired >= f.Count {
		return false
	}
	if f.Probability > 0 && f.random.Float64() >= f.Probability {
		return false
	}
	f.Fired++
	return true
}

// forever is a duration for wait: only its context or the closing emulator ends it.
const forever = time.Duration(math.MaxInt64)

// wait waits for a real duration, or until ctx is done or closing is closed.
func wait(ctx context.Context, d time.Duration, closing <-chan struct{}) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-closing:
		return errClosing
	}
}

var errClosing = errors.New("the emulator is closing")
