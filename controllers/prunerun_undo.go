package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im"
	"github.com/groupgate/groupgate/internal/im/imrest"
	"github.com/groupgate/groupgate/internal/prunerun"
)

const (
	eventActionUndo = "Undo"

	// A refusal is tried again after 1, 2 and 4 seconds: the replica that the vendor asked may not know the record of the undo yet.
	firstRefusalRetry = time.Second
	lastRefusalRetry  = 4 * time.Second
)

// undo adds the accounts that the run removed back to the group, batch by batch. It does not ask whether pruning is suspended, nor which policy
// governs by now: it removes nobody, and who undoes a removal has often just suspended pruning or deleted the policy.
//
// Every batch begins with the run as the API server has it, so that one that was interrupted anywhere is found as it was recorded.
func (p *pass) undo(ctx context.Context) error {
	if _, err := p.myTurn(ctx); err != nil {
		return err
	}
	for {
		if err := p.restore(ctx); err != nil {
			return p.closingUndo(ctx, err)
		}
		run := &v1alpha1.PruneRun{}
		if err := p.Live.Get(ctx, client.ObjectKeyFromObject(p.run), run); err != nil {
			return fmt.Errorf("read the prune run live: %w", err)
		}
		if !prunerun.WantsUndo(run) || run.UID != p.run.UID {
			return errDone
		}
		p.run = run
	}
}

// restore adds one batch. It returns the end of the undo once nothing is left to do.
func (p *pass) restore(ctx context.Context) error {
	if err := p.readUndoApp(ctx); err != nil {
		return err
	}
	if p.run.Status.Undo == nil {
		if err := p.beginUndo(ctx); err != nil {
			return err
		}
	}
	batch := prunerun.AccountsWith(p.run.Status.Undo, v1alpha1.RestoreResultAdding)
	resumed := len(batch) > 0
	if !resumed {
		batch = prunerun.AccountsWith(p.run.Status.Undo, v1alpha1.RestoreResultPending)
	}
	if len(batch) == 0 {
		return completes(v1alpha1.ReasonUndone, "%s", prunerun.UndoMessage(p.run.Status.Undo))
	}
	if err := p.callVendorAs(ctx); err != nil {
		return err
	}
	free, err := p.freeSeats(ctx)
	if err != nil {
		return err
	}
	if free > 0 {
		batch = batch[:min(len(batch), imrest.MaxAddsPerCall)]
	}
	// Who is there already is told from who comes back by an addition before that is sent: an addition whose answer was lost
	// answers its repetition with "already a member".
	absent, results, err := p.whoIsBack(ctx, batch, resumed)
	if err != nil {
		return err
	}
	if free == 0 {
		for _, account := range absent {
			results[account] = v1alpha1.RestoreResultNoSeat
		}
		return p.recordRestored(ctx, results)
	}
	absent = absent[:min(len(absent), free)]
	if len(absent) == 0 {
		return p.recordRestored(ctx, results)
	}
	if err := p.fenceRestored(ctx, results, absent); err != nil {
		return err
	}
	return p.addBack(ctx, absent)
}

// readUndoApp reads the IMApp live. Unlike for a removal, it may be suspended.
func (p *pass) readUndoApp(ctx context.Context) error {
	if err := p.readSameApp(ctx); err != nil {
		return err
	}
	return p.inSnapshot()
}

// beginUndo records whom the undo is about, before the first is added. This record ends their refusal and makes every replica admit them.
func (p *pass) beginUndo(ctx context.Context) error {
	undo := prunerun.NewUndo(p.run, p.Now())
	if len(undo.Accounts) == 0 {
		return completes(v1alpha1.ReasonNothingToUndo, "The run removed nobody.")
	}
	err := p.record(ctx, func(status *v1alpha1.PruneRunStatus) {
		status.Undo = undo
		p.set(status, v1alpha1.ConditionUndone, metav1.ConditionFalse, v1alpha1.ReasonUndoing,
			prunerun.Count(len(undo.Accounts), "account is", "accounts are")+" to come back.")
	})
	if err != nil {
		return err
	}
	log.FromContext(ctx).Info("undo of a prune run begins", "groupID", p.key.Group, "accounts", len(undo.Accounts))
	return nil
}

