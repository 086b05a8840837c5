package drill

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
)

// TestEvictDrill is TestDrill for join.evict: accounts join while the gate is down, at creation and by import; lists
// are edited, emptied, deleted and restored in the middle; managers and vendor fail. No member is evicted that the
// gates admitted all the time, and when the faults are over and a round has passed, no member is left that they refuse.
func TestEvictDrill(t *testing.T) {
	drillEpisodes(t, kind{
		name: "evict", draw: drawEvictEpisode, scenario: drawEviction, prepare: runner.prepareGate, settle: evictSettle,
	})
}

// evictSettle waits until all evictions are done, and undoes some of them.
func evictSettle(w *world, runners []runner, e episodeDraft) (undone int) {
	w.awaitEvicted(runners, e)
	for _, p := range runners {
		if p.Undo {
			p.readmit()
		}
	}
	return w.undoSome(runners, e)
}

// mostRounds bounds how many rounds all evictions take. A round makes one run of each group, which removes at most
// maxRemovals members.
const mostRounds = 8

// awaitEvicted lets rounds pass until no group has a member whom the model would evict.
func (w *world) awaitEvicted(runners []runner, e episodeDraft) {
	for try := range mostRounds {
		w.await("the runs to be finished", func() []string { return w.unfinishedEvictions(runners) })
		for _, p := range runners {
			p.forgetTheLast()
			if len(p.Steps)%2 == 0 || try > 0 {
				p.approveAll()
			}
		}
		w.startRound(try, e)
		w.await("the runs of the round to be finished", func() []string { return w.unfinishedEvictions(runners) })
		if len(w.evictable(runners)) == 0 {
			return
		}
	}
	w.violation("after %d rounds:\n  %s", mostRounds, strings.Join(w.evictable(runners), "\n  "))
}

