package pruning

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/imrest"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
)

const (
	// lookLife is how old the last look at a member may be when its deletion is sent, and factsLife how old what allows
	// the removal may be: a message, a suspension or a protection is not overlooked for longer.
	lookLife  = 5 * time.Second
	factsLife = 15 * time.Second
	// maxLateRechecks is how often in a row a recheck may become invalid before its deletion is sent: until a batch has
	// one member.
	maxLateRechecks = 7
)

// execute carries out the plan, batch by batch. Every batch begins with the run as the API server has it, so that a
// batch that was interrupted anywhere (a crash, a lost term, a failed call, a recheck that grew old) is found in flight
// and resumed.
func (j *job) execute(ctx context.Context) error {
	if prunerun.Progress(j.run).InFlight == 0 { // then nothing is to be read of the group before a person has spoken
		if _, err := j.gather(ctx, facts{}, approvalChain); err != nil {
			return err
		}
	}
	if err := firstInQueue(ctx, j, &facts{}); err != nil {
		return err
	}
	var known facts // of the last batch that got as far as the credentials
	for late := 0; ; {
		f, err := j.batchInSlot(ctx)
		if f.remote.rest != nil {
			known = f
		}
		switch {
		case errors.Is(err, imrest.ErrTooLate):
			j.batchSize = max(1, j.batchSize/2)
			if late++; late >= maxLateRechecks {
				return tooSlow(err)
			}
		case err != nil:
			return j.closeExecution(ctx, known, err)
		default:
			late = 0
		}
		if err := j.reload(ctx, prunerun.Active); err != nil {
			return err
		}
	}
}

func tooSlow(cause error) error {
	return &waitError{
		reason: v1alpha1.ReasonVendorUnavailable, cause: cause,
		message: "The vendor answers too slowly: the check of the members expired before their removal. " +
			"It is repeated.",
	}
}

// batchInSlot takes one batch while few other runs of the app have one under way.
func (j *job) batchInSlot(ctx context.Context) (facts, error) {
	if err := j.deletionAnswered(); err != nil {
		return facts{}, err
	}
	if _, err := j.gather(ctx, facts{}, approvalChain); err != nil {
		return facts{}, err
	}
	release, err := j.slots.acquire(ctx, j.key.AppName())
	if err != nil {
		return facts{}, err
	}
	defer release()
	f, err := j.gather(ctx, facts{}, batchChain)
	if err != nil {
		return f, err
	}
	return f, j.batch(ctx, &f)
}

// batch takes one batch through five steps: read what allows it (f), recheck its members, record it, delete them,
// record that. It returns the end of the run once nothing is left to do.
func (j *job) batch(ctx context.Context, f *facts) error {
	state := f.state()
	needed := f.rule.needed(state)
	if needed == 0 {
		return enough("The group has %d members and room for %d: enough seats are free.",
			state.Members, state.MaxMembers)
	}
	if prunerun.Progress(j.run).InFlight > 0 {
		return j.resume(ctx, f, needed)
	}
	open := prunerun.OpenPositions(j.run)
	if open == 0 {
		return enough("The plan is carried out.")
	}
	granted, err := j.reserve(ctx, f, min(open, needed, j.batchSize))
	if err != nil {
		return err
	}
	batch := prunerun.NextBatch(j.run, granted)
	look, err := j.lookAt(ctx, f, batch)
	if err != nil {
		return err
	}
	remove, spared := f.rule.Recheck(removalsOf(batch), look.members, j.Now())
	if len(remove) == 0 {
		return j.recordSettled(ctx, granted, 0, keptRecords(spared))
	}
	if err := j.recordBatch(ctx, f, granted, keptRecords(spared), look); err != nil {
		return err
	}
	deletion, err := j.delete(ctx, f, remove, look)
	if err != nil {
		if ctx.Err() == nil {
			if recordErr := j.recordPart(ctx, deletion); recordErr != nil {
				return recordErr
			}
		}
		return err
	}
	if err := j.confirm(ctx, f, deletion); err != nil {
		return err
	}
	if err := j.recordSettled(ctx, granted, len(deletion.Removed), refusedRecords(ctx, deletion)); err != nil {
		return err
	}
	return refusesAll(&j.run.Status, deletion)
}

// refusesAll ends a run of which the vendor has refused to remove many members, and removed none.
func refusesAll(status *v1alpha1.PruneRunStatus, last imrest.Deletion) error {
	refused := 0
	for _, kept := range status.Kept {
		if kept.Reason == v1alpha1.KeptReasonVendorRefused {
			refused++
		}
	}
	if status.Removed > 0 || refused < imrest.MaxRefusals || len(last.Refused) == 0 {
		return nil
	}
	return vendorError("remove members", last.Refused[len(last.Refused)-1].Err)
}

