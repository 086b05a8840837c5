package drill

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/groupgate/groupgate/internal/im/emulator"
)

// faultsFor is how long faults are injected.
const faultsFor = 25 * time.Second

// episodeDraft is what the scenarios of an episode have in common.
type episodeDraft struct {
	Seed     uint64
	Apps     []string
	Rate     int   // REST calls a second
	Sweep    bool  // if not, the sweep comes too late, and no report may be lost
	Patient  bool  // faults that last a minute may happen
	Fallback *rule `json:",omitempty"` // a policy of lowest precedence, for the groups of the first app
	Faults   []fault
	Late     []fault // during undos
}

// fault happens At that long after the beginning.
type fault struct {
	At     time.Duration
	Do     string
	When   string          `json:",omitempty"` // recheck or removal: not before the next one
	For    time.Duration   `json:",omitempty"`
	Target int             `json:",omitempty"` // a manager, 2 for both; or an app
	Move   time.Duration   `json:",omitempty"` // of the clock
	Vendor *emulator.Fault `json:",omitempty"`
}

// String is a line of the script.
func (f fault) String() string {
	if f.Vendor != nil {
		text, err := json.Marshal(f.Vendor)
		if err != nil {
			text = []byte(err.Error())
		}
		return fmt.Sprintf("at %s %s %s", f.At, f.Do, text)
	}
	return fmt.Sprintf("at %s %s %s for %s, target %d, move %s", f.At, f.When, f.Do, f.For, f.Target, f.Move)
}

// The kinds of faults.
const (
	faultVendor  = "fault"   // of the vendor
	faultKill    = "kill -9" // of the leader; a new process starts after For
	faultOutage  = "outage"  // of the API server for the target, For so long
	faultClock   = "clock"   // of the vendor, moved For so long
	faultSuspend = "suspend" // pruning of the app, For so long
	faultDown    = "down"    // both managers are killed, and start after For
	faultStop    = "stop"    // the leader, For so long, as SIGSTOP does
	faultLag     = "lag"     // of the watches of lists, For so long
	faultRotate  = "rotate"  // the app's key: the Secret follows after For
)

// String is the script.
func (e episodeDraft) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "episode %d: apps %v, %d calls a second, sweep %v, patient %v\n", e.Seed, e.Apps, e.Rate, e.Sweep,
		e.Patient)
	if e.Fallback != nil {
		b.WriteString(scriptLine("fallback", e.Fallback))
	}
	for _, f := range e.Faults {
		fmt.Fprintf(&b, "  %s\n", f)
	}
	for _, f := range e.Late {
		fmt.Fprintf(&b, "  late: %s\n", f)
	}
	return b.String()
}

// drawEpisode draws what the scenarios of an episode share.
func drawEpisode(seed uint64) episodeDraft {
	d := newRNG(seed, 0)
	e := episodeDraft{
		Seed:    seed,
		Apps:    []string{"prod"},
		Rate:    oneOf(d, d.between(15, 50), d.between(50, 200)),
		Sweep:   d.chance(75),
		Patient: d.chance(20),
	}
	if d.chance(30) {
		e.Apps = append(e.Apps, "test")
	}
	if d.chance(50) {
		e.Fallback = &rule{
			App: "prod", Match: "All", Mode: "Preview", InactiveDays: 60, FreeSeats: 5, Percent: true,
			MaxRemovals: 10, PerDay: 1000, Cooldown: "10m",
			Prefixes: []string{oneOf(d, "idle2", "never1", "quiet3")},
		}
	}
	at := func() time.Duration { return d.duration(0, faultsFor) }
	when := func() string { return oneOf(d, "", "recheck", "removal", "removal") }
	add := func(f fault) { e.Faults = append(e.Faults, f) }
	for range d.between(3, 10) {
		add(fault{At: at(), Do: faultVendor, Vendor: drawFault(d, e.Patient)})
	}
	if e.Sweep { // reports that a killed process had accepted are left to the sweep
		for range d.between(1, 5) {
			add(fault{At: at(), Do: faultKill, When: when(), For: d.duration(0, 3*time.Second), Target: d.IntN(2)})
		}
	}
	for range d.IntN(4) {
		add(
			fault{
				At:     at(),
				Do:     faultOutage,
				When:   when(),
				For:    d.duration(200*time.Millisecond, 7*time.Second),
				Target: d.IntN(3),
			},
		)
	}
	for range d.IntN(2) {
		add(
			fault{
				At:   at(),
				Do:   faultClock,
				For:  d.duration(time.Second, 8*time.Second),
				Move: d.duration(-4*time.Minute, 4*time.Minute),
			},
		)
	}
	if d.chance(15) {
		add(
			fault{
				At:   at(),
				Do:   faultClock,
				For:  d.duration(time.Second, 4*time.Second),
				Move: oneOf(d, 11*time.Minute, -20*time.Minute),
			},
		)
	}
	if d.chance(25) {
		add(fault{At: at(), Do: faultSuspend, For: d.duration(time.Second, 5*time.Second), Target: d.IntN(len(e.Apps))})
	}
	for range d.between(3, 8) {
		add(fault{At: at(), Do: faultVendor, Vendor: drawUnkindness(d)})
	}
	if d.chance(40) {
		length := d.duration(time.Second, 15*time.Second)
		add(fault{At: at(), Do: faultStop, When: when(), For: length, Target: d.IntN(2)})
	}
	for range d.IntN(3) {
		add(fault{At: d.duration(0, faultsFor*2/3), Do: faultLag, For: d.duration(5*time.Second, 20*time.Second)})
	}
	if d.chance(20) {
		add(fault{At: at(), Do: faultRotate, For: d.duration(0, 3*time.Second), Target: d.IntN(len(e.Apps))})
	}
	slices.SortStableFunc(e.Faults, func(a, b fault) int { return int(a.At - b.At) })
	for range d.IntN(3) {
		f := drawFault(d, false)
		f.API, f.Callback = "add_group_member", ""
		e.Late = append(e.Late, fault{Do: faultVendor, Vendor: f})
	}
	if d.chance(25) {
		e.Late = append(e.Late,
			fault{At: d.duration(0, 2*time.Second), Do: faultKill, For: d.duration(0, time.Second), Target: d.IntN(2)})
	}
	return e
}

