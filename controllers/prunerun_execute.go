package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/imrest"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
)

const (
	// lookLife is how long the last look at a batch is good for, from its end; lookPatience is how long it may take, together with
	// the reading of what allows a removal: a suspension or a protection that came meanwhile must not go unseen for longer.
	lookLife     = 5 * time.Second
	lookPatience = 15 * time.Second
	// maxLateLooks is how often in a row a look may grow old before its deletion starts, until the run gives way to others.
	maxLateLooks = 5
)

// execute carries out the plan, batch by batch. Every batch begins with the run as the API server has it, so that a batch that was interrupted
// anywhere (a crash, a lost term, a call that failed, a look that grew old) is simply found in flight and taken up.
func (p *pass) execute(ctx context.Context) error {
	if _, err := p.myTurn(ctx); err != nil {
		return err
	}
	for late := 0; ; {
		err := p.batchInTurn(ctx)
		switch {
		case errors.Is(err, imrest.ErrTooLate):
			if late++; late >= maxLateLooks {
				return &waitError{reason: v1alpha1.ReasonVendorUnavailable, message: "The vendor is too slow for the last look: nobody is removed on the strength of an old one.", cause: err}
			}
		case err != nil:
			return p.closing(ctx, err)
		default:
			late = 0
		}
		run := &v1alpha1.PruneRun{}
		if err := p.Live.Get(ctx, client.ObjectKeyFromObject(p.run), run); err != nil {
			return fmt.Errorf("read the prune run live: %w", err)
		}
		if !prunerun.Active(run) || run.UID != p.run.UID {
			return errDone
		}
		p.run = run
	}
}

// batchInTurn is batch while few others of the app are at theirs: where the limiter lets one call a second through, the last look of one run
// must not grow old waiting for the turns of all others.
func (p *pass) batchInTurn(ctx context.Context) error {
	if err := p.approved(ctx); err != nil {
		return err
	}
	giveBack, err := p.turns.take(ctx, appKey{p.key.Namespace, p.key.App})
	if err != nil {
		return err
	}
	defer giveBack()
	return p.batch(ctx)
}

// batch takes one batch through the five steps: read what allows it, look at its members, record it, delete, record that. It returns
// the end of the run once nothing is left to do.
func (p *pass) batch(ctx context.Context) error {
	governing, state, err := p.allowed(ctx)
	if err != nil {
		return err
	}
	needed := governing.SeatsNeeded(state)
	if needed == 0 {
		return p.enough("The group has %d members and room for %d: enough seats are free.", state.Members, state.MaxMembers)
	}
	if prunerun.Progress(p.run).InFlight > 0 {
		return p.resume(ctx, governing, needed)
	}
	rest := prunerun.OpenPositions(p.run)
	if rest == 0 {
		return p.enough("The plan is carried out.")
	}
	granted, err := p.reserve(ctx, &governing.Rule, min(rest, needed, imrest.MaxDeletesPerCall))
	if err != nil {
		return err
	}
	batch := prunerun.NextBatch(p.run, granted)
	members, lookedAt, err := p.lastLook(ctx, batch)
	if err != nil {
		return err
	}
	remove, kept := governing.Recheck(removalsOf(batch), members, p.Now())
	if len(remove) == 0 {
		return p.settle(ctx, granted, 0, keptRecords(kept))
	}
	if err := p.fence(ctx, governing, granted, keptRecords(kept), lookedAt); err != nil {
		return err
	}
	if err := p.delete(ctx, governing, remove, lookedAt); err != nil {
		return err
	}
	return p.settle(ctx, granted, len(remove), nil)
}

