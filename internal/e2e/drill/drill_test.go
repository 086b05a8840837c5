package drill

import (
	"context"
	"encoding/json"
	"fmt"
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

// patience is how long an episode may take to come to rest once nothing is in its way. Waits of a minute are among what it has to outlast.
const patience = 5 * time.Minute

func TestDrill(t *testing.T) {
	start := time.Now()
	left, total := *scenarios, tally{}
	for seed := *firstSeed; left > 0; seed++ {
		n := min(left, *perEpisode)
		left -= n
		t.Run(fmt.Sprint(seed), func(t *testing.T) { total.add(playEpisode(t, seed, n)) })
	}
	t.Logf("%d scenarios in %s: %s", *scenarios, time.Since(start).Round(time.Second), total)
}

// playEpisode plays n scenarios side by side and judges what happened.
func playEpisode(t *testing.T, seed uint64, n int) tally {
	start := time.Now()
	e := drawEpisode(seed)
	w := newWorld(t, e)
	var players []player
	script := e.String()
	for i := range n {
		s := drawScenario(seed, i, e)
		players = append(players, player{world: w, scenario: s})
		script += s.String()
	}
	t.Logf("replay with -drill.seed=%d -drill.scenarios=%d", seed, n)

	watching, stopWatching := context.WithCancel(t.Context())
	var watch sync.WaitGroup
	watch.Go(func() { w.watchRuns(watching) })
	defer func() {
		stopWatching()
		watch.Wait()
	}()

	if e.Net != nil {
		w.putPolicy("net", *e.Net)
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
	for _, p := range players {
		p.begin()
	}
	for _, r := range w.replicas {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err := r.current().AwaitReady(ctx)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
	}

	chaos := time.Now()
	w.storm(t.Context(), e.Blows, func(ctx context.Context) {
		var all sync.WaitGroup
		for _, p := range players {
			all.Go(func() { p.play(ctx) })
		}
		all.Wait()
	})
	settling := time.Now()
	w.settle(players, e.Sweep)
	late := time.Now()
	undone := w.undoSome(players, e)
	for _, p := range players {
		p.checkRejoining(t.Context())
	}
	for _, r := range w.replicas {
		r.stop()
	}

	m := model{ledger: w.ledger, adminAccount: lab.AdminAccount}
	w.ledger.mu.Lock()
	verdicts := append(m.judge(), w.complaints...)
	result := w.ledger.tally()
	w.ledger.mu.Unlock()
	result.scenarios, result.undone = n, undone
	t.Logf("start %s, chaos %s, rest %s, undo %s, all %s: %s", chaos.Sub(start).Round(time.Second), settling.Sub(chaos).Round(time.Second),
		late.Sub(settling).Round(time.Second), time.Since(late).Round(time.Second), time.Since(start).Round(time.Second), result)
	if len(verdicts) > 0 {
		t.Errorf("%s\n\nthe script:\n%s\nlogs and records: %s", strings.Join(verdicts, "\n"), script, w.dump(verdicts, script))
	} else if testing.Verbose() {
		t.Log("the script:\n" + script)
	}
	return result
}

// storm lets blows strike while play goes on, and ends all trouble when both are over.
func (w *world) storm(ctx context.Context, blows []blow, play func(context.Context)) {
	feeling, stop := context.WithCancel(ctx)
	var feel, both sync.WaitGroup
	feel.Go(func() { w.feelFaults(feeling) })
	both.Go(func() { w.strike(ctx, blows) })
	both.Go(func() { play(ctx) })
	both.Wait()
	stop()
	feel.Wait()
	w.calm(ctx)
}

// settle waits until every group is as it should be.
func (w *world) settle(players []player, sweep bool) {
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	told := time.Now()
	for {
		open := w.unsettled(players, sweep)
		if len(open) == 0 {
			return
		}
		if time.Since(told) > 30*time.Second {
			told = time.Now()
			w.t.Logf("not at rest yet:\n  %s", strings.Join(open, "\n  "))
		}
		if ctx.Err() != nil {
			w.complain("still after %s:\n  %s", patience, strings.Join(open, "\n  "))
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

// undoSome undoes what the runs of some scenarios removed, while the late blows strike, and returns how many.
func (w *world) undoSome(players []player, e episodeDraft) int {
	requested := map[string]bool{}
	w.storm(w.ctx, e.Late, func(context.Context) {
		for _, p := range players {
			for _, g := range p.Groups {
				for _, run := range w.ledger.runsOf(p.Rule.App, g.ID) {
					if p.Undo && ended(&run) && run.Status.Removed > 0 && len(inFlight(&run)) == 0 {
						w.requestUndo(&run)
						requested[run.Name] = true
					}
				}
			}
		}
	})
	if len(requested) == 0 {
		return 0
	}
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	for {
		var open []string
		for _, p := range players {
			for _, g := range p.Groups {
				for _, run := range w.ledger.runsOf(p.Rule.App, g.ID) {
					if u := run.Status.Undo; requested[run.Name] && (u == nil || u.FinishedAt.IsZero()) && !apimeta.IsStatusConditionTrue(run.Status.Conditions, "Undone") {
						open = append(open, fmt.Sprintf("%s: %+v", run.Name, run.Status.Conditions))
					}
				}
			}
		}
		if len(open) == 0 {
			return len(requested)
		}
		if ctx.Err() != nil {
			w.complain("the undo is still under way after %s:\n  %s", patience, strings.Join(open, "\n  "))
			return len(requested)
		}
		pause(ctx, 100*time.Millisecond)
	}
}

// dump writes what there is to know into a folder of its own, which is kept, and returns its path.
func (w *world) dump(verdicts []string, script string) string {
	dir, err := os.MkdirTemp("", "groupgate-drill-failure-") // it is there to be read after the test
	if err != nil {
		return err.Error()
	}
	files := map[string]string{"verdicts": strings.Join(verdicts, "\n"), "script": script}
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
	var deeds []string
	for _, list := range [][]deed{w.ledger.looks, w.ledger.removals, w.ledger.additions} {
		for _, d := range list {
			deeds = append(deeds, fmt.Sprintf("%s %s %q %d/%d %s named %v found %+v", d.at.Format("15:04:05.000"), d.app, d.Group.ID, d.Group.Members, d.Group.MaxMembers, d.API, d.Named, d.Found))
		}
	}
	for _, d := range w.ledger.departures {
		deeds = append(deeds, fmt.Sprintf("%s %s %q left %q, %d seats", d.begin.Format("15:04:05.000"), d.app, d.group, d.account, d.seats))
	}
	slices.Sort(deeds)
	files["deeds"] = strings.Join(deeds, "\n")
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err.Error()
		}
	}
	return dir
}

// tally counts what happened: a drill in which nothing does proves nothing.
type tally struct {
	scenarios, runs, resumed, removed, calls, kept, added, undone, reports, faults int
	ends                                                                           map[string]int
}

func (l *ledger) tally() tally {
	t := tally{calls: len(l.removals), reports: len(l.reports), faults: len(l.faults), ends: map[string]int{}}
	for _, h := range l.runs {
		run := h.last()
		t.runs++
		t.kept += len(run.Status.Kept)
		for i := range h.versions[1:] {
			p, q := progress(&h.versions[i]), progress(&h.versions[i+1])
			if p.InFlight > 0 && p.InFlight == q.InFlight && p.Settled == q.Settled {
				t.resumed++
			}
		}
		end := run.Status.Conditions[len(run.Status.Conditions)-1]
		if c := apimeta.FindStatusCondition(run.Status.Conditions, "Complete"); c != nil && end.Type == "Undone" {
			end = *c
		}
		t.ends[end.Reason]++
	}
	for _, d := range l.removals {
		t.removed += len(d.Found)
	}
	for _, d := range l.additions {
		t.added += len(d.Named)
	}
	return t
}

func (t *tally) add(o tally) {
	t.scenarios += o.scenarios
	t.runs += o.runs
	t.resumed += o.resumed
	t.removed += o.removed
	t.calls += o.calls
	t.kept += o.kept
	t.added += o.added
	t.undone += o.undone
	t.reports += o.reports
	t.faults += o.faults
	if t.ends == nil {
		t.ends = map[string]int{}
	}
	for reason, n := range o.ends {
		t.ends[reason] += n
	}
}

func (t tally) String() string {
	return fmt.Sprintf("%d runs %v, %d reports, %d troubles, %d removed in %d calls, %d batches taken up again, %d kept, %d undone with %d added",
		t.runs, t.ends, t.reports, t.faults, t.removed, t.calls, t.resumed, t.kept, t.undone, t.added)
}
