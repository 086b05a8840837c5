package drill

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/groupgate/groupgate/internal/im/emulator"
)

// The kinds of steps that only the drill of evictions has.
const (
	doStrangers  = "strangers apply"     // N, one after the other; let in while the gate does not answer
	doAddOverAPI = "strangers are added" // N, over REST
	doMigrate    = "strangers imported"  // N, without a callback, as members of long ago
	doCreate     = "group is created"    // the next group of the scenario that does not exist, with N strangers
	doUnlist     = "accounts unlisted"   // N members are taken off the allow, or put on the deny
	doListEmpty  = "lists emptied"
	doListsGo    = "lists deleted"
	doShardGoes  = "shard deleted" // the first one of each list
	doRelabel    = "lists relabelled"
	doListsBack  = "lists restored"
	doTypo       = "typo in a prefix"
	doCorrect    = "policy corrected" // back to what it was, or made anew
	doEvict      = "manual eviction"  // with N accounts; 0: all
)

// drawEvictEpisode draws what the scenarios of an episode of the drill of evictions share.
func drawEvictEpisode(seed uint64) episodeDraft {
	e := drawEpisode(seed)
	d := newRNG(seed, 1_000_000)
	e.Sweep, e.Fallback = false, nil
	e.Rate = d.between(60, 200) // the round has a quarter of it
	if d.chance(50) {
		e.Fallback = &rule{App: "prod", Match: "All", NoPrune: true, Gate: &gate{
			Deny: &accounts{Accounts: []string{"listed1", "x1", "staff-1"}},
		}}
		if d.chance(50) {
			e.Fallback.Gate = &gate{
				Triggers: []string{"Apply"}, Allow: &accounts{Prefixes: []string{"staff-"}},
				Deny: &accounts{Accounts: []string{"listed2", "listed3"}},
			}
		}
	}
	at := func() time.Duration { return d.duration(0, faultsFor) }
	for range d.between(1, 3) { // the gate is down, and every applicant joins
		e.Faults = append(e.Faults, fault{At: at(), Do: faultDown, For: d.duration(time.Second, 4*time.Second)})
	}
	for range d.between(1, 4) {
		e.Faults = append(e.Faults, fault{At: at(), Do: faultVendor, Vendor: &emulator.Fault{
			Callback: oneOf(d, "Group.CallbackBeforeApplyJoinGroup", "Group.CallbackAfterNewMemberJoin",
				"Group.CallbackAfterCreateGroup", "Group.CallbackBeforeInviteJoinGroup", "*"),
			Kind:        oneOf(d, emulator.FaultDrop, emulator.FaultDrop, emulator.FaultHang, emulator.FaultHTTP),
			Probability: 0.5, Count: d.between(3, 30), Seed: d.Uint64(),
		}})
	}
	if d.chance(50) { // accounts that cannot be removed, or that are passed over
		f := &emulator.Fault{
			API: "delete_group_member", Kind: oneOf(d, emulator.FaultCode, emulator.FaultSkip),
			Accounts: []string{fmt.Sprintf("x%d", d.between(1, 6)), fmt.Sprintf("banned%d", d.between(1, 6))},
		}
		if f.Kind == emulator.FaultCode {
			f.Code = 10004
		}
		e.Faults = append(e.Faults, fault{At: at(), Do: faultVendor, Vendor: f})
	}
	slices.SortStableFunc(e.Faults, func(a, b fault) int { return int(a.At - b.At) })
	return e
}

// drawEviction draws the n-th scenario of an episode of the drill of evictions.
func drawEviction(seed uint64, n int, e episodeDraft) scenario {
	d := newRNG(seed, uint64(n)+2_000_000)
	s := scenario{Name: fmt.Sprintf("v%02d", n), Undo: d.chance(30), Accounts: map[string][]string{}}
	s.Rule = rule{App: oneOf(d, e.Apps...), Match: "Exact", NoPrune: true, Gate: drawGate(d, s.Name, e)}
	if d.chance(25) {
		full := drawRule(d, s.Rule.App)
		full.Match, full.Gate, full.Invalid, full.Prefixes = "Exact", s.Rule.Gate, false, []string{"quiet"}
		full.Code, full.Message, full.Lists = 0, "", nil
		s.Rule = full
	}
	groups := 1
	if d.chance(40) {
		groups = d.between(2, 3)
	}
	for g := range groups {
		id := fmt.Sprintf("%s%s-%d", oneOf(d, "", "", "a b/%", "x'\""), s.Name, g)
		s.Groups = append(s.Groups, drawHouse(d, s.Rule, id))
		s.Rule.Groups = append(s.Rule.Groups, id)
	}
	if groups == 1 && d.chance(20) {
		s.Rule.Match = "Prefix"
	}
	if groups > 1 && d.chance(60) {
		s.Later = groups - 1
	}
	for _, a := range []*accounts{s.Rule.Gate.Allow, s.Rule.Gate.Deny} {
		if a.shards() == 0 {
			continue
		}
		prefix, most := "listed", 0
		for _, g := range s.Groups {
			for _, m := range g.Members {
				if m.Prefix == prefix {
					most = max(most, m.Count)
				}
			}
		}
		if a == s.Rule.Gate.Deny {
			prefix, most = "banned", 60
		}
		for i := range most + a.Shards {
			name := shard(a.List, i%a.Shards)
			s.Accounts[name] = append(s.Accounts[name], fmt.Sprintf("%s%d", prefix, i+1))
		}
	}
	s.Steps = drawEvictSteps(d, s)
	return s
}

