package drill

import (
	"fmt"
	"slices"
	"time"
)

// step is one change in a scenario, After the one before.
type step struct {
	After time.Duration
	Do    string
	Group int    `json:",omitempty"` // index of the group
	N     int    `json:",omitempty"` // how many, or which manager
	Pick  uint64 `json:",omitempty"` // seed of the accounts
}

// String is a line of the script.
func (s step) String() string {
	return fmt.Sprintf("after %s %s, group %d, n %d, pick %d", s.After, s.Do, s.Group, s.N, s.Pick)
}

// The kinds of steps.
const (
	doReport     = "report"     // the vendor reports the group as full, to manager N first
	doHold       = "hold"       // the next N calls of one kind take long, so that other steps fall between
	doAwaitPlan  = "await plan" // for some seconds
	doAwaitLag   = "await lag"  // of the watches of lists, until the faults end
	doAwaitEnd   = "await end"  // of all runs of the group, for some seconds
	doSpeak      = "speak"      // N planned accounts, or members
	doQuit       = "quit"       // N of them leave
	doReturn     = "return"     // N accounts that left or were removed become members without an application
	doApply      = "apply"      // N accounts that left or were removed apply to join, and a new one
	doPromote    = "promote"    // N become admins
	doSilence    = "silence"    // the vendor no longer returns when members spoke
	doMute       = "mute"       // N planned accounts, or members, for hours
	doMuteAll    = "mute all"   // members of the group; a group with topics is as silent
	doUnmute     = "unmute"     // the group
	doAge        = "age"        // the plans of the runs that have not ended: they expire after N seconds
	doRaise      = "raise"      // the group's limit, by N
	doDisband    = "disband"
	doApprove    = "approve" // every run with a plan
	doDeny       = "deny"    // every unfinished run
	doManual     = "manual run"
	doTighten    = "tighten"    // the policy protects N more
	doLoosen     = "loosen"     // the policy wants more seats
	doRephrase   = "rephrase"   // the policy rejects with another message, which voids no plan
	doPreview    = "preview"    // the policy's mode becomes Preview
	doInvalidate = "invalidate" // the policy becomes invalid
	doRepair     = "repair"     // it becomes valid
	doDelete     = "delete"     // the policy
	doRecreate   = "recreate"   // the policy, if it was deleted
	doListGrow   = "list grows" // by N planned accounts
	doListDrop   = "list goes"
	doListBack   = "list is back"
	doImport     = "import"     // N accounts that ended runs removed become members who have been silent for long
	doUndoFirst  = "undo first" // of the runs that have ended
	doAnew       = "made anew"  // the group is disbanded, and another one made under its id
)

