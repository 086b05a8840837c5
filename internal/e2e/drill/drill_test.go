package drill

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/groupgate/groupgate/internal/lab"
)

// patience is how long an episode may take to become idle once all faults are over. That includes waits of a minute.
const patience = 5 * time.Minute

func TestDrill(t *testing.T) {
	drillEpisodes(t, kind{
		name: "drill", draw: drawEpisode, scenario: drawScenario, prepare: runner.prepare, settle: pruneSettle,
	})
}

// kind is what the drills differ in.
type kind struct {
	name     string // of the namespaces
	draw     func(seed uint64) episodeDraft
	scenario func(seed uint64, n int, e episodeDraft) scenario
	prepare  func(runner)
	// settle waits for the end of all work when the faults are over, and returns how many runs it has undone.
	settle func(*world, []runner, episodeDraft) int
}

// pruneSettle is that of TestDrill.
func pruneSettle(w *world, runners []runner, e episodeDraft) (undone int) {
	w.awaitIdle(runners, e.Sweep)
	undone = w.undoSome(runners, e)
	for _, p := range runners {
		p.checkRejoining(w.ctx)
	}
	return undone
}

func drillEpisodes(t *testing.T, k kind) {
	start := time.Now()
	left, total := *scenarios, tally{}
	for seed := *firstSeed; left > 0; seed++ {
		n := min(left, *perEpisode)
		left -= n
		t.Run(fmt.Sprint(seed), func(t *testing.T) { total.add(runEpisode(t, k, seed, n)) })
	}
	t.Logf("%d scenarios in %s: %s", *scenarios, time.Since(start).Round(time.Second), total)
}

// runEpisode runs n scenarios side by side and checks the outcome.
func runEpisode(t *testing.T, k kind, seed uint64, n int) tally {
	start := time.Now()
	e := k.draw(seed)
	w := newWorld(t, k.name, e)
	var runners []runner
	script := e.String()
	for i := range n {
		s := k.scenario(seed, i, e)
		runners = append(runners, runner{world: w, scenario: s})
		script += s.String()
	}
	t.Logf("replay with -run=%s -drill.seed=%d -drill.scenarios=%d", strings.Split(t.Name(), "/")[0], seed, n)

	watching, stopWatching := context.WithCancel(t.Context())
	var watch sync.WaitGroup
	watch.Go(func() { w.watchRuns(watching) })
	defer func() {
		stopWatching()
		watch.Wait()
	}()

	if e.Fallback != nil {
		w.putPolicy("fallback", *e.Fallback)
	}
	for _, p := range runners {
		p.spendYesterday()
	}
	sweep := "10m"
	if e.Sweep {
		sweep = "8s"
	}
	for i := range w.replicas {
		r, err := w.newReplica("--sweep-interval=" + sweep)
		if err != nil {
			t.Fatal(err)
		}
		w.replicas[i] = r
	}
	for _, p := range runners {
		k.prepare(p)
	}
	for _, r := range w.replicas {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err := r.current().AwaitReady(ctx)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
	}

	begun := time.Now()
	w.withFaults(t.Context(), e.Faults, func(ctx context.Context) {
		var all sync.WaitGroup
		for _, p := range runners {
			all.Go(func() { p.run(ctx) })
		}
		all.Wait()
	})
	calm := time.Now()
	undone := k.settle(w, runners, e)
	for _, r := range w.replicas {
		r.stop()
	}

	m := model{ledger: w.ledger, adminAccount: lab.AdminAccount}
	w.ledger.mu.Lock()
	violations := append(m.check(), w.violations...)
	result := w.ledger.tally()
	w.ledger.mu.Unlock()
	result["scenarios"], result["runs undone"] = n, undone
	took := func(from, to time.Time) time.Duration { return to.Sub(from).Round(time.Second) }
	t.Logf("start %s, faults %s, until idle and undone %s, all %s: %s", took(start, begun), took(begun, calm),
		took(calm, time.Now()), took(start, time.Now()), result)
	if len(violations) > 0 {
		t.Errorf("%s\n\nthe script:\n%s\nlogs and records: %s", strings.Join(violations, "\n"), script,
			w.dump(violations, script))
	} else if testing.Verbose() {
		t.Log("the script:\n" + script)
	}
	return result
}

// withFaults injects faults while run goes on, and ends all of them when both are over.
func (w *world) withFaults(ctx context.Context, faults []fault, run func(context.Context)) {
	watching, stop := context.WithCancel(ctx)
	var watch, both sync.WaitGroup
	watch.Go(func() { w.recordVendorFaults(watching) })
	both.Go(func() { w.injectAll(ctx, faults) })
	both.Go(func() { run(ctx) })
	both.Wait()
	stop()
	watch.Wait()
	w.endFaults(ctx)
}