// drawGate draws a gate that admits listed* and staff-*, and refuses x* and banned*, unless it has no allow.
func drawGate(d rng, name string, e episodeDraft) *gate {
	g := &gate{Evict: &eviction{
		Mode:        oneOf(d, "Preview", "Approve", "Approve", "Enforce", "Enforce", "Enforce", "Enforce", "Enforce"),
		MaxRemovals: oneOf(d, d.between(1, 20), 100, 100, 1000), PerDay: 1000,
	}}
	if e.Patient && d.chance(25) {
		g.Evict.Grace = 1
	}
	if d.chance(30) {
		g.Evict.PerDay = d.between(1, 40)
	}
	list := func(what string) *accounts {
		return &accounts{List: name + "-" + what, Shards: d.between(1, 3), BySelector: d.chance(50)}
	}
	kind := d.IntN(100)
	if kind < 75 {
		g.Allow = list("in")
		g.Allow.Prefixes, g.Allow.Accounts = []string{"staff-", "fresh", "busy"}, []string{"guest"}
	}
	if kind >= 50 {
		g.Deny = list("out")
		if g.Allow == nil {
			g.Deny.Prefixes = []string{"x"}
		}
	}
	return g
}

// drawHouse draws a group of members whom the gate admits, and of some whom it refuses.
func drawHouse(d rng, r rule, id string) emulator.GroupSpec {
	g := emulator.GroupSpec{ID: id, Type: oneOf(d, "Public", "Public", "Meeting", "ChatRoom", "Work", "Community"),
		CreatedAgo: "400d", MaxMembers: 5000}
	if g.Type == "Public" {
		g.ApplyJoinOption = "FreeAccess"
	}
	g.Quirks = emulator.Quirks{RoleTrailingBlank: d.chance(20)}
	if d.chance(80) {
		g.Owner = owner
	}
	size := d.between(3, 60)
	switch n := d.IntN(100); {
	case n < 15:
		size = d.between(100, 400)
	case n < 19:
		size = d.between(1000, 1500)
	}
	put := func(n int, m emulator.MemberSpec) {
		if m.Count = n; n > 0 {
			g.Members = append(g.Members, m)
		}
	}
	days := func(low, high int) string { return fmt.Sprintf("%dd", d.between(low, high)) }
	if d.chance(40) && g.Type != "Work" {
		put(d.between(1, 3), emulator.MemberSpec{Prefix: "xadmin", Role: "Admin", JoinedAgo: "300d"})
	}
	put(d.between(0, size/10), emulator.MemberSpec{Prefix: "staff-", InactiveFor: days(20, 300)})
	put(size, emulator.MemberSpec{Prefix: "listed", JoinedAgo: days(2, 300), SpokeAgo: oneOf(d, "1h", "50d")})
	strangers := 0
	switch n := d.IntN(100); {
	case n < 35:
		strangers = d.between(0, max(1, size/6))
	case n < 50:
		strangers = d.between(size/6, size)
	}
	old := d.between(0, strangers)
	put(old, emulator.MemberSpec{Prefix: "x", JoinedAgo: days(1, 200)})
	put(strangers-old, emulator.MemberSpec{Prefix: "x", Start: old + 1, JoinedAgo: oneOf(d, "5s", "1h")})
	if r.Gate.Deny != nil {
		put(d.between(0, 1+size/8), emulator.MemberSpec{Prefix: "banned", JoinedAgo: days(1, 200)})
	}
	if d.chance(15) {
		put(d.between(1, 3), emulator.MemberSpec{Prefix: "xfuture", JoinedAgo: "-2h"})
	}
	if d.chance(10) {
		g.Members = append(g.Members, emulator.MemberSpec{Accounts: []string{"administrator"}, JoinedAgo: "100d"})
	}
	if !r.NoPrune { // it is full, and may be reported
		put(d.between(0, 20), emulator.MemberSpec{Prefix: "busyidle", InactiveFor: "300d"})
		g.MaxMembers = 0
		for _, m := range g.Members {
			g.MaxMembers += m.Count + len(m.Accounts)
		}
		if g.Owner != "" {
			g.MaxMembers++
		}
	}
	return g
}

