package pruning

import (
	"fmt"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
)

func runNamed(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "ns", Name: name}
}

func groupOf(app, group string) prunerun.Key {
	return prunerun.Key{Namespace: "ns", App: app, Group: group}
}

// recordedTurns remembers which runs are woken.
func recordedTurns() (t *turns, woken *[]string) {
	woken = new([]string)
	return &turns{wake: func(run types.NamespacedName, _ prunerun.Class) { *woken = append(*woken, run.Name) }}, woken
}

// fill gives an app as many turns as it can have for what the vendor reported.
func (t *turns) fill(app string) (runs []string) {
	for i := range MaxSteps {
		name := fmt.Sprintf("%s-%d", app, i)
		if !t.take(runNamed(name), groupOf(app, name), prunerun.ClassPlan) {
			t.waitingOf(groupOf(app, name).AppName()).remove(runNamed(name))
			return runs
		}
		runs = append(runs, name)
	}
	return runs
}

func TestOneAppLeavesWorkersToOthers(t *testing.T) {
	t.Parallel()
	turns, _ := recordedTurns()
	if got := len(turns.fill("slow")); got != stepsPerApp || stepsPerApp+urgentStepsPerApp > MaxSteps/2 {
		t.Errorf("%d of %d workers are occupied by one app, want %d", got, MaxSteps, stepsPerApp)
	}
	other := prunerun.Key{Namespace: "other", App: "slow", Group: "a"}
	if !turns.take(types.NamespacedName{Namespace: "other", Name: "x"}, other, prunerun.ClassPlan) {
		t.Error("an app of the same name in another namespace is another app")
	}
}

func TestUndosAndDenialsGoBeforeABacklog(t *testing.T) {
	t.Parallel()
	turns, woken := recordedTurns()
	atWork := turns.fill("prod")
	const backlog = 20_000
	for i := range backlog {
		name := fmt.Sprintf("waiting-%d", i)
		if turns.take(runNamed(name), groupOf("prod", name), prunerun.ClassPlan) {
			t.Fatal("more turns than an app has")
		}
	}
	for i := range urgentStepsPerApp {
		name := fmt.Sprintf("waiting-%d", i)
		if !turns.take(runNamed(name), groupOf("prod", name), prunerun.ClassDenied) {
			t.Fatalf("denial %d waits for a backlog", i)
		}
	}
	for name, class := range map[string]prunerun.Class{
		"approved": prunerun.ClassApproved, "in flight": prunerun.ClassInFlight, "undo": prunerun.ClassUndo,
		"denied": prunerun.ClassDenied,
	} {
		if turns.take(runNamed(name), groupOf("prod", name), class) {
			t.Errorf("%s has a turn beyond all bounds", name)
		}
	}
	if len(*woken) != 0 {
		t.Errorf("%v were woken before a turn was over", *woken)
	}
	for _, name := range atWork {
		turns.leave(runNamed(name))
	}
	for i := range urgentStepsPerApp {
		turns.leave(runNamed(fmt.Sprintf("waiting-%d", i)))
	}
	want := []string{
		"denied", "undo", "in flight", "approved",
		"waiting-8", "waiting-9", "waiting-10", "waiting-11", "waiting-12", "waiting-13",
	}
	if got := (*woken)[:len(want)]; !slices.Equal(got, want) {
		t.Errorf("woken = %v, want %v", got, want)
	}
	if len(*woken) != stepsPerApp {
		t.Errorf("%d were woken for %d turns", len(*woken), stepsPerApp)
	}
}

func TestRunsOfAGroupTakeTurns(t *testing.T) {
	t.Parallel()
	turns, woken := recordedTurns()
	group := groupOf("prod", "lounge")
	if !turns.take(runNamed("one"), group, prunerun.ClassPlan) ||
		turns.take(runNamed("two"), group, prunerun.ClassUndo) {
		t.Fatal("two runs of a group are at work")
	}
	turns.take(runNamed("three"), group, prunerun.ClassPlan)
	if !turns.take(runNamed("else"), groupOf("prod", "else"), prunerun.ClassPlan) {
		t.Error("another group waits")
	}
	turns.leave(runNamed("else"))
	turns.leave(runNamed("one"))
	if !slices.Equal(*woken, []string{"two"}) {
		t.Fatalf("woken = %v, want two", *woken)
	}
	turns.leave(runNamed("two")) // it was deleted meanwhile
	if !slices.Equal(*woken, []string{"two", "three"}) || !turns.take(runNamed("three"), group, prunerun.ClassPlan) {
		t.Errorf("woken = %v: the turn of a deleted run is not passed on", *woken)
	}
	turns.leave(runNamed("three"))
	if len(turns.taken) != 0 || len(turns.waiting) != 0 {
		t.Errorf("left behind: %v, %v", turns.taken, turns.waiting)
	}
}

// TestTurnOfARunThatIsAnotherByNow is about a run that was woken, and has been made again for another group.
func TestTurnOfARunThatIsAnotherByNow(t *testing.T) {
	t.Parallel()
	turns, woken := recordedTurns()
	turns.take(runNamed("a"), groupOf("prod", "a"), prunerun.ClassPlan)
	turns.take(runNamed("again"), groupOf("prod", "a"), prunerun.ClassPlan)
	turns.take(runNamed("third"), groupOf("prod", "a"), prunerun.ClassPlan)
	turns.take(runNamed("b"), groupOf("prod", "b"), prunerun.ClassPlan)
	turns.leave(runNamed("a"))
	if turns.take(runNamed("again"), groupOf("prod", "b"), prunerun.ClassPlan) {
		t.Error("it works on a group that is busy")
	}
	if !slices.Equal(*woken, []string{"again", "third"}) {
		t.Errorf("woken = %v, want the turn passed on", *woken)
	}
}

// A list of members takes minutes in a large group.
func TestPersonDoesNotWaitForAListOfMembers(t *testing.T) {
	t.Parallel()
	for name, speak := range map[string]func(w *world, r *replica){
		"denial": func(w *world, _ *replica) { w.Decide("one", v1alpha1.ApprovalDenied) },
		"undo of another run": func(w *world, r *replica) {
			other := client.ObjectKey{Namespace: w.Namespace, Name: "other"}
			r.turns.take(other, prunerun.KeyOf(w.Get("one")), prunerun.ClassUndo)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const members = 10 * yieldEvery
			w := enforcingOf(t, members, 1)
			r := w.replica()
			r.Cache = w.Client
			w.Once(apiList, 2, func() { speak(w, r) })
			next, err := r.step("one")
			if err != nil || next.After != soon || prunerun.HasPlan(w.Get("one")) {
				t.Errorf("next %v, error %v, want another Step soon, without a plan", next, err)
			}
			if pages := w.Happened(apiList); pages > 2*members/yieldEvery {
				t.Errorf("%d pages were listed", pages)
			}
		})
	}
}
