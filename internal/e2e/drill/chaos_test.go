package drill

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/groupgate/groupgate/internal/im/emulator"
)

// chaosFor is how long chaos strikes.
const chaosFor = 25 * time.Second

// episodeDraft is what the scenarios of an episode have in common.
type episodeDraft struct {
	Seed    uint64
	Apps    []string
	Rate    int   // REST calls a second
	Sweep   bool  // else the sweeper comes too late, and every report counts
	Patient bool  // what takes a minute to pass may happen
	Net     *rule `json:",omitempty"` // a policy under all others, for the groups of the first app
	Blows   []blow
	Late    []blow // strike while undos are carried out
}

// blow is one stroke of chaos, At that long after the beginning.
type blow struct {
	At     time.Duration
	Do     string
	When   string          `json:",omitempty"` // look or removal: not before the next one
	For    time.Duration   `json:",omitempty"`
	Target int             `json:",omitempty"` // a manager, 2 for both; or an app
	Move   time.Duration   `json:",omitempty"` // of the clock
	Fault  *emulator.Fault `json:",omitempty"`
}

// String is a line of the script.
func (b blow) String() string {
	if b.Fault != nil {
		fault, err := json.Marshal(b.Fault)
		if err != nil {
			fault = []byte(err.Error())
		}
		return fmt.Sprintf("at %s %s %s", b.At, b.Do, fault)
	}
	return fmt.Sprintf("at %s %s %s for %s, target %d, move %s", b.At, b.When, b.Do, b.For, b.Target, b.Move)
}

// What chaos does.
const (
	blowFault   = "fault"   // of the vendor
	blowKill    = "kill -9" // of who holds the term; a new process starts after For
	blowOutage  = "outage"  // of the API server, as the target sees it, For so long
	blowClock   = "clock"   // of the vendor, moved For so long
	blowSuspend = "suspend" // pruning of the app, For so long
)

// String is the script.
func (e episodeDraft) String() string {
	var b strings.Builder
	line := func(label string, v any) {
		text, err := json.Marshal(v)
		if err != nil {
			text = []byte(err.Error())
		}
		fmt.Fprintf(&b, "  %-6s %s\n", label, text)
	}
	fmt.Fprintf(&b, "episode %d: apps %v, %d calls a second, sweep %v, patient %v\n", e.Seed, e.Apps, e.Rate, e.Sweep, e.Patient)
	if e.Net != nil {
		line("net", e.Net)
	}
	for _, blow := range e.Blows {
		fmt.Fprintf(&b, "  %s\n", blow)
	}
	for _, blow := range e.Late {
		fmt.Fprintf(&b, "  late: %s\n", blow)
	}
	return b.String()
}

// drawEpisode draws the chaos of an episode.
func drawEpisode(seed uint64) episodeDraft {
	d := newDice(seed, 0)
	e := episodeDraft{Seed: seed, Apps: []string{"prod"}, Rate: oneOf(d, d.between(15, 50), d.between(50, 200)), Sweep: d.chance(75), Patient: d.chance(20)}
	if d.chance(30) {
		e.Apps = append(e.Apps, "test")
	}
	if d.chance(50) {
		e.Net = &rule{
			App: "prod", Match: "All", Mode: "Preview", InactiveDays: 60, FreeSeats: 5, Percent: true, MaxRemovals: 10, PerDay: 1000, Cooldown: "10m",
			Prefixes: []string{oneOf(d, "idle2", "never1", "quiet3")},
		}
	}
	at := func() time.Duration { return d.duration(0, chaosFor) }
	when := func() string { return oneOf(d, "", "look", "removal", "removal") }
	add := func(b blow) { e.Blows = append(e.Blows, b) }
	for range d.between(3, 10) {
		add(blow{At: at(), Do: blowFault, Fault: drawFault(d, e.Patient)})
	}
	if e.Sweep { // what a killed process had taken in is for the sweeper to find
		for range d.between(1, 5) {
			add(blow{At: at(), Do: blowKill, When: when(), For: d.duration(0, 3*time.Second), Target: d.IntN(2)})
		}
	}
	for range d.IntN(4) {
		add(blow{At: at(), Do: blowOutage, When: when(), For: d.duration(200*time.Millisecond, 7*time.Second), Target: d.IntN(3)})
	}
	for range d.IntN(2) {
		add(blow{At: at(), Do: blowClock, For: d.duration(time.Second, 8*time.Second), Move: d.duration(-4*time.Minute, 4*time.Minute)})
	}
	if d.chance(15) {
		add(blow{At: at(), Do: blowClock, For: d.duration(time.Second, 4*time.Second), Move: oneOf(d, 11*time.Minute, -20*time.Minute)})
	}
	if d.chance(25) {
		add(blow{At: at(), Do: blowSuspend, For: d.duration(time.Second, 5*time.Second), Target: d.IntN(len(e.Apps))})
	}
	slices.SortStableFunc(e.Blows, func(a, b blow) int { return int(a.At - b.At) })
	for range d.IntN(3) {
		f := drawFault(d, false)
		f.API, f.Callback = "add_group_member", ""
		e.Late = append(e.Late, blow{Do: blowFault, Fault: f})
	}
	if d.chance(25) {
		e.Late = append(e.Late, blow{At: d.duration(0, 2*time.Second), Do: blowKill, For: d.duration(0, time.Second), Target: d.IntN(2)})
	}
	return e
}

func drawFault(d dice, patient bool) *emulator.Fault {
	f := &emulator.Fault{
		API:  oneOf(d, "*", "get_group_info", "get_group_member_info", "get_specified_group_member_info", "delete_group_member", "delete_group_member", "delete_group_member"),
		Kind: oneOf(d, emulator.FaultLatency, emulator.FaultHTTP, emulator.FaultHTTP, emulator.FaultCode, emulator.FaultCode, emulator.FaultTruncate, emulator.FaultDrop, emulator.FaultHang),
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
			f.Code = oneOf(d, 10010, 10007, 60010) // for good
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
