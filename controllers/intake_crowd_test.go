package controllers

import (
	"errors"
	"fmt"
	"testing"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/imclients"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// askingIntake asks the vendor about groups when many are pending.
func (w *world) askingIntake() *Intake {
	intake := w.intake()
	intake.Clients = &imclients.Pool{Reader: w.Client, Endpoint: w.URL, Now: w.Clock.Now, Sleep: w.Clock.Sleep}
	return intake
}

func (w *world) pruneAllGroups() {
	w.t.Helper()
	w.Policy("everywhere", v1alpha1.PruneRule{})
	change(w, &v1alpha1.GroupPolicy{}, "everywhere", func(p *v1alpha1.GroupPolicy) {
		p.Spec.Groups = []v1alpha1.GroupMatcher{{Type: v1alpha1.GroupMatcherAll}}
	})
	w.Publish()
}

func TestFloodOfForgedGroupsMakesFewRuns(t *testing.T) {
	w := newWorld(t)
	w.pruneAllGroups()
	w.Group(labtest.FullGroup, 2, 5)
	intake := w.askingIntake()
	const forged = 500
	for n := range forged {
		intake.GroupFull(w.object(), fmt.Sprintf("forged-%d", n))
	}
	intake.GroupFull(w.object(), labtest.FullGroup)
	start(t, intake.Start)
	labtest.Eventually(t, intake.empty)
	key := prunerun.Key{Namespace: w.Namespace, App: labtest.App, Group: labtest.FullGroup}
	if !w.Exists(key.Name(1)) {
		t.Error("the full group has no run")
	}
	if got := len(w.RunNames()); got > crowdFrom+1 {
		t.Errorf("%d runs for %d forged groups", got, forged)
	}
	if got := intake.count(intakeRefuted); got < forged-crowdFrom {
		t.Errorf("refuted = %v, want nearly %d", got, forged)
	}
	if calls := w.Happened(labtest.GetGroup); calls > forged/10 {
		t.Errorf("%d calls about %d groups", calls, forged)
	}
	labtest.Eventually(t, func() error {
		intake.mu.Lock()
		defer intake.mu.Unlock()
		if len(intake.crowds) != 0 {
			return fmt.Errorf("left behind: %v", intake.crowds)
		}
		return nil
	})
}

func TestGroupThatIsReportedAgainPassesAFlood(t *testing.T) {
	w := newWorld(t)
	w.pruneAllGroups()
	intake := w.askingIntake()
	intake.Client = staleCache{w.Client}
	intake.init()
	key := prunerun.Key{Namespace: w.Namespace, App: labtest.App, Group: labtest.FullGroup}
	intake.crowdOf(key.AppName()).asking = true // by this test
	park := func() {
		t.Helper()
		key, _ := intake.queue.Get()
		if asking, err := intake.asksFirst(t.Context(), key); err != nil || !asking {
			t.Fatalf("asking = %v, %v", asking, err)
		}
		intake.queue.Done(key)
	}
	for n := range maxPendingGroups {
		intake.GroupFull(w.object(), fmt.Sprintf("forged-%d", n))
	}
	labtest.Must(t, func() error {
		if intake.GroupFull(w.object(), "one too many"); intake.count(intakeOverflow) != 1 {
			return errors.New("no overflow")
		}
		return nil
	}())
	for range 100 {
		park()
	}
	intake.GroupFull(w.object(), labtest.FullGroup)
	intake.GroupFull(w.object(), labtest.FullGroup)
	for n := range 50 {
		intake.GroupFull(w.object(), fmt.Sprintf("more-%d", n))
	}
	for range maxPendingGroups - 100 + 51 {
		park()
	}
	if batch := intake.nextToAsk(key.AppName()); len(batch) != 50 || batch[0] != key {
		t.Errorf("asked about %d groups, first %v: want the one that was reported again first", len(batch), batch[0])
	}
	if got := len(intake.pending); got != maxPendingGroups {
		t.Errorf("%d groups are pending, want %d", got, maxPendingGroups)
	}
}
