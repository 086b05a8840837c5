package drill

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/groupgate/groupgate/internal/im/emulator"
)

// scenario is one policy with its groups and the steps that change them, drawn before anything starts.
type scenario struct {
	Name   string
	Rule   rule
	Groups []emulator.GroupSpec
	List   []string `json:",omitempty"` // the accounts of its AccountList, if the rule names one
	Steps  []step
	// Accounts are those of each AccountList of the gate.
	Accounts map[string][]string `json:",omitempty"`
	Later    int                 `json:",omitempty"` // how many groups, the last ones, are made by steps
	Undo     bool                `json:",omitempty"` // its removals are undone in the end
	// Spent is what yesterday's record takes of the budget, until Free from the beginning of the episode on.
	Spent int           `json:",omitempty"`
	Free  time.Duration `json:",omitempty"`
}

// String is the script, one line a step.
func (s scenario) String() string {
	var b strings.Builder
	line := func(label string, v any) { b.WriteString(scriptLine(label, v)) }
	fmt.Fprintf(&b, "scenario %s, undo %v, spent %d for %s\n", s.Name, s.Undo, s.Spent, s.Free)
	line("rule", s.Rule)
	for _, g := range s.Groups {
		line("group", g)
	}
	if s.List != nil {
		line("list", s.List)
	}
	for _, step := range s.Steps {
		fmt.Fprintf(&b, "  %s\n", step)
	}
	return b.String()
}

// scriptLine is one line of a script: what it is about, and its value as JSON.
func scriptLine(label string, v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		text = []byte(err.Error())
	}
	return fmt.Sprintf("  %-6s %s\n", label, text)
}

// rng makes the random choices of one seed.
type rng struct{ *rand.Rand }

func newRNG(seed, stream uint64) rng { return rng{rand.New(rand.NewPCG(seed, stream))} }

// between returns a number from low to high, both included.
func (d rng) between(low, high int) int { return low + d.IntN(high-low+1) }

// chance is true in percent of 100 cases.
func (d rng) chance(percent int) bool { return d.IntN(100) < percent }

func (d rng) duration(low, high time.Duration) time.Duration {
	return low + time.Duration(d.Int64N(int64(high-low)+1)).Truncate(time.Millisecond)
}

func oneOf[T any](d rng, choices ...T) T { return choices[d.IntN(len(choices))] }

const owner = "olivia"

// drawScenario draws the n-th scenario of an episode.
func drawScenario(seed uint64, n int, e episodeDraft) scenario {
	d := newRNG(seed, uint64(n)+1)
	s := scenario{Name: fmt.Sprintf("s%02d", n), Undo: d.chance(30)}
	s.Rule = drawRule(d, oneOf(d, e.Apps...))
	groups := 1
	if d.chance(15) {
		groups = d.between(2, 3)
	}
	for g := range groups {
		s.Groups = append(s.Groups,
			drawGroup(d, fmt.Sprintf("%s%s-%d", oneOf(d, "", "", "@TGS#_@TGS#c", "a b/%", "x'\""), s.Name, g)))
		s.Rule.Groups = append(s.Rule.Groups, s.Groups[g].ID)
	}
	if groups == 1 && d.chance(20) {
		s.Rule.Match = "Prefix"
	}
	if d.chance(15) {
		s.Rule.Types = []string{modernType(s.Groups[0].Type), "Meeting"}
	}
	if d.chance(50) {
		s.Rule.Lists = []string{s.Name}
		s.Rule.BySelector = d.chance(30)
		s.List = []string{"nobody"}
		for range d.between(0, 5) {
			s.List = append(s.List, fmt.Sprintf("idle%d", d.between(1, 40)))
		}
	}
	if s.Rule.PerDay < 1000 && d.chance(40) {
		s.Spent, s.Free = d.between(1, s.Rule.PerDay), d.duration(10*time.Second, 2*faultsFor)
	}
	s.Steps = drawSteps(d, s, e)
	return s
}