// drawSteps draws the steps of a scenario, which takes up to some 20 s.
func drawSteps(d rng, s scenario, e episodeDraft) (steps []step) {
	group := func() int { return d.IntN(len(s.Groups)) }
	add := func(after time.Duration, do string, n int) {
		steps = append(steps, step{After: after, Do: do, Group: group(), N: n, Pick: d.Uint64()})
	}
	short := func() time.Duration { return d.duration(0, oneOf(d, 10*time.Millisecond, 700*time.Millisecond)) }
	long := func() time.Duration { return d.duration(0, 3*time.Second) }

	begin := d.duration(0, faultsFor*2/3)
	// The list grows while no replica sees it: what comes after that must respect it nevertheless.
	unseen := len(s.Rule.Lists) > 0 && d.chance(60) &&
		slices.ContainsFunc(e.Faults, func(f fault) bool { return f.Do == faultLag })
	if unseen && s.Rule.Mode != "Approve" {
		add(0, doAwaitLag, 0)
		add(short(), doListGrow, d.between(1, 20))
		begin = d.duration(2*time.Second, 4*time.Second)
	}
	for range d.IntN(3) {
		steps = append(steps, step{Do: doHold, Group: group(), N: d.between(1, 4), Pick: d.Uint64()})
	}
	for g := range s.Groups {
		if d.chance(75) || !e.Sweep { // the others are left to the sweep
			steps = append(steps, step{After: begin + short(), Do: doReport, Group: g, N: d.IntN(2)})
			begin = 0
		}
	}
	if d.chance(20) {
		add(short(), doReport, d.IntN(2))
	}
	interfere := func() {
		switch n := d.IntN(100); {
		case n < 18:
			add(short(), doSpeak, d.between(1, 8))
		case n < 30:
			add(short(), doQuit, d.between(1, 6))
		case n < 38:
			add(short(), doReturn, d.between(1, 4))
		case n < 45:
			add(short(), doApply, d.between(1, 3))
		case n < 53:
			add(short(), doPromote, d.between(1, 3))
		case n < 54:
			add(short(), doSilence, 0)
		case n < 56:
			add(short(), doMute, d.between(1, 8))
		case n < 58:
			add(short(), doMuteAll, d.IntN(2))
			if d.chance(50) {
				add(long(), doUnmute, 0)
			}
		case n < 59:
			add(short(), doAge, d.IntN(4))
		case n < 60:
			add(short(), doRaise, d.between(1, 30))
		case n < 62:
			add(short(), doDisband, 0)
		case n < 70 && len(s.Rule.Lists) > 0:
			add(short(), doListGrow, d.between(1, 10))
		case n < 75 && len(s.Rule.Lists) > 0:
			add(short(), doListDrop, 0)
			if d.chance(70) {
				add(d.duration(time.Second, 5*time.Second), doListBack, 0)
			}
		case n < 82:
			add(short(), doTighten, d.between(1, 10))
		case n < 84:
			add(short(), doLoosen, d.between(1, 20))
		case n < 86:
			add(short(), doRephrase, d.between(1, 100))
		case n < 88:
			add(short(), doPreview, 0)
		case n < 90:
			add(short(), doInvalidate, 0)
			if d.chance(70) {
				add(long(), doRepair, 0)
			}
		case n < 94:
			add(short(), doDelete, 0)
			if d.chance(70) {
				add(long(), doRecreate, 0)
			}
		case n < 96:
			add(short(), doManual, 0)
		default:
			add(short(), doDeny, 0)
		}
	}
	if d.chance(25) {
		interfere() // before the plan
	}
	add(0, doAwaitPlan, 0)
	if s.Rule.Mode == "Approve" {
		var pauseBefore time.Duration
		if d.chance(15) {
			add(short(), doAge, d.IntN(8))
		}
		if unseen || len(s.Rule.Lists) > 0 && d.chance(60) {
			// The list grows by planned accounts. Unless the watches lag, every replica has that snapshot before the
			// approval.
			if unseen {
				add(0, doAwaitLag, 0)
			}
			add(short(), doListGrow, d.between(1, 20))
			pauseBefore = d.duration(2*time.Second, 4*time.Second)
		} else {
			for range d.IntN(3) {
				interfere()
			}
		}
		switch n := d.IntN(100); {
		case n < 70:
			add(pauseBefore+long(), doApprove, 0)
			if d.chance(15) {
				add(d.duration(0, 200*time.Millisecond), doDeny, 0)
			}
		case n < 85:
			add(long(), doDeny, 0)
		}
	}
	for range d.IntN(3) {
		interfere()
	}
	if d.chance(30) {
		add(d.duration(time.Second, 5*time.Second), doApply, d.between(1, 3))
	}
	if d.chance(40) {
		add(long(), doReport, d.IntN(2))
	}
	switch n := d.IntN(100); {
	case n < 35:
		// Accounts come back, are removed again, and the first removal is undone.
		g, pick := group(), d.Uint64()
		for _, do := range []string{doAwaitEnd, doImport, doManual, doAwaitEnd, doUndoFirst} {
			steps = append(steps, step{Do: do, Group: g, N: 20, Pick: pick})
		}
	case n < 45:
		add(long(), doUndoFirst, 0)
		add(short(), doManual, 0)
	case n < 50:
		add(long(), doAnew, 0)
		add(short(), doUndoFirst, 0)
	}
	return steps
}