// confirm looks whether the members are gone that the vendor reports as removed. If some are still there, or it cannot
// be told, the vendor is either not done yet, or has passed over them: that is decided when the batch is resumed.
func (j *job) confirm(ctx context.Context, f *facts, deletion imrest.Deletion) error {
	removed := make(map[string]struct{}, len(deletion.Removed))
	for _, account := range deletion.Removed {
		removed[account] = struct{}{}
	}
	batch := slices.DeleteFunc(prunerun.InFlight(j.run), func(removal v1alpha1.PlannedRemoval) bool {
		_, reported := removed[removal.Account]
		return !reported
	})
	members, _, err := j.membersNow(ctx, f, batch, time.Time{})
	if err != nil {
		j.deletions.doubt(j.term, j.run.UID, j.Now())
		return err
	}
	for _, removal := range removalsOf(batch) {
		if member, present := members[removal.Account]; !policy.HasLeft(removal, member, present) {
			j.deletions.doubt(j.term, j.run.UID, j.Now())
			return j.deletionAnswered()
		}
	}
	return nil
}

// resume takes up the batch in flight. Whether its deletion was sent is not known, so that absent members count as
// removed; the others are rechecked, and removed as far as seats are still needed.
func (j *job) resume(ctx context.Context, f *facts, needed int) error {
	batch := prunerun.InFlight(j.run)
	if len(batch) > j.batchSize {
		return j.closeInFlight(ctx, *f) // it came too late, and would again: smaller ones take its place
	}
	look, err := j.lookAt(ctx, f, batch)
	if err != nil {
		return err
	}
	gone, remove, spared := f.rule.RecheckInFlight(removalsOf(batch), look.members, j.Now())
	inFlight, kept := int(prunerun.Progress(j.run).InFlight), keptRecords(spared)
	if j.deletions.reported(j.term, j.run.UID) {
		for _, account := range remove { // the vendor has had its time
			kept = append(kept, v1alpha1.KeptAccount{Account: account, Reason: v1alpha1.KeptReasonVendorRefused})
		}
		return j.recordSettled(ctx, inFlight, len(gone), kept)
	}
	// The members beyond what is needed are kept: enough seats are free once the others are removed.
	want, keptReason := min(len(remove), needed), v1alpha1.KeptReasonRunEnded
	left, err := j.reserveInFlight(ctx, f, len(gone), want)
	if err != nil {
		return err
	}
	if left < want {
		want, keptReason = left, v1alpha1.KeptReasonBudgetExhausted
	}
	if want < len(remove) && len(gone) == 0 {
		// Nothing of the batch has happened: its positions are as open as those after them, and wait like these.
		return j.recordSettled(ctx, 0, 0, nil)
	}
	for _, account := range remove[want:] {
		kept = append(kept, v1alpha1.KeptAccount{Account: account, Reason: keptReason})
	}
	remove = remove[:want]
	if len(remove) == 0 {
		return j.recordSettled(ctx, inFlight, len(gone), kept)
	}
	// A fence of this term, even if the batch is what it was: it makes the copies of other writers stale.
	if err := j.recordBatch(ctx, f, inFlight, kept, look); err != nil {
		return err
	}
	deletion, err := j.delete(ctx, f, remove, look)
	if err != nil {
		return err
	}
	if err := j.confirm(ctx, f, deletion); err != nil {
		return err
	}
	return j.recordSettled(ctx, inFlight, len(gone)+len(deletion.Removed), refusedRecords(ctx, deletion))
}

// reserve takes a batch of up to want members out of the budget before it is rechecked and recorded. It returns at
// least 1.
func (j *job) reserve(ctx context.Context, f *facts, want int) (int, error) {
	b := j.budget(j.run.Status.Policy.Name, f.rule.perDay)
	granted, more, err := j.ledger.Reserve(ctx, b, want)
	switch {
	case err != nil:
		return 0, err
	case granted == 0:
		return 0, b.exhausted(more)
	}
	return granted, nil
}

// reserveInFlight is reserve for a batch that is recorded already: gone of its members have gone, remove are to go. It
// returns how many of the latter may.
func (j *job) reserveInFlight(ctx context.Context, f *facts, gone, remove int) (int, error) {
	b := j.budget(j.run.Status.Policy.Name, f.rule.perDay)
	granted, _, err := j.ledger.Reserve(ctx, b, gone+remove)
	return max(0, granted-gone), err
}