// await waits until nothing is open.
func (w *world) await(what string, open func() []string) {
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	for {
		left := open()
		if len(left) == 0 {
			return
		}
		if ctx.Err() != nil {
			w.violation("no end after %s of waiting for %s:\n  %s", patience, what, strings.Join(left, "\n  "))
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

// startRound starts a round of every app and waits for its end: by a gap without a replica at first in every other
// episode, and by a new policy with join.evict otherwise.
func (w *world) startRound(try int, e episodeDraft) {
	begun := time.Now().Truncate(time.Second)
	for _, app := range e.Apps {
		kick := rule{App: app, Match: "Exact", Groups: []string{fmt.Sprintf("nowhere-%d", try)}, NoPrune: true}
		kick.Gate = &gate{
			Deny:  &accounts{Accounts: []string{"nobody"}},
			Evict: &eviction{Mode: "Preview", MaxRemovals: 1, PerDay: 1},
		}
		if try > 0 || e.Seed%2 == 1 {
			w.putPolicy(fmt.Sprintf("kick-%s-%d", app, try), kick)
		} else if try == 0 {
			w.putPolicy("kick-"+app, kick)
		}
	}
	if try == 0 && e.Seed%2 == 0 {
		begun = time.Now().Truncate(time.Second)
		w.inject(w.ctx, fault{Do: faultDown})
	}
	w.await("the end of a round", func() (open []string) {
		for _, name := range e.Apps {
			app := &v1alpha1.IMApp{}
			if err := w.api.Get(w.ctx, client.ObjectKey{Namespace: w.Namespace, Name: name}, app); err != nil {
				return []string{err.Error()}
			}
			r := app.Status.Round
			if r == nil || r.StartedAt.Time.Before(begun) || r.FinishedAt.IsZero() {
				open = append(open, fmt.Sprintf("app %s, since %s: %+v", name, begun, r))
			}
		}
		return open
	})
}

// unfinishedEvictions are the runs that have not ended, and that no good reason delays.
func (w *world) unfinishedEvictions(runners []runner) (open []string) {
	for _, p := range runners {
		for _, g := range p.Groups {
			runs := p.ledger.runsOf(p.Rule.App, g.ID)
			for i := range runs {
				if ended(&runs[i]) {
					continue
				}
				if reason, good := p.waiting(&runs[i], runs); !good {
					open = append(open, fmt.Sprintf("%s %q: run %s: %s", p.Name, g.ID, runs[i].Name, reason))
				}
			}
		}
	}
	return open
}

// unresolved reports whether it is not certain now whom the gates of a group refuse.
func (p runner) unresolved(run *v1alpha1.PruneRun) bool {
	groupType := ""
	for _, g := range p.Groups {
		if g.ID == run.Spec.GroupID {
			groupType = g.Type
		}
	}
	p.ledger.mu.Lock()
	defer p.ledger.mu.Unlock()
	return slices.ContainsFunc(p.ledger.states(p.Rule.App, run.Spec.GroupID, groupType, time.Now()),
		func(s moment) bool { return s.judge(p.Rule.App, run.Spec.GroupID, groupType, "").unresolved })
}

// evictable are the members whom the model would evict now, unless a run of their group waits for a good reason.
func (w *world) evictable(runners []runner) (left []string) {
	for _, p := range runners {
		groups, err := w.im(p.Rule.App).Groups(w.ctx)
		if err != nil {
			return []string{err.Error()}
		}
		for _, g := range groups {
			if !slices.Contains(p.Rule.Groups, g.ID) {
				continue
			}
			runs := w.ledger.runsOf(p.Rule.App, g.ID)
			if slices.ContainsFunc(runs, func(run v1alpha1.PruneRun) bool {
				_, good := p.waiting(&run, runs)
				return run.Spec.Purpose == v1alpha1.PrunePurposeEvict && !ended(&run) && good
			}) {
				continue // approval, budget or lists are missing
			}
			members, err := w.im(p.Rule.App).Members(w.ctx, g.ID)
			if err != nil {
				return []string{err.Error()}
			}
			var here []emulator.Member
			spared := []string{lab.AdminAccount} // and those that the vendor refused to remove, for a time
			for _, run := range runs {
				for _, kept := range run.Status.Kept {
					if kept.Reason == v1alpha1.KeptReasonVendorRefused {
						spared = append(spared, kept.Account)
					}
				}
			}
			w.ledger.note(func() {
				now := time.Now()
				states := w.ledger.states(p.Rule.App, g.ID, g.Type, now)
				for _, member := range members {
					if !slices.Contains(spared, member.Account) && !slices.ContainsFunc(states, func(s moment) bool {
						by := s.evictor(p.Rule.App, g.ID, g.Type)
						if by == "" || s.policies[by].rule.Gate.Evict.Mode == "Preview" {
							return true
						}
						v := s.judge(p.Rule.App, g.ID, g.Type, member.Account)
						grace := s.policies[by].rule.Gate.Evict.grace()
						return !v.refused || v.unresolved ||
							unevictableMember(member, grace, now.Add(-2*time.Second)) != ""
					}) {
						here = append(here, member)
					}
				}
			})
			if len(here) > 0 {
				left = append(left, fmt.Sprintf("%s: %d members of %q: %s, the first one since %s", p.Name, len(here),
					g.ID, accountsOf(here), here[0].JoinedAt))
			}
		}
	}
	return left
}

// forgetTheLast moves the ends of all runs of the scenario, and of their undos, into the past: the operator makes no
// run for some minutes after one.
func (p runner) forgetTheLast() {
	for _, g := range p.Groups {
		for _, run := range p.ledger.runsOf(p.Rule.App, g.ID) {
			if !ended(&run) {
				continue
			}
			key := client.ObjectKeyFromObject(&run)
			for {
				fresh := &v1alpha1.PruneRun{}
				if err := p.api.Get(p.ctx, key, fresh); err != nil {
					break // an old record was deleted
				}
				for i := range fresh.Status.Conditions {
					at := &fresh.Status.Conditions[i].LastTransitionTime
					*at = metav1.NewTime(at.Add(-time.Hour))
				}
				if undo := fresh.Status.Undo; undo != nil && !undo.FinishedAt.IsZero() {
					undo.FinishedAt = metav1.NewTime(undo.FinishedAt.Add(-time.Hour))
				}
				err := p.api.Status().Update(p.ctx, fresh)
				if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
					p.violation("age the end of %s: %v", run.Name, err)
				}
				if !apierrors.IsConflict(err) {
					break
				}
			}
		}
	}
}

// approveAll approves the plans that await approval.
func (p runner) approveAll() {
	for _, run := range p.unfinished(p.Rule.App) {
		if run.Status.Plan != nil && run.Spec.Approval == v1alpha1.ApprovalPending {
			p.setApproval(&run, v1alpha1.ApprovalApproved)
		}
	}
}

// readmit corrects the policy: it admits half of the accounts that were evicted.
func (p runner) readmit() {
	var evicted []string
	for _, g := range p.Groups {
		for _, run := range p.endedRuns(g.ID) {
			evicted = append(evicted, done(&run)...)
		}
	}
	if p.Rule.Gate.Allow == nil || len(evicted) == 0 {
		return
	}
	p.edit(func(r *rule) {
		gate, allow := *r.Gate, *p.Rule.Gate.Allow
		allow.Accounts = append(slices.Clone(allow.Accounts), evicted[:min(900, (len(evicted)+1)/2)]...)
		gate.Allow, r.Gate = &allow, &gate
	})
}
