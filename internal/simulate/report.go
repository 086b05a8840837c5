package simulate

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/groupgate/groupgate/internal/manifests"
	"github.com/groupgate/groupgate/internal/policy"
)

// maxRows is how many changes the table has.
const maxRows = 30

// Report is what a simulation found. Its JSON is the output of `groupgate simulate -o json`.
type Report struct {
	// Decisions is how many were replayed. Of these, Closed would be refused that were admitted, and Opened would be
	// admitted that were refused.
	Decisions int `json:"decisions"`
	Closed    int `json:"closed"`
	Opened    int `json:"opened"`
	// Evicted is how many accounts that were admitted join.evict would remove from a group if they are ordinary members
	// still, each counted once for each group.
	Evicted int `json:"evicted"`
	// Skipped is what was not replayed.
	Skipped Skipped `json:"skipped"`
	// RefusalsOnly says that the log seems to lack admissions, so that Closed says nothing.
	RefusalsOnly bool `json:"refusalsOnly"`
	// Changes are those with the most accounts first.
	Changes []*Change `json:"changes"`
	// Malformed are the first malformed lines.
	Malformed []Malformed `json:"malformed,omitempty"`
	Hints     []string    `json:"hints,omitempty"`
}

// Skipped counts what was not replayed, by why.
type Skipped struct {
	// Malformed lines cannot be read.
	Malformed int `json:"malformed"`
	// OtherLines are of other logs.
	OtherLines int `json:"otherLines"`
	// OtherApps are decisions about other IMApps than --app, UnknownApps about those that are not there.
	OtherApps   int `json:"otherApps"`
	UnknownApps int `json:"unknownApps"`
	// Runs are decisions on which the records of prune runs decided, not the policies.
	Runs int `json:"runs"`
	// Hashed are decisions about accounts that are hashed with a key that is not known, Prefixes those in whose group
	// accountPrefixes would decide about a hash.
	Hashed   int `json:"hashed"`
	Prefixes int `json:"prefixes"`
}

// decisions are those that were not replayed.
func (s *Skipped) decisions() int {
	return s.Malformed + s.OtherApps + s.UnknownApps + s.Runs + s.Hashed + s.Prefixes
}

// Malformed is a line that cannot be read.
type Malformed struct {
	File  string `json:"file"`
	Line  int    `json:"line"`
	Error string `json:"error"`
}

// Change are decisions of one group that have another verdict for the same reasons.
type Change struct {
	// Now and Before are Admitted or Rejected.
	Now    string `json:"now"`
	Before string `json:"before"`
	App    string `json:"app"`
	// Group is empty for the decisions of further groups, which are counted together.
	Group string `json:"group"`
	// Policy and Reason are what decides now; BeforePolicy and BeforeReason what did. A policy may be empty.
	Policy       string `json:"policy"`
	Reason       string `json:"reason"`
	BeforePolicy string `json:"beforePolicy"`
	BeforeReason string `json:"beforeReason"`
	Decisions    int    `json:"decisions"`
	// Accounts is how many different ones the decisions are about; with AtLeast, or more.
	Accounts int      `json:"accounts"`
	AtLeast  bool     `json:"atLeast,omitempty"`
	Examples []string `json:"examples"`

	number int
}

func newChange(k changeKey, number int) *Change {
	return &Change{
		Now: verdictOf(k.now.admitted), Before: verdictOf(!k.now.admitted), App: k.app, Group: k.group,
		Policy: k.now.policy, Reason: reasonOf(k.now.reason),
		BeforePolicy: k.before.policy, BeforeReason: reasonOf(k.before.reason), number: number, Examples: []string{},
	}
}

func verdictOf(admitted bool) string {
	if admitted {
		return "Admitted"
	}
	return "Rejected"
}

func reasonOf(r policy.Reason) string {
	if r == 0 {
		return ""
	}
	return r.String()
}

// describe takes up what is to be known about the objects that are tried.
func (r *Report) describe(c *manifests.Compiled) {
	var missing, invalid []string
	for v := range c.PolicyVerdicts() {
		if v.MissingRefs != "" {
			missing = append(missing, v.Key()+": "+v.MissingRefs)
		}
		if v.Acceptance == policy.Invalid {
			invalid = append(invalid, v.Key()+": "+v.Message)
		}
	}
	for _, name := range c.Assumed {
		r.hint("IMApp %s is not among the manifests: it is taken to have every default, such as "+
			"unmatchedGroups: Allow. Add it with another -f.", name)
	}
	if len(missing) > 0 {
		r.hint("These references resolve to nothing, which counts as an empty list. Add the AccountLists with another "+
			"-f if they are elsewhere: %s.", some(missing, "; ", len(missing)))
	}
	if len(invalid) > 0 {
		r.hint("These policies are not valid, and admit nobody by themselves: %s.", some(invalid, "; ", len(invalid)))
	}
}

func (r *Report) hint(format string, args ...any) {
	r.Hints = append(r.Hints, fmt.Sprintf(format, args...))
}

// some names the first few of n.
func some(all []string, separator string, n int) string {
	if n <= maxNamed {
		return strings.Join(all, separator)
	}
	return strings.Join(all[:maxNamed], separator) + fmt.Sprintf(" and %d more", n-maxNamed)
}