// look is what the vendor says of a batch right before its deletion.
type look struct {
	members  map[string]policy.Member // an account that is absent is not in the group
	asOf     time.Time                // when the first of its requests was sent
	notAfter time.Time                // when it is too late for a deletion by it
}

// lookAt is step 2. A look that is too old for a deletion already, or that rests on facts which are, is void: lookAt
// returns imrest.ErrTooLate, as does a deletion that comes too late.
func (j *job) lookAt(ctx context.Context, f *facts, batch []v1alpha1.PlannedRemoval) (look, error) {
	factsEnd := f.readAt.Add(factsLife)
	members, asOf, err := j.membersNow(ctx, f, batch, factsEnd)
	if err != nil {
		return look{}, err
	}
	lookEnd, now := asOf.Add(lookLife), j.Now()
	if imrest.Late(now, factsEnd) || imrest.Late(now, lookEnd) {
		return look{}, fmt.Errorf("look at the members: it is of %s: %w", asOf.UTC().Format(time.RFC3339Nano),
			imrest.ErrTooLate)
	}
	if factsEnd.Before(lookEnd) {
		lookEnd = factsEnd
	}
	return look{members: members, asOf: asOf, notAfter: lookEnd}, nil
}

// membersNow reads a batch from the vendor, as it is at asOf or later. An account that is absent from the map is not in
// the group.
func (j *job) membersNow(
	ctx context.Context, f *facts, batch []v1alpha1.PlannedRemoval, notAfter time.Time,
) (members map[string]policy.Member, asOf time.Time, _ error) {
	if len(batch) == 0 {
		return nil, j.Now(), nil
	}
	members, asOf, err := f.remote.named(ctx, accountsOf(batch), notAfter)
	if err != nil {
		return nil, time.Time{}, vendorError("look at the members once more", err)
	}
	return members, asOf, nil
}

// recordBatch is step 3, the fence: the batch is recorded before it is deleted. The time in the message makes it a new
// version of the run in any case.
func (j *job) recordBatch(
	ctx context.Context, f *facts, inFlight int, kept []v1alpha1.KeptAccount, look look,
) error {
	return j.Patch(ctx, func(run *v1alpha1.PruneRun) {
		now, status, progress := j.Now(), &run.Status, prunerun.Progress(run)
		progress.InFlight = int32Of(inFlight)
		progress.LastBatchAt = metav1.NewTime(wholeSecond(now))
		status.Progress = &progress
		status.Kept = append(status.Kept, kept...)
		f.rule.refuse(status, now)
		j.set(run, v1alpha1.ConditionComplete, metav1.ConditionFalse, v1alpha1.ReasonRemoving, fmt.Sprintf(
			"Removing positions %d to %d of %d, last looked at %s.",
			progress.Settled+1, progress.Settled+progress.InFlight, len(status.Plan.Removals),
			look.asOf.UTC().Format(time.RFC3339Nano)))
	})
}

// delete is step 4. It is called only right after recordBatch, with the members that the recheck before that found fit
// to go. A deletion that failed and may have taken effect is repeated only after another recheck: a member that was
// removed may have come back at once.
func (j *job) delete(ctx context.Context, f *facts, accounts []string, look look) (imrest.Deletion, error) {
	j.deletions.begin(j.term, j.run.UID)
	options := f.rule.delete
	options.NotAfter = look.notAfter
	deletion, err := f.remote.remove(ctx, accounts, options)
	// What was removed before a failure is not confirmed, so that it may be carried out later than it was reported.
	answered := len(deletion.Unknown) == 0 && (err == nil || len(deletion.Removed) == 0)
	j.deletions.end(j.term, j.run.UID, answered, j.Now())
	if err != nil {
		return deletion, vendorError("remove members", err)
	}
	return deletion, nil
}

// refusedRecords are the accounts that the vendor refused to remove, as they are recorded.
func refusedRecords(ctx context.Context, deletion imrest.Deletion) []v1alpha1.KeptAccount {
	var refused []v1alpha1.KeptAccount
	for _, account := range deletion.Refused {
		log.FromContext(ctx).V(1).Info("The vendor refuses to remove a member",
			"account", account.Account, "error", account.Err.Error())
		refused = append(refused, v1alpha1.KeptAccount{
			Account: account.Account, Reason: v1alpha1.KeptReasonVendorRefused,
		})
	}
	return refused
}