// freeSeats reads the group from the vendor.
func (p *pass) freeSeats(ctx context.Context) (int, error) {
	group, err := p.vendor.Group(ctx, p.key.Group, time.Time{})
	p.noticeVendor()
	switch {
	case err != nil:
		return 0, undoTrouble("read the group", err)
	case group.Type == "" || group.Type == im.TypeAVChatRoom:
		return 0, fails(v1alpha1.ReasonUnsupportedGroupType, "Nobody can be added to a group of type %q.", group.VendorType)
	}
	return max(group.MaxMembers-group.Members, 0), nil
}

// whoIsBack tells those of a batch who are in the group from those who are not. Of a batch whose addition was recorded before, who is there has
// been added by it: when it was recorded, nobody was.
func (p *pass) whoIsBack(ctx context.Context, batch []string, resumed bool) (absent []string, back map[string]v1alpha1.RestoreResult, _ error) {
	members, err := p.vendor.MembersNamed(ctx, p.key.Group, batch, time.Time{})
	p.noticeVendor()
	if err != nil {
		return nil, nil, undoTrouble("look who is back", err)
	}
	result := v1alpha1.RestoreResultAlreadyMember
	if resumed {
		result = v1alpha1.RestoreResultAdded
	}
	back = make(map[string]v1alpha1.RestoreResult, len(batch))
	for _, account := range batch {
		if _, there := members[account]; there {
			back[account] = result
		} else {
			absent = append(absent, account)
		}
	}
	return absent, back, nil
}

// fenceRestored records the batch before it is added. The time in the message makes it a new version of the run in any case.
func (p *pass) fenceRestored(ctx context.Context, back map[string]v1alpha1.RestoreResult, batch []string) error {
	results := back
	for _, account := range batch {
		results[account] = v1alpha1.RestoreResultAdding
	}
	return p.recordRestoredAs(ctx, results, fmt.Sprintf("Adding %s, last looked at %s.", prunerun.Count(len(batch), "account", "accounts"), p.Now().UTC().Format(time.RFC3339Nano)))
}

// addBack adds a batch that is recorded, and records what became of it. It is called nowhere but right after a fence.
func (p *pass) addBack(ctx context.Context, batch []string) error {
	results, err := p.add(ctx, batch)
	if len(results) > 0 && ctx.Err() == nil {
		if recordErr := p.recordRestored(ctx, results); recordErr != nil {
			return recordErr
		}
	}
	return err
}

// add adds accounts, and those that are refused again. With an error it returns the results that are certain.
func (p *pass) add(ctx context.Context, accounts []string) (map[string]v1alpha1.RestoreResult, error) {
	results := make(map[string]v1alpha1.RestoreResult, len(accounts))
	var refused []string
	attempt := func(accounts []string) error {
		got, err := p.vendor.AddMembers(ctx, p.key.Group, accounts)
		p.noticeVendor()
		for _, account := range accounts {
			switch result, known := got[account]; {
			case !known:
			case result == imrest.AddResultRefused:
				refused = append(refused, account)
			case result == imrest.AddResultAlreadyMember:
				results[account] = v1alpha1.RestoreResultAdded // it was absent right before: the answer to the addition was lost
			default:
				results[account] = v1alpha1.RestoreResult(result)
			}
		}
		if err != nil {
			return undoTrouble("add the accounts", err)
		}
		return nil
	}
	if err := attempt(accounts); err != nil {
		return results, err
	}
	for delay := firstRefusalRetry; len(refused) > 0 && delay <= lastRefusalRetry; delay *= 2 {
		if err := p.Vendor.Pause(ctx, delay); err != nil {
			return results, err
		}
		again := refused
		refused = nil
		size := len(again)
		if delay == lastRefusalRetry {
			size = 1 // the vendor refuses several for several reasons with one word; one alone it tells which
		}
		for some := range slices.Chunk(again, size) {
			if err := attempt(some); err != nil {
				return results, err
			}
		}
	}
	for _, account := range refused {
		results[account] = v1alpha1.RestoreResultRefused
	}
	return results, nil
}