// resume takes up the batch that is in flight. Whether its deletion was sent is not known, so that who is absent counts as removed; whoever is
// there is looked at again, and goes as far as seats are still needed.
func (p *pass) resume(ctx context.Context, governing *policy.GoverningRule, needed int) error {
	batch := prunerun.InFlight(p.run)
	members, lookedAt, err := p.lastLook(ctx, batch)
	if err != nil {
		return err
	}
	gone, remove, looked := governing.RecheckInFlight(removalsOf(batch), members, p.Now())
	inFlight, kept := int(prunerun.Progress(p.run).InFlight), keptRecords(looked)
	want, stays := min(len(remove), needed), v1alpha1.KeptReasonRunEnded // enough seats are free after those that go
	left, err := p.reserveInFlight(ctx, &governing.Rule, len(gone), want)
	if err != nil {
		return err
	}
	if left < want {
		want, stays = left, v1alpha1.KeptReasonBudgetExhausted
	}
	if want < len(remove) && len(gone) == 0 {
		// Nothing of the batch has happened: its positions are as open as those after them, and wait for the budget like these.
		return p.settle(ctx, 0, 0, nil)
	}
	for _, account := range remove[want:] {
		kept = append(kept, v1alpha1.KeptAccount{Account: account, Reason: stays})
	}
	remove = remove[:want]
	if len(remove) == 0 {
		return p.settle(ctx, inFlight, len(gone), kept)
	}
	// A fence of this term, even where the batch stays what it was: it makes every other writer's copy stale.
	if err := p.fence(ctx, governing, inFlight, kept, lookedAt); err != nil {
		return err
	}
	if err := p.delete(ctx, governing, remove, lookedAt); err != nil {
		return err
	}
	return p.settle(ctx, inFlight, len(gone)+len(remove), nil)
}

// allowed is step 1: what must hold before anybody is removed, read live. Without a live read, no removal.
func (p *pass) allowed(ctx context.Context) (*policy.GoverningRule, policy.GroupState, error) {
	var none policy.GroupState
	// Rules are compared with the API server's; who is on which list of a protection is known from the watches alone.
	if p.Watches != nil && p.Watches.Silent() {
		return nil, none, errBehind
	}
	if err := p.readApp(ctx); err != nil {
		return nil, none, err
	}
	if err := p.planExpired(); err != nil { // the turn may have been long in coming
		return nil, none, err
	}
	if err := p.callVendorAs(ctx); err != nil {
		return nil, none, err
	}
	group, err := p.readGroup(ctx, p.readAt.Add(lookPatience))
	if err != nil {
		return nil, none, err
	}
	if recorded := p.run.Status.Group; recorded == nil || v1alpha1.GroupType(group.Type) != recorded.Type {
		return nil, none, completes(v1alpha1.ReasonSuperseded, "The type of the group is %q by now.", group.VendorType)
	}
	state := stateOf(group)
	governing, err := p.governingNow(ctx, state.Type)
	if err != nil {
		return nil, none, err
	}
	return &governing, state, nil
}

// governingNow returns the rule in force if it is still the one that the plan was made by. The protection in it is that of the
// snapshot now.
func (p *pass) governingNow(ctx context.Context, groupType policy.GroupType) (policy.GoverningRule, error) {
	governing, governed, err := p.governing(ctx, groupType)
	record := p.run.Status.Policy
	switch {
	case err != nil:
		return policy.GoverningRule{}, err
	case !governed:
		return policy.GoverningRule{}, completes(v1alpha1.ReasonNotGoverned, "No GroupPolicy with whenFull.prune governs this group any more.")
	case !plannedBy(record, governing.Policy):
		return policy.GoverningRule{}, completes(v1alpha1.ReasonSuperseded, "GroupPolicy %s, generation %d, no longer governs this group.", record.Name, record.Generation)
	}
	return governing, usable(&governing)
}

// plannedBy says whether the plan was made by this very policy in this very generation.
func plannedBy(record *v1alpha1.PrunePolicyRecord, object policy.Object) bool {
	return types.UID(object.UID) == record.UID && object.Generation == record.Generation
}

