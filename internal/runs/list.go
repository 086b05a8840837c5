package runs

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// List is an answer to "which runs are there?". Its JSON is the output of `groupgate runs -o json`.
type List struct {
	Runs []Run `json:"runs"`

	now       time.Time
	waiting   bool
	namespace string
}

// Run is one run, as a person reads it.
type Run struct {
	Namespace string `json:"namespace"`
	Run       string `json:"run"`
	App       string `json:"app"`
	Group     string `json:"group"`
	// Purpose is FreeSeats or Evict.
	Purpose string `json:"purpose"`
	// State is the reason of the run's last condition: what it waits for, how it ended, or how its undo did. A decision
	// that the leader has not acted upon yet goes before it.
	State string `json:"state"`
	// AwaitsApproval says that the plan is carried out once a person approves it.
	AwaitsApproval bool `json:"awaitsApproval"`
	// Breaker says why the plan of an eviction awaits approval in every mode; empty if it is a routine.
	Breaker string `json:"breaker,omitempty"`
	// Policy is the one by which the run was planned, and Mode that of its rule; empty before.
	Policy string `json:"policy,omitempty"`
	Mode   string `json:"mode,omitempty"`
	// ToGo is how many members the plan may still remove, of Members that the group had.
	ToGo    int `json:"toGo"`
	Members int `json:"members"`
	Removed int `json:"removed"`
	// LastActive is when the members of the plan were last active; absent without a plan.
	LastActive *Activity `json:"lastActive,omitempty"`
	// NotBefore is when the first member of a plan may be removed; absent where it may be at once, without a plan, and
	// after the end of the run.
	NotBefore *time.Time `json:"notBefore,omitempty"`
	// VoidAt is when the plan becomes void; absent without a plan, and after the end of the run.
	VoidAt *time.Time `json:"voidAt,omitempty"`
	// StillRefused is how many accounts an undo left out, since the gate of the group refuses them still.
	StillRefused int `json:"stillRefused,omitempty"`
}

// Activity is the range of the last activities of some members.
type Activity struct {
	From *time.Time `json:"from,omitempty"`
	To   *time.Time `json:"to,omitempty"`
	// Unknown is the number of those whose last activity is not known.
	Unknown int `json:"unknown"`
}

// WithPurpose returns the runs that are for this; all for the empty purpose. A run that names none frees seats.
func WithPurpose(runs []v1alpha1.PruneRun, purpose v1alpha1.PrunePurpose) []v1alpha1.PruneRun {
	if purpose == "" {
		return runs
	}
	return prunerun.WithPurpose(purpose, runs)
}

// NewList lists the runs of a namespace, all if it is empty: those that await approval first, the next to be void at
// the top, then the others, newest first. With waiting it has no others.
func NewList(runs []v1alpha1.PruneRun, namespace string, waiting bool, now time.Time) *List {
	l := &List{Runs: []Run{}, now: now, waiting: waiting, namespace: namespace}
	runs = slices.Clone(runs)
	slices.SortFunc(runs, func(a, b v1alpha1.PruneRun) int {
		first, second := Waits(&a, now), Waits(&b, now)
		switch {
		case first && second:
			return cmp.Or(a.Status.Plan.CreatedAt.Compare(b.Status.Plan.CreatedAt.Time), byName(&a, &b))
		case first != second && first:
			return -1
		case first != second:
			return 1
		}
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), byName(&a, &b))
	})
	for i := range runs {
		if !waiting || Waits(&runs[i], now) {
			l.Runs = append(l.Runs, Describe(&runs[i], now))
		}
	}
	return l
}

func byName(a, b *v1alpha1.PruneRun) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// Describe is a run as a person reads it.
func Describe(run *v1alpha1.PruneRun, now time.Time) Run {
	r := Run{
		Namespace: run.Namespace, Run: run.Name, App: run.Spec.AppRef.Name, Group: run.Spec.GroupID,
		Purpose: string(prunerun.PurposeOf(run)), State: state(run, now), AwaitsApproval: Waits(run, now),
		Removed: int(run.Status.Removed), StillRefused: len(stillRefused(run)),
	}
	if policy := run.Status.Policy; policy != nil {
		r.Policy, r.Mode = policy.Name, string(policy.Mode)
	}
	if group := run.Status.Group; group != nil {
		r.Members = int(group.Members)
	}
	if !prunerun.HasPlan(run) {
		return r
	}
	r.LastActive = activityOf(run.Status.Plan.Removals)
	end, finished := prunerun.Completion(run)
	if !finished || end.Reason == v1alpha1.ReasonPreviewed {
		r.ToGo = prunerun.OpenPositions(run)
	}
	r.Breaker = run.Status.Plan.Breaker
	if !finished {
		until := voidAt(run, now)
		r.VoidAt = &until
		if from := run.Status.Plan.NotBefore; !from.IsZero() {
			at := from.UTC()
			r.NotBefore = &at
		}
	}
	return r
}