// recordPart settles the positions of a batch that a deletion came to before it failed, if it is certain that none of
// them was removed. The others, which come after these, are open again. If some were removed, the batch stays in
// flight, and is looked at when it is resumed.
func (j *job) recordPart(ctx context.Context, deletion imrest.Deletion) error {
	if len(deletion.Unknown) > 0 || len(deletion.Removed) > 0 {
		return nil
	}
	begun := int(prunerun.Progress(j.run).InFlight)
	if len(deletion.Untouched) > 0 {
		open := j.run.Status.Plan.Removals[prunerun.Progress(j.run).Settled:]
		begun = slices.IndexFunc(open, func(removal v1alpha1.PlannedRemoval) bool {
			return removal.Account == deletion.Untouched[0]
		})
	}
	if begun <= 0 {
		return nil
	}
	return j.recordSettled(ctx, begun, 0, refusedRecords(ctx, deletion))
}

// recordSettled is step 5: n positions of the plan are done with, removed of them by a removal.
func (j *job) recordSettled(ctx context.Context, n, removed int, kept []v1alpha1.KeptAccount) error {
	err := j.Patch(ctx, func(run *v1alpha1.PruneRun) {
		status, progress := &run.Status, prunerun.Progress(run)
		progress.Settled += int32Of(n)
		progress.InFlight = 0
		status.Progress = &progress
		status.Removed += int32Of(removed)
		status.Kept = append(status.Kept, kept...)
		j.set(run, v1alpha1.ConditionComplete, metav1.ConditionFalse, v1alpha1.ReasonRemoving,
			prunerun.ProgressMessage(run))
	})
	if err != nil {
		return err
	}
	j.deletions.forget(j.run.UID)
	j.Metrics.membersRemoved(j.purpose(), int32Of(removed))
	return nil
}

// closeExecution settles the batch in flight before the run ends, whatever the reason: no more members are removed, but
// those that were are to be on record. Its calls are urgent, since most ends are the word of a person. known is what an
// earlier batch of this Step was allowed by.
func (j *job) closeExecution(ctx context.Context, known facts, err error) error {
	done, isEnough := errors.AsType[*enoughError](err)
	if _, ends := errors.AsType[*endError](err); !ends && !isEnough {
		return err
	}
	closeErr := j.closeInFlight(imrest.Urgent(ctx), known)
	switch {
	case closeErr != nil && ctx.Err() == nil && stopsRun(closeErr) && !isEnough:
		// The end stands: a suspended run must not come alive again because the vendor was out of reach at that moment.
		// The record shows the batch in flight, whose removal is not certain.
		return err
	case closeErr != nil || ctx.Err() != nil:
		return closeErr // the end can wait until the number of removals is known
	case !isEnough:
		return err
	case j.run.Status.Removed == 0:
		return complete(v1alpha1.ReasonNothingToRemove, "No member was %s. %s", prunerun.GoneVerb(j.run), done.message)
	}
	message := prunerun.RemovalMessage(j.run) + " " + done.message
	if approved := prunerun.Decisions(j.run).Approved; approved != nil {
		message += " " + prunerun.DecisionMessage(&approved.PruneDecision, "approved")
	}
	return complete(v1alpha1.ReasonRemoved, "%s", message)
}

// closeInFlight finds out which members of the batch in flight are gone, and settles it without another removal.
func (j *job) closeInFlight(ctx context.Context, known facts) error {
	inFlight := int(prunerun.Progress(j.run).InFlight)
	if inFlight == 0 {
		return nil
	}
	if err := j.deletionAnswered(); err != nil {
		return err
	}
	f, err := j.closingFacts(ctx, known)
	if err != nil {
		return err
	}
	batch := prunerun.InFlight(j.run)
	members, _, err := j.membersNow(ctx, &f, batch, time.Time{})
	if err != nil {
		return err
	}
	// Read after the members: those of another group say nothing of the batch, which then stays in flight on record.
	if f, err = j.gather(ctx, f, []check{groupRead(0), sameGroup}); err != nil {
		return err
	}
	var kept []v1alpha1.KeptAccount
	for _, removal := range removalsOf(batch) {
		if member, present := members[removal.Account]; !policy.HasLeft(removal, member, present) {
			kept = append(kept, v1alpha1.KeptAccount{Account: removal.Account, Reason: v1alpha1.KeptReasonRunEnded})
		}
	}
	gone := len(batch) - len(kept)
	if gone == 0 && len(kept) > 0 {
		// The deletion was not carried out: these positions are as open as those after them.
		return j.recordSettled(ctx, 0, 0, nil)
	}
	return j.recordSettled(ctx, inFlight, gone, kept)
}