// lastLook is step 2: the batch as the vendor has it now, and when. A look that ends too long after the beginning of step 1 is none: it
// returns imrest.ErrTooLate, as a deletion does that comes too late after it.
func (p *pass) lastLook(ctx context.Context, batch []v1alpha1.PlannedRemoval) (map[string]policy.Member, time.Time, error) {
	members, err := p.membersNow(ctx, batch, p.readAt.Add(lookPatience))
	if err != nil {
		return nil, time.Time{}, err
	}
	lookedAt := p.Now()
	if took := lookedAt.Sub(p.readAt); took > lookPatience {
		return nil, time.Time{}, fmt.Errorf("look at the members: it took %s: %w", took.Round(time.Second), imrest.ErrTooLate)
	}
	return members, lookedAt, nil
}

// membersNow reads a batch from the vendor. Who is absent from the map is not in the group.
func (p *pass) membersNow(ctx context.Context, batch []v1alpha1.PlannedRemoval, notAfter time.Time) (map[string]policy.Member, error) {
	accounts := make([]string, len(batch))
	for i := range batch {
		accounts[i] = batch[i].Account
	}
	found, err := p.vendor.MembersNamed(ctx, p.key.Group, accounts, notAfter)
	if err != nil {
		return nil, vendorTrouble("look at the members once more", err)
	}
	members := make(map[string]policy.Member, len(found))
	for account, member := range found {
		members[account] = memberOf(member)
	}
	return members, nil
}

// fence is step 3: the batch is recorded before it is deleted. The time in the message makes it a new version of the run in any case.
func (p *pass) fence(ctx context.Context, governing *policy.GoverningRule, inFlight int, kept []v1alpha1.KeptAccount, lookedAt time.Time) error {
	return p.record(ctx, func(status *v1alpha1.PruneRunStatus) {
		now := p.Now()
		progress := prunerun.Progress(p.run)
		progress.InFlight = int32Of(inFlight)
		progress.LastBatchAt = metav1.NewTime(wholeSecond(now))
		status.Progress = &progress
		status.Kept = append(status.Kept, kept...)
		refuseFor(status, &governing.Rule, now)
		p.set(status, v1alpha1.ConditionComplete, metav1.ConditionFalse, v1alpha1.ReasonRemoving, fmt.Sprintf(
			"Removing positions %d to %d of %d, last looked at %s.", progress.Settled+1, progress.Settled+progress.InFlight,
			len(status.Plan.Removals), lookedAt.UTC().Format(time.RFC3339Nano)))
	})
}

// delete is step 4. It is called nowhere but right after a fence, with who that fence's look found fit to go. One that failed and may have
// taken effect is repeated after another look only: somebody who was removed may have come back at once.
func (p *pass) delete(ctx context.Context, governing *policy.GoverningRule, accounts []string, lookedAt time.Time) error {
	err := p.vendor.DeleteMembers(ctx, p.key.Group, accounts, imrest.DeleteOptions{
		Silent: governing.Rule.Silent, Reason: governing.Rule.Reason, NotAfter: lookedAt.Add(lookLife), Once: true,
	})
	p.noticeVendor()
	if err != nil {
		return vendorTrouble("remove members", err)
	}
	return nil
}

// settle is step 5: n positions of the plan are done with, removed of them by a removal.
func (p *pass) settle(ctx context.Context, n, removed int, kept []v1alpha1.KeptAccount) error {
	err := p.record(ctx, func(status *v1alpha1.PruneRunStatus) {
		progress := prunerun.Progress(p.run)
		progress.Settled += int32Of(n)
		progress.InFlight = 0
		status.Progress = &progress
		status.Removed += int32Of(removed)
		status.Kept = append(status.Kept, kept...)
		p.set(status, v1alpha1.ConditionComplete, metav1.ConditionFalse, v1alpha1.ReasonRemoving, fmt.Sprintf(
			"%d of %d positions of the plan are settled, %s removed.", progress.Settled, len(status.Plan.Removals), prunerun.Count(int(status.Removed), "member was", "members were")))
	})
	if err != nil {
		return err
	}
	p.Metrics.membersRemoved(int32Of(removed))
	return nil
}

