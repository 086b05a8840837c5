package runs

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// maxCandidates bounds the runs that an error lists.
const maxCandidates = 10

// NameError says that a word names no run, or several. It is about what was typed, not about the state of a run.
type NameError struct{ message string }

func (e *NameError) Error() string { return e.message }

// Find returns the run that is meant by a word: the run of that name, or else the only one of that group which can be
// decided so. note, if not empty, says that the word is the name of a group, too. An error that is no NameError says
// why the run, or any of the group's, cannot be decided so.
func Find(
	runs []v1alpha1.PruneRun, word string, v Verb, now time.Time,
) (run *v1alpha1.PruneRun, note string, err error) {
	named := matching(runs, func(r *v1alpha1.PruneRun) bool { return r.Name == word })
	group := matching(runs, func(r *v1alpha1.PruneRun) bool { return r.Spec.GroupID == word })
	switch {
	case len(named) > 1:
		return nil, "", &NameError{fmt.Sprintf("several namespaces have a run %s: name one with -n\n%s",
			word, candidates(named, now))}
	case len(named) == 1:
		if len(group) > 0 {
			note = fmt.Sprintf("%s is both a run and a group. It is taken for the run: "+
				"name a run of the group by its own name.", word)
		}
		if why := v.refuses(&named[0], now); why != "" {
			return nil, note, fmt.Errorf("run %s cannot be %s: %s", word, v.Past(), why)
		}
		return &named[0], note, nil
	case len(group) == 0:
		return nil, "", &NameError{fmt.Sprintf("there is neither a run nor a run of a group %s here: "+
			"`runs` lists them, -n names another namespace and -A all", quoted(word))}
	}
	possible := matching(group, func(r *v1alpha1.PruneRun) bool { return v.byGroup(r, now) })
	switch {
	case len(possible) == 1:
		return &possible[0], "", nil
	case len(possible) > 1:
		return nil, "", &NameError{fmt.Sprintf("several runs of group %s can be %s: name one of them\n%s",
			quoted(word), v.Past(), candidates(possible, now))}
	case len(group) == 1:
		return nil, "", fmt.Errorf("run %s of group %s cannot be %s: %s",
			group[0].Name, quoted(word), v.Past(), v.whyNotByGroup(&group[0], now))
	}
	return nil, "", fmt.Errorf("no run of group %s can be %s\n%s", quoted(word), v.Past(), candidates(group, now))
}

func (v Verb) whyNotByGroup(run *v1alpha1.PruneRun, now time.Time) string {
	if why := v.refuses(run, now); why != "" {
		return why
	}
	return "it has no plan yet; name the run to stop it all the same"
}

func matching(runs []v1alpha1.PruneRun, holds func(*v1alpha1.PruneRun) bool) []v1alpha1.PruneRun {
	return slices.DeleteFunc(slices.Clone(runs), func(r v1alpha1.PruneRun) bool { return !holds(&r) })
}

// candidates is a table of runs, those first that NewList puts first.
func candidates(runs []v1alpha1.PruneRun, now time.Time) string {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "  NAMESPACE\tRUN\tAPP\tSTATE\tTO GO\tREMOVED\tCREATED")
	list := NewList(runs, "", false, now)
	for i, r := range list.Runs {
		if i == maxCandidates {
			break
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\t%s\t%d\t%d\t%s\n",
			r.Namespace, r.Run, r.App, r.State, r.ToGo, r.Removed, created(runs, r).Format(time.RFC3339))
	}
	_ = table.Flush() // into memory
	if more := len(runs) - maxCandidates; more > 0 {
		fmt.Fprintf(&text, "  and %d more\n", more)
	}
	return strings.TrimSuffix(text.String(), "\n")
}

func created(runs []v1alpha1.PruneRun, r Run) time.Time {
	i := slices.IndexFunc(runs, func(run v1alpha1.PruneRun) bool {
		return run.Name == r.Run && run.Namespace == r.Namespace
	})
	return runs[i].CreationTimestamp.UTC()
}

// Choices are the words that complete a command line: the groups that mean one run, then the names of all runs that can
// be decided so, each with a description after a tab.
func Choices(runs []v1alpha1.PruneRun, v Verb, now time.Time) []string {
	groups, names := map[string]int{}, []string(nil)
	var order []string
	for i := range runs {
		run := &runs[i]
		if v.refuses(run, now) != "" {
			continue
		}
		r := Describe(run, now)
		what := fmt.Sprintf("%s, %d to go", r.State, r.ToGo)
		if v == Undo {
			what = fmt.Sprintf("%s, %d removed", r.State, r.Removed)
		}
		if v.byGroup(run, now) && quoted(r.Group) == r.Group { // a shell shows it, and takes it, as it is
			if groups[r.Group]++; groups[r.Group] == 1 {
				order = append(order, r.Group+"\t"+what)
			}
		}
		names = append(names, fmt.Sprintf("%s\t%s, %s", r.Run, quoted(r.Group), what))
	}
	order = slices.DeleteFunc(order, func(choice string) bool {
		group, _, _ := strings.Cut(choice, "\t")
		return groups[group] > 1
	})
	slices.Sort(order)
	slices.Sort(names)
	return append(order, names...)
}