// drawUnkindness draws what the vendor's pages do not rule out.
func drawUnkindness(d rng) *emulator.Fault {
	f := &emulator.Fault{API: "delete_group_member", Count: d.between(1, 3), Info: "a fault of the drill"}
	account := fmt.Sprintf("idle%d", d.between(1, 40))
	switch n := d.IntN(100); {
	case n < 60: // carried out after its answer
		f.EffectAfter = d.duration(2*time.Second, 7*time.Second).String()
		if f.Kind = oneOf(d, emulator.FaultCode, emulator.FaultHTTP, emulator.FaultDrop); f.Kind == emulator.FaultCode {
			f.Code = 60008
		}
		if f.Kind == emulator.FaultHTTP {
			f.Status = oneOf(d, 502, 504)
		}
	case n < 68: // a page of HTML
		f.API = oneOf(d, "get_group_info", "get_specified_group_member_info", "delete_group_member")
		f.Kind, f.Status = emulator.FaultHTTP, 200
	case n < 76:
		f.API = oneOf(d, "get_group_info", "get_group_member_info", "get_specified_group_member_info")
		f.Kind = emulator.FaultOK
	case n < 84:
		f.API, f.Kind = "get_group_info", emulator.FaultNoDate
	case n < 92: // an account that cannot be removed
		f.Kind, f.Code, f.Accounts, f.Count = emulator.FaultCode, 10004, []string{account}, 0
	default: // or that is passed over
		f.Kind, f.Accounts, f.Count = emulator.FaultSkip, []string{account}, 0
	}
	return f
}

func drawFault(d rng, patient bool) *emulator.Fault {
	f := &emulator.Fault{
		API: oneOf(d, "*", "get_group_info", "get_group_member_info", "get_specified_group_member_info",
			"delete_group_member", "delete_group_member", "delete_group_member"),
		Kind: oneOf(d, emulator.FaultLatency, emulator.FaultHTTP, emulator.FaultHTTP, emulator.FaultCode,
			emulator.FaultCode, emulator.FaultTruncate, emulator.FaultDrop, emulator.FaultHang),
		Skip: d.IntN(6), Count: d.between(1, 4), Seed: d.Uint64(),
	}
	f.AfterEffect = d.chance(50)
	switch f.Kind {
	case emulator.FaultLatency:
		f.Latency = d.duration(50*time.Millisecond, 2*time.Second).String()
		f.Count = d.between(1, 10)
		f.AfterEffect = false
	case emulator.FaultHTTP:
		f.Status = oneOf(d, 500, 502, 503, 504)
	case emulator.FaultCode:
		f.Code = oneOf(d, 10002, 10002, 60007, 60007, 60008, 70169, 90994, 70001)
		switch {
		case d.chance(5):
			f.Code = oneOf(d, 10010, 10007, 60010) // permanent
			f.Count, f.AfterEffect = 1, false
		case patient && d.chance(30):
			f.Code, f.Count = 70050, 1
		}
		f.Info = "a fault of the drill"
	case emulator.FaultHang:
		f.Count = 1
	}
	if d.chance(30) {
		f.Probability = 0.3
		f.Count *= 2
	}
	return f
}