// Report returns what was found. It is an error if nothing was replayed.
func (s *Simulation) Report() (*Report, error) {
	r := &s.report
	r.Changes = slices.SortedFunc(maps.Values(s.changes), func(a, b *Change) int {
		return cmp.Or(cmp.Compare(b.Accounts, a.Accounts), cmp.Compare(b.Decisions, a.Decisions),
			cmp.Compare(a.App, b.App), cmp.Compare(a.Group, b.Group), cmp.Compare(a.number, b.number))
	})
	skipped := s.explainSkipped()
	if r.Decisions == 0 {
		return nil, errors.New("no decision was replayed. " + cmp.Or(strings.Join(skipped, "\n"),
			"The files hold none: the manager writes them to its standard output, with --decision-log=all"))
	}
	r.Hints = append(r.Hints, skipped...)
	s.explainEvictions()
	if s.options.Before == nil && len(s.snapshots) > 1 && r.Closed+r.Opened > 0 {
		r.hint("The lines come from %d snapshots, so that a difference may be that of an earlier change. To compare "+
			"two states with each other, name the other one with --against.", len(s.snapshots))
	}
	if r.RefusalsOnly = s.recorded > 0 && s.admissions == 0; r.RefusalsOnly {
		sure := "is"
		if s.recorded < 100 {
			sure = "may be"
		}
		r.hint("None of the %d lines is an admission that Audit would leave as it is: the log %s one of "+
			"--decision-log=refused. Such a log can show who would be admitted that was refused, but hardly who would "+
			"be refused that was admitted: for that, log with --decision-log=all.", s.recorded, sure)
	}
	return r, nil
}

// explainSkipped says what to do about decisions that were not replayed.
func (s *Simulation) explainSkipped() (hints []string) {
	r := &s.report
	hint := func(format string, args ...any) { hints = append(hints, fmt.Sprintf(format, args...)) }
	if n := r.Skipped.Malformed; n > 0 {
		var where []string
		for _, m := range r.Malformed {
			where = append(where, fmt.Sprintf("%s:%d (%s)", m.File, m.Line, m.Error))
		}
		if n > len(where) {
			where = append(where, fmt.Sprintf("and %d more", n-len(where)))
		}
		hint("%d malformed: %s.", n, strings.Join(where, ", "))
	}
	if n := r.Skipped.UnknownApps; n > 0 {
		hint("%d decisions are about IMApps that are not among the objects (%s): choose their namespace with -n, or "+
			"add the IMApps with another -f.", n, strings.Join(slices.Sorted(maps.Keys(s.unknownApps)), ", "))
	}
	if n := r.Skipped.Runs; n > 0 {
		hint("%d decisions were left out: records of prune runs make their difference, not policies.", n)
	}
	if n := r.Skipped.Hashed; n > 0 {
		hint("%d decisions are about hashed accounts: name the file with their key with --hash-key-file%s.",
			n, another(s.options.Accounts.KeyID()))
	}
	if n := r.Skipped.Prefixes; n > 0 {
		hint("%d decisions about hashed accounts were left out: whether accountPrefixes of a policy that governs "+
			"their group name them cannot be told.", n)
	}
	return hints
}

func another(keyID string) string {
	if keyID == "" {
		return ""
	}
	return ": they have another accountKey than " + keyID + ", which is that of the key given"
}

// Sentence is the first line of the text.
func (r *Report) Sentence() string {
	return fmt.Sprintf("%d decisions replayed (%d skipped). %d would be refused that were admitted, %d admitted that "+
		"were refused.\n", r.Decisions, r.Skipped.decisions(), r.Closed, r.Opened)
}

// Table has the changes with the most accounts; nil if there are none.
func (r *Report) Table() [][]string {
	if len(r.Changes) == 0 {
		return nil
	}
	several := slices.ContainsFunc(r.Changes, func(c *Change) bool { return c.App != r.Changes[0].App })
	heading := []string{"NOW", "GROUP", "ACCOUNTS", "BECAUSE OF", "BEFORE", "FOR EXAMPLE"}
	if several {
		heading = slices.Insert(heading, 1, "APP")
	}
	rows := [][]string{heading}
	for _, c := range r.Changes[:min(maxRows, len(r.Changes))] {
		accounts := strconv.Itoa(c.Accounts)
		if c.AtLeast {
			accounts += "+"
		}
		examples := strings.Join(c.Examples, ", ")
		if c.Accounts > len(c.Examples) || c.AtLeast {
			examples += ", ..."
		}
		row := []string{c.Now, cmp.Or(c.Group, "(others)"), accounts, because(c.Policy, c.Reason),
			because(c.BeforePolicy, c.BeforeReason), examples}
		if several {
			row = slices.Insert(row, 1, c.App)
		}
		rows = append(rows, row)
	}
	if more := len(r.Changes) - maxRows; more > 0 {
		rows = append(rows, []string{fmt.Sprintf("... and %d more rows: -o json has them", more)})
	}
	return rows
}

func because(by, reason string) string {
	return cmp.Or(strings.TrimSpace(by+" "+reason), "-")
}

// Advice are the hints.
func (r *Report) Advice() []string { return r.Hints }