func (p *pass) recordRestored(ctx context.Context, results map[string]v1alpha1.RestoreResult) error {
	undo := p.run.Status.Undo.DeepCopy()
	prunerun.ApplyResults(undo, results)
	return p.recordRestoredAs(ctx, results, prunerun.UndoMessage(undo))
}

func (p *pass) recordRestoredAs(ctx context.Context, results map[string]v1alpha1.RestoreResult, message string) error {
	before := p.run.Status.Undo.Added
	err := p.record(ctx, func(status *v1alpha1.PruneRunStatus) {
		prunerun.ApplyResults(status.Undo, results)
		p.set(status, v1alpha1.ConditionUndone, metav1.ConditionFalse, v1alpha1.ReasonUndoing, message)
	})
	if err != nil {
		return err
	}
	p.Metrics.membersRestored(p.run.Status.Undo.Added - before)
	return nil
}

// undoTrouble sorts a failed call as vendorTrouble does, except that a key or an admin account that the vendor does not accept is waited out: an
// undo is not made anew by the next callback.
func undoTrouble(step string, err error) error {
	if imrest.ClassOf(err) == imrest.ClassUnauthorized {
		return waits(v1alpha1.ReasonVendorUnavailable, "%s", prunerun.FailureMessage(step, err))
	}
	return vendorTrouble(step, err)
}

// closingUndo looks who of the batch under way has come back before the undo ends early: nobody more is added, but who was is to be on the
// record. What it finds is recorded with the end: were it recorded before, and the end not, the rest would be added after all.
func (p *pass) closingUndo(ctx context.Context, err error) error {
	ends, ok := errors.AsType[*endError](err)
	if !ok || p.run.Status.Undo == nil || ctx.Err() != nil {
		return err
	}
	adding := prunerun.AccountsWith(p.run.Status.Undo, v1alpha1.RestoreResultAdding)
	if len(adding) == 0 || p.app == nil || !p.sameApp() || p.vendor == nil {
		return err // of those that are being added it stays unknown
	}
	absent, results, lookErr := p.whoIsBack(ctx, adding, true)
	switch {
	case lookErr == nil:
	case ends.reason == v1alpha1.ReasonGroupNotFound:
		absent, results = adding, make(map[string]v1alpha1.RestoreResult, len(adding))
	default:
		if _, ends := errors.AsType[*endError](lookErr); ends {
			return err
		}
		return lookErr // there is no hurry: it can be had later
	}
	for _, account := range absent {
		results[account] = v1alpha1.RestoreResultFailed
	}
	p.last = results
	return err
}

// endUndo records the end of the undo.
func (p *pass) endUndo(ctx context.Context, ends *endError) error {
	done, value := false, metav1.ConditionFalse
	switch ends.reason {
	case v1alpha1.ReasonUndone, v1alpha1.ReasonNothingToUndo:
		done, value = true, metav1.ConditionTrue
	}
	message, before := ends.message, int32(0)
	err := p.record(ctx, func(status *v1alpha1.PruneRunStatus) {
		now := p.Now()
		if status.Undo == nil {
			status.Undo = prunerun.NewUndo(p.run, now)
		}
		before = status.Undo.Added
		prunerun.ApplyResults(status.Undo, p.last)
		for i := range status.Undo.Accounts {
			if restored := &status.Undo.Accounts[i]; restored.Result == v1alpha1.RestoreResultPending {
				restored.Result = v1alpha1.RestoreResultFailed
			}
		}
		status.Undo.FinishedAt = metav1.NewTime(now)
		if !done && len(status.Undo.Accounts) > 0 {
			message = fmt.Sprintf("%s %s", prunerun.Clip(ends.message, 2_000), prunerun.UndoMessage(status.Undo))
		}
		p.set(status, v1alpha1.ConditionUndone, value, ends.reason, message)
	})
	if err != nil {
		return err
	}
	p.Metrics.membersRestored(p.run.Status.Undo.Added - before)
	eventType := corev1.EventTypeNormal
	if !done {
		eventType = corev1.EventTypeWarning
	}
	p.announce(eventType, ends.reason, eventActionUndo, message)
	log.FromContext(ctx).Info("undo of a prune run ended", "groupID", p.key.Group, "reason", ends.reason, "added", p.run.Status.Undo.Added, "message", message)
	return nil
}