// enough ends a run that has done what it is for.
func (p *pass) enough(format string, args ...any) error {
	return &enoughError{message: fmt.Sprintf(format, args...)}
}

// enoughError is an end whose reason depends on the exact count, which is known only once the batch in flight is settled.
type enoughError struct{ message string }

func (e *enoughError) Error() string { return e.message }

// closing settles the batch in flight before the run ends, whatever the reason: nobody more is removed, but who was is to be on the record.
func (p *pass) closing(ctx context.Context, err error) error {
	enough, isEnough := errors.AsType[*enoughError](err)
	if _, ends := errors.AsType[*endError](err); !ends && !isEnough {
		return err
	}
	lookErr := p.closeInFlight(ctx)
	switch {
	case ctx.Err() != nil:
		return lookErr
	case lookErr != nil && isEnough:
		return lookErr // there is no hurry: the count can be had later
	case lookErr != nil && isRunTrouble(lookErr):
		// The end stands: a suspended run must not come alive again because the vendor was out of reach at that moment. The
		// record shows the batch in flight, whose removal is not certain.
		return err
	case lookErr != nil:
		return lookErr
	}
	switch {
	case !isEnough:
		return err
	case p.run.Status.Removed == 0:
		return completes(v1alpha1.ReasonNothingToRemove, "Nobody was removed. %s", enough.message)
	}
	return completes(v1alpha1.ReasonRemoved, "%s %s", prunerun.RemovalMessage(&p.run.Status), enough.message)
}

// isRunTrouble says whether err is about the run or the vendor, and not about writing to the API server.
func isRunTrouble(err error) bool {
	_, ends := errors.AsType[*endError](err)
	_, waits := errors.AsType[*waitError](err)
	return ends || waits
}

// closeInFlight looks who of the batch in flight is gone and settles it without another removal.
func (p *pass) closeInFlight(ctx context.Context) error {
	inFlight := int(prunerun.Progress(p.run).InFlight)
	if inFlight == 0 {
		return nil
	}
	if p.app == nil {
		if err := p.readLiveApp(ctx); err != nil {
			return err
		}
	}
	if !p.sameApp() {
		return completes(v1alpha1.ReasonSuperseded, "Another app's group does not tell who of the batch in flight is gone.")
	}
	if p.vendor == nil {
		if err := p.callVendorAs(ctx); err != nil {
			return err
		}
	}
	batch := prunerun.InFlight(p.run)
	members, err := p.membersNow(ctx, batch, noHurry)
	if err != nil {
		return err
	}
	var there []v1alpha1.KeptAccount
	for _, removal := range removalsOf(batch) {
		if member, present := members[removal.Account]; !policy.HasLeft(removal, member, present) {
			there = append(there, v1alpha1.KeptAccount{Account: removal.Account, Reason: v1alpha1.KeptReasonRunEnded})
		}
	}
	gone := len(batch) - len(there)
	if gone == 0 && len(there) > 0 {
		// The deletion was not carried out: these positions are as open as those after them.
		return p.settle(ctx, 0, 0, nil)
	}
	return p.settle(ctx, inFlight, gone, there)
}

func removalsOf(batch []v1alpha1.PlannedRemoval) []policy.Removal {
	removals := make([]policy.Removal, len(batch))
	for i := range batch {
		removals[i] = policy.Removal{
			Account: batch[i].Account, LastActive: batch[i].LastActiveAt.Time,
			NeverSpoke: batch[i].Reason == v1alpha1.RemovalReasonNeverSpoke,
		}
	}
	return removals
}

func keptRecords(kept []policy.Kept) []v1alpha1.KeptAccount {
	records := make([]v1alpha1.KeptAccount, len(kept))
	for i := range kept {
		records[i] = v1alpha1.KeptAccount{Account: kept[i].Account, Reason: v1alpha1.KeptReason(kept[i].Reason.String())}
	}
	return records
}