// drawEvictSteps draws the steps of a scenario of the drill of evictions, which takes up to some 20 s.
func drawEvictSteps(d rng, s scenario) (steps []step) {
	add := func(after time.Duration, do string, n int) {
		steps = append(steps, step{After: after, Do: do, Group: d.IntN(len(s.Groups)), N: n, Pick: d.Uint64()})
	}
	short := func() time.Duration { return d.duration(0, oneOf(d, 10*time.Millisecond, time.Second)) }
	long := func() time.Duration { return d.duration(0, 4*time.Second) }
	// A slip is planned, corrected and, too late, approved. It comes first, since for a minute after a run of a group
	// there is no other.
	if d.chance(50) {
		g, pick := d.IntN(len(s.Groups)-s.Later), d.Uint64()
		for _, do := range []string{oneOf(d, doShardGoes, doUnlist, doUnlist), doAwaitPlan, doListsBack, doApprove} {
			steps = append(steps, step{Do: do, Group: g, N: d.between(3, 20), Pick: pick})
		}
		// Every replica has seen the lists by then.
		steps[len(steps)-1].After = d.duration(3*time.Second, 6*time.Second)
	}
	add(d.duration(0, faultsFor/2), doStrangers, d.between(1, 6))
	for range d.IntN(3) {
		add(0, doHold, d.between(1, 4))
	}
	for range d.between(3, 8) {
		switch n := d.IntN(100); {
		case n < 22:
			add(short(), doStrangers, d.between(1, 5))
		case n < 30:
			add(short(), doAddOverAPI, d.between(1, 4))
		case n < 36:
			add(short(), doMigrate, d.between(1, 4))
		case n < 44:
			add(short(), doUnlist, d.between(1, 3))
		case n < 52:
			add(short(), oneOf(d, doListEmpty, doListsGo, doShardGoes, doRelabel), 0)
			if d.chance(70) {
				add(long(), doListsBack, 0)
			}
		case n < 56:
			add(short(), doTypo, 0)
			add(long(), doCorrect, 0)
		case n < 60:
			add(short(), doListsBack, 0)
		case n < 64:
			add(short(), doQuit, d.between(1, 4))
		case n < 68:
			add(short(), doPromote, d.between(1, 2))
		case n < 74:
			add(0, doAwaitPlan, 0)
			add(short(), doApprove, 0)
		case n < 77:
			add(short(), doDeny, 0)
		case n < 82:
			add(short(), doEvict, d.IntN(4))
		case n < 85:
			add(long(), doUndoFirst, 0)
		case n < 87:
			add(short(), doAnew, 0)
		case n < 88:
			add(short(), doDisband, 0)
		case n < 91:
			add(short(), oneOf(d, doInvalidate, doDelete, doPreview), 0)
			add(long(), doCorrect, 0)
		case n < 93:
			add(0, doAwaitPlan, 0)
			add(short(), doAge, d.IntN(4))
		default:
			if !s.Rule.NoPrune {
				add(short(), doReport, d.IntN(2))
			}
		}
	}
	for range s.Later {
		i := d.IntN(len(steps) + 1)
		steps = slices.Insert(steps, i, step{After: short(), Do: doCreate, N: d.IntN(5), Pick: d.Uint64()})
	}
	if d.chance(75) { // otherwise the slip stays
		add(long(), doCorrect, 0)
		add(0, doListsBack, 0)
	}
	if s.Rule.Gate.Evict.Mode == "Approve" || d.chance(50) {
		add(long(), doAwaitPlan, 0)
		add(long(), doApprove, 0)
	}
	return steps
}

// misspelt is a gate with a typo in each of its prefixes.
func (g gate) misspelt() *gate {
	for _, a := range []**accounts{&g.Allow, &g.Deny} {
		if *a != nil {
			again := **a
			again.Prefixes = nil
			for _, prefix := range (*a).Prefixes {
				again.Prefixes = append(again.Prefixes, strings.ToUpper(prefix))
			}
			*a = &again
		}
	}
	return &g
}