// Waits reports whether the plan of the run awaits approval, and is not void.
func Waits(run *v1alpha1.PruneRun, now time.Time) bool {
	return prunerun.WaitsForPerson(run) && !prunerun.PlanExpired(run, now)
}

func voidAt(run *v1alpha1.PruneRun, now time.Time) time.Time { return prunerun.PlanEnd(run, now).UTC() }

func state(run *v1alpha1.PruneRun, now time.Time) string {
	conditions, active := run.Status.Conditions, prunerun.Active(run)
	switch {
	case !run.DeletionTimestamp.IsZero():
		return "Deleting"
	case active && run.Spec.Approval == v1alpha1.ApprovalDenied:
		return v1alpha1.ReasonDenied
	case active && prunerun.HasPlan(run) && prunerun.PlanExpired(run, now):
		return v1alpha1.ReasonExpired
	case prunerun.WantsUndo(run) && run.Status.Undo == nil:
		return v1alpha1.ReasonUndoing
	case len(conditions) == 0:
		return v1alpha1.ReasonPending
	}
	last := conditions[len(conditions)-1].Reason
	if last == v1alpha1.ReasonAwaitingApproval && run.Spec.Approval == v1alpha1.ApprovalApproved {
		return v1alpha1.ReasonApproved
	}
	return last
}

func activityOf(removals []v1alpha1.PlannedRemoval) *Activity {
	a := &Activity{}
	for i := range removals {
		at := removals[i].LastActiveAt.UTC()
		if removals[i].LastActiveAt.IsZero() {
			a.Unknown++
			continue
		}
		if a.From == nil || at.Before(*a.From) {
			a.From = &at
		}
		if a.To == nil || at.After(*a.To) {
			a.To = &at
		}
	}
	return a
}

// Sentence says that there is nothing to list; otherwise it is empty, and the table says all.
func (l *List) Sentence() string {
	where := "in namespace " + l.namespace
	if l.namespace == "" {
		where = "in any namespace"
	}
	switch {
	case len(l.Runs) > 0:
		return ""
	case l.waiting:
		return "No plan awaits approval " + where + ".\n"
	}
	return "There are no runs " + where + ".\n"
}

// Table has a row for each run, below the headings; it is nil if there is none.
func (l *List) Table() [][]string {
	if len(l.Runs) == 0 {
		return nil
	}
	evicts := slices.ContainsFunc(l.Runs, func(r Run) bool { return r.Purpose == string(v1alpha1.PrunePurposeEvict) })
	row := func(namespace, group, purpose, state, toGo, removed, active, void, policy, run string) []string {
		var cells []string
		if l.namespace == "" {
			cells = append(cells, namespace)
		}
		cells = append(cells, group)
		if evicts {
			cells = append(cells, purpose)
		}
		if !l.waiting {
			cells = append(cells, state)
		}
		cells = append(cells, toGo)
		if !l.waiting {
			cells = append(cells, removed)
		}
		return append(cells, active, void, policy, run)
	}
	rows := [][]string{row(
		"NAMESPACE", "GROUP", "PURPOSE", "STATE", "TO GO", "REMOVED", "LAST ACTIVE", "VOID IN", "POLICY", "RUN",
	)}
	for i := range l.Runs {
		r := &l.Runs[i]
		toGo, active, void := "-", "-", "-"
		if r.ToGo > 0 {
			toGo = fmt.Sprintf("%d of %d", r.ToGo, r.Members)
		}
		if r.LastActive != nil {
			active = r.LastActive.words(l.now)
		}
		if r.VoidAt != nil {
			void = "void"
			if left := r.VoidAt.Sub(l.now); left > 0 {
				void = duration.HumanDuration(left)
			}
		}
		rows = append(rows, row(r.Namespace, quoted(r.Group), r.Purpose, r.State, toGo, strconv.Itoa(r.Removed), active,
			void, cmp.Or(r.Policy, "-"), r.Run))
	}
	return rows
}

// Advice has the breakers of the plans that await approval: such a plan may come from a slip in a list.
func (l *List) Advice() (advice []string) {
	for i := range l.Runs {
		if r := &l.Runs[i]; r.AwaitsApproval && r.Breaker != "" {
			advice = append(advice, fmt.Sprintf("run %s %s", r.Run, strings.TrimRight(printable(r.Breaker), ".")))
		}
	}
	return advice
}