// awaitIdle waits until no group has unfinished work.
func (w *world) awaitIdle(runners []runner, sweep bool) {
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	logged := time.Now()
	for {
		open := w.unfinishedWork(runners, sweep)
		if len(open) == 0 {
			return
		}
		if time.Since(logged) > 30*time.Second {
			logged = time.Now()
			w.t.Logf("not idle yet:\n  %s", strings.Join(open, "\n  "))
		}
		if ctx.Err() != nil {
			w.violation("not idle after %s:\n  %s", patience, strings.Join(open, "\n  "))
			return
		}
		for _, r := range w.replicas {
			if !r.check() {
				return
			}
		}
		pause(ctx, 200*time.Millisecond)
	}
}

// undoSome undoes the removals of some scenarios' runs, under the late faults, and returns the number of runs.
func (w *world) undoSome(runners []runner, e episodeDraft) int {
	requested := map[string]bool{}
	w.withFaults(w.ctx, e.Late, func(context.Context) {
		for _, p := range runners {
			for _, g := range p.Groups {
				if !p.Undo {
					continue
				}
				for _, run := range p.endedRuns(g.ID) {
					w.requestUndo(&run)
					requested[run.Name] = true
				}
			}
		}
	})
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	for {
		var open []string
		for _, p := range runners {
			for _, g := range p.Groups {
				for _, run := range w.ledger.runsOf(p.Rule.App, g.ID) {
					if u := run.Status.Undo; run.Spec.Undo != "" && (u == nil || u.FinishedAt.IsZero()) &&
						!apimeta.IsStatusConditionTrue(run.Status.Conditions, "Undone") {
						open = append(open, fmt.Sprintf("%s: %+v", run.Name, run.Status.Conditions))
					}
				}
			}
		}
		if len(open) == 0 {
			return len(requested)
		}
		if ctx.Err() != nil {
			w.violation("the undo is still under way after %s:\n  %s", patience, strings.Join(open, "\n  "))
			return len(requested)
		}
		pause(ctx, 100*time.Millisecond)
	}
}

// dump writes logs and records into a folder, which is kept, and returns its path.
func (w *world) dump(violations []string, script string) string {
	dir, err := os.MkdirTemp("", "groupgate-drill-failure-")
	if err != nil {
		return err.Error()
	}
	files := map[string]string{"violations": strings.Join(violations, "\n"), "script": script}
	for i, r := range w.replicas {
		files[fmt.Sprintf("manager-%d.log", i)] = r.log.String()
	}
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	for _, h := range w.ledger.runs {
		data, err := json.MarshalIndent(h.versions, "", " ")
		if err != nil {
			data = []byte(err.Error())
		}
		files[h.last().Name+".json"] = string(data)
	}
	var events []string
	for _, list := range [][]event{w.ledger.rechecks, w.ledger.removals, w.ledger.additions} {
		for _, d := range list {
			events = append(events, fmt.Sprintf("%s %s %q %d/%d %s named %v found %+v", d.at.Format("15:04:05.000"),
				d.app, d.Group.ID, d.Group.Members, d.Group.MaxMembers, d.API, d.Named, d.Found))
		}
	}
	for _, d := range w.ledger.departures {
		events = append(events, fmt.Sprintf("%s %s %q left %q, %d seats",
			d.begin.Format("15:04:05.000"), d.app, d.group, d.account, d.seats))
	}
	slices.Sort(events)
	files["events"] = strings.Join(events, "\n")
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err.Error()
		}
	}
	return dir
}

// tally counts events by name: a drill without any proves nothing.
type tally map[string]int

func (l *ledger) tally() tally {
	t := tally{"removal calls": len(l.removals), "reports": len(l.reports), "faults": len(l.faults)}
	for _, h := range l.runs {
		run := h.last()
		t["runs"]++
		t["kept"] += len(run.Status.Kept)
		for i := range h.versions[1:] {
			p, q := progress(&h.versions[i]), progress(&h.versions[i+1])
			if p.InFlight > 0 && p.InFlight == q.InFlight && p.Settled == q.Settled {
				t["batches resumed"]++
			}
		}
		end := run.Status.Conditions[len(run.Status.Conditions)-1]
		if c := apimeta.FindStatusCondition(run.Status.Conditions, "Complete"); c != nil && end.Type == "Undone" {
			end = *c
		}
		t["runs "+end.Reason]++
	}
	for _, d := range l.removals {
		t["removed"] += len(d.Found)
	}
	for _, d := range l.additions {
		t["added back"] += len(d.Named)
	}
	return t
}

func (t tally) add(o tally) {
	for name, n := range o {
		t[name] += n
	}
}

func (t tally) String() string {
	var counts []string
	for _, name := range slices.Sorted(maps.Keys(t)) {
		counts = append(counts, fmt.Sprintf("%d %s", t[name], name))
	}
	return strings.Join(counts, ", ")
}