func drawRule(d rng, app string) rule {
	r := rule{
		App: app, Match: "Exact",
		Mode:         oneOf(d, "Preview", "Approve", "Approve", "Enforce", "Enforce", "Enforce", "Enforce"),
		InactiveDays: oneOf(d, 1, 7, 30, 30, 30, 90),
		FreeSeats:    d.between(1, 60),
		MaxRemovals:  oneOf(d, d.between(1, 20), 100, 500, 1000),
		PerDay:       1000,
		Cooldown:     oneOf(d, "10m", "10m", "1h", "0m", "1m"),
	}
	if d.chance(60) {
		r.Percent, r.FreeSeats = true, d.between(1, 100)
	}
	if d.chance(30) {
		r.PerDay = d.between(1, 40)
	}
	if d.chance(40) {
		r.RejoinAfter = oneOf(d, 5*time.Second, 20*time.Second, 10*time.Minute, 7*24*time.Hour)
	}
	if d.chance(40) {
		r.Prefixes = []string{oneOf(d, "staff-", "idle1", "quiet")}
	}
	if d.chance(30) {
		for range d.between(1, 4) {
			r.Accounts = append(r.Accounts, fmt.Sprintf("quiet%d", d.between(1, 20)))
		}
	}
	if d.chance(30) {
		r.Code, r.Message = d.between(10100, 10200), "come back later"
	}
	return r
}

func drawGroup(d rng, id string) emulator.GroupSpec {
	kinds := []string{"Work", "Private", "Public", "Public", "Public", "Meeting", "ChatRoom", "Community"}
	if d.chance(5) {
		kinds = []string{"AVChatRoom"}
	}
	g := emulator.GroupSpec{ID: id, Type: oneOf(d, kinds...), CreatedAgo: "400d", ApplyJoinOption: "FreeAccess"}
	if strings.HasPrefix(id, "@TGS#_") {
		g.Type = "Community"
	}
	if g.Type == "Community" || g.Type == "AVChatRoom" || g.Type == "Work" || g.Type == "Private" {
		g.ApplyJoinOption = ""
	}
	g.Quirks = emulator.Quirks{RoleTrailingBlank: d.chance(20), OmitLastSendMsgTime: d.chance(4)}
	g.MuteAllMember, g.SupportTopic = d.chance(2), g.Type == "Community" && d.chance(10)
	if d.chance(80) {
		g.Owner = owner
	}
	size := d.between(3, 60)
	switch n := d.IntN(100); {
	case n < 4:
		size = 0
	case n < 30:
		size = d.between(100, 500)
	case n < 37:
		size = d.between(2000, 3000)
	}
	left := size
	if g.Owner != "" {
		left--
	}
	put := func(percent int, m emulator.MemberSpec) {
		if m.Count = min(left, (size*percent+99)/100); m.Count > 0 {
			left -= m.Count
			g.Members = append(g.Members, m)
		}
	}
	days := func(low, high int) string { return fmt.Sprintf("%dd", d.between(low, high)) }
	if d.chance(50) && g.Type != "Work" && g.Type != "Private" {
		put(5, emulator.MemberSpec{Prefix: "admin", Role: "Admin", InactiveFor: days(100, 300)})
	}
	talk := d.between(1, 25)
	if d.chance(5) {
		talk = 0
	}
	put(talk, emulator.MemberSpec{Prefix: "busy", JoinedAgo: "300d", SpokeAgo: oneOf(d, "1h", "12h", "20h")})
	put(d.IntN(15), emulator.MemberSpec{Prefix: "fresh", JoinedAgo: oneOf(d, "1m", "5h", "23h")})
	if d.chance(20) {
		put(5, emulator.MemberSpec{Prefix: "future", JoinedAgo: "200d", SpokeAgo: "-2h"})
	}
	put(d.IntN(15), emulator.MemberSpec{Prefix: "staff-", InactiveFor: days(91, 300)})
	put(d.IntN(40), emulator.MemberSpec{Prefix: "never", JoinedAgo: days(2, 300)})
	put(d.IntN(60), emulator.MemberSpec{Prefix: "quiet", JoinedAgo: "350d", SpokeAgo: days(2, 200)})
	put(100, emulator.MemberSpec{Prefix: "idle", InactiveFor: days(20, 300)})
	if g.Type != "AVChatRoom" {
		g.MaxMembers = max(size, 1)
	}
	if d.chance(6) {
		g.MaxMembers += d.between(1, 3)
	}
	return g
}
