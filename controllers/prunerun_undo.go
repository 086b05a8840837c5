package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/im"
	"github.com/groupgate/groupgate/internal/im/imrest"
)

const (
	eventActionUndo = "Undo"

	// A refusal is tried again after 1, 2 and 4 seconds: the replica that the vendor asked may not know the record of the undo yet.
	firstRefusalRetry = time.Second
	lastRefusalRetry  = 4 * time.Second
)

// wantsUndo says whether an undo of the run was requested and has not ended. Such a run is kept, whatever its age.
func wantsUndo(run *v1alpha1.PruneRun) bool {
	return run.Spec.Undo == v1alpha1.UndoRequested && Finished(run) && !undoEnded(run) && run.DeletionTimestamp.IsZero()
}

// undoing says whether an undo is recorded and has not ended: from there on accounts may be coming back.
func undoing(run *v1alpha1.PruneRun) bool { return wantsUndo(run) && run.Status.Undo != nil }

func undoEnded(run *v1alpha1.PruneRun) bool {
	return run.Status.Undo != nil && !run.Status.Undo.FinishedAt.IsZero()
}

// afterUndos adds what undos ask of the next run: an addition of ours that takes the last seat has the vendor report a full group, and that
// must not make a run that removes somebody else.
func (p *holdOff) afterUndos(runs []v1alpha1.PruneRun, cooldown func(v1alpha1.GroupType) time.Duration) {
	for i := range runs {
		run := &runs[i]
		switch {
		case wantsUndo(run):
			p.undoing = true
		case undoEnded(run):
			p.cooling = later(p.cooling, run.Status.Undo.FinishedAt.Add(cooldown(recordedType(run))))
		}
	}
}

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
		if !wantsUndo(run) || run.UID != p.run.UID {
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
	batch := accountsWith(p.run, v1alpha1.RestoreResultAdding)
	resumed := len(batch) > 0
	if !resumed {
		batch = accountsWith(p.run, v1alpha1.RestoreResultPending)
	}
	if len(batch) == 0 {
		return completes(v1alpha1.ReasonUndone, "%s", undoSummary(p.run.Status.Undo))
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
	accounts := undoAccounts(p.run)
	if len(accounts) == 0 {
		return completes(v1alpha1.ReasonNothingToUndo, "The run removed nobody.")
	}
	err := p.record(ctx, func(status *v1alpha1.PruneRunStatus) {
		status.Undo = newUndo(accounts, p.Now())
		p.set(status, v1alpha1.ConditionUndone, metav1.ConditionFalse, v1alpha1.ReasonUndoing,
			amount(len(accounts), "account is", "accounts are")+" to come back.")
	})
	if err != nil {
		return err
	}
	log.FromContext(ctx).Info("undo of a prune run begins", "groupID", p.key.group, "accounts", len(accounts))
	return nil
}

// undoAccounts are those that the run removed or may have removed, last active first: seats may not suffice for all.
func undoAccounts(run *v1alpha1.PruneRun) []string {
	accounts := convert.RemovedAccounts(run)
	slices.Reverse(accounts)
	return accounts
}

func newUndo(accounts []string, now time.Time) *v1alpha1.PruneUndo {
	undo := &v1alpha1.PruneUndo{StartedAt: metav1.NewTime(now), Accounts: make([]v1alpha1.RestoredAccount, len(accounts))}
	for i, account := range accounts {
		undo.Accounts[i] = v1alpha1.RestoredAccount{Account: account, Result: v1alpha1.RestoreResultPending}
	}
	return undo
}

func accountsWith(run *v1alpha1.PruneRun, result v1alpha1.RestoreResult) []string {
	var accounts []string
	for _, restored := range run.Status.Undo.Accounts {
		if restored.Result == result {
			accounts = append(accounts, restored.Account)
		}
	}
	return accounts
}

// freeSeats reads the group from the vendor.
func (p *pass) freeSeats(ctx context.Context) (int, error) {
	group, err := p.vendor.Group(ctx, p.key.group, time.Time{})
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
	members, err := p.vendor.MembersNamed(ctx, p.key.group, batch, time.Time{})
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
	return p.recordRestoredAs(ctx, results, fmt.Sprintf("Adding %s, last looked at %s.", amount(len(batch), "account", "accounts"), p.Now().UTC().Format(time.RFC3339Nano)))
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
		got, err := p.vendor.AddMembers(ctx, p.key.group, accounts)
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
		if err := p.Vendor.sleep(ctx, delay); err != nil {
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
	settle(undo, results)
	return p.recordRestoredAs(ctx, results, undoSummary(undo))
}

func (p *pass) recordRestoredAs(ctx context.Context, results map[string]v1alpha1.RestoreResult, message string) error {
	before := p.run.Status.Undo.Added
	err := p.record(ctx, func(status *v1alpha1.PruneRunStatus) {
		settle(status.Undo, results)
		p.set(status, v1alpha1.ConditionUndone, metav1.ConditionFalse, v1alpha1.ReasonUndoing, message)
	})
	if err != nil {
		return err
	}
	p.Metrics.membersRestored(p.run.Status.Undo.Added - before)
	return nil
}

// settle puts results into the record.
func settle(undo *v1alpha1.PruneUndo, results map[string]v1alpha1.RestoreResult) {
	undo.Added = 0
	for i := range undo.Accounts {
		restored := &undo.Accounts[i]
		if result, ok := results[restored.Account]; ok {
			restored.Result = result
		}
		if restored.Result == v1alpha1.RestoreResultAdded {
			undo.Added++
		}
	}
}

// undoTrouble sorts a failed call as vendorTrouble does, except that a key or an admin account that the vendor does not accept is waited out: an
// undo is not made anew by the next callback.
func undoTrouble(step string, err error) error {
	if imrest.ClassOf(err) == imrest.ClassUnauthorized {
		return waits(v1alpha1.ReasonVendorUnavailable, "%s", couldNot(step, err))
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
	adding := accountsWith(p.run, v1alpha1.RestoreResultAdding)
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
			status.Undo = newUndo(undoAccounts(p.run), now)
		}
		before = status.Undo.Added
		settle(status.Undo, p.last)
		for i := range status.Undo.Accounts {
			if restored := &status.Undo.Accounts[i]; restored.Result == v1alpha1.RestoreResultPending {
				restored.Result = v1alpha1.RestoreResultFailed
			}
		}
		status.Undo.FinishedAt = metav1.NewTime(now)
		if !done && len(status.Undo.Accounts) > 0 {
			message = fmt.Sprintf("%s %s", clip(ends.message, maxMessage/2), undoSummary(status.Undo))
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
	log.FromContext(ctx).Info("undo of a prune run ended", "groupID", p.key.group, "reason", ends.reason, "added", p.run.Status.Undo.Added, "message", message)
	return nil
}

// undoSummary says what became of the accounts, for a person who manages a community.
func undoSummary(undo *v1alpha1.PruneUndo) string {
	count := map[v1alpha1.RestoreResult]int{}
	for _, restored := range undo.Accounts {
		count[restored.Result]++
	}
	already := count[v1alpha1.RestoreResultAlreadyMember]
	back, are := count[v1alpha1.RestoreResultAdded]+already, "are"
	if back == 1 {
		are = "is"
	}
	parts := []string{fmt.Sprintf("%d of %d accounts %s back", back, len(undo.Accounts), are)}
	for _, other := range []struct {
		n         int
		one, many string
	}{
		{already, "%d of them came back by itself", "%d of them came back by themselves"},
		{count[v1alpha1.RestoreResultAwaitingConfirmation], "%d has yet to confirm", "%d have yet to confirm"},
		{count[v1alpha1.RestoreResultRefused], "%d was refused", "%d were refused"},
		{count[v1alpha1.RestoreResultNotFound], "%d no longer exists", "%d no longer exist"},
		{count[v1alpha1.RestoreResultGroupLimit], "%d is in too many groups", "%d are in too many groups"},
		{count[v1alpha1.RestoreResultNoSeat], "for %d no seat was free", "for %d no seat was free"},
		{count[v1alpha1.RestoreResultFailed], "%d was not added", "%d were not added"},
	} {
		switch {
		case other.n == 1:
			parts = append(parts, fmt.Sprintf(other.one, other.n))
		case other.n > 1:
			parts = append(parts, fmt.Sprintf(other.many, other.n))
		}
	}
	left, adding := count[v1alpha1.RestoreResultPending], count[v1alpha1.RestoreResultAdding]
	switch {
	case undo.FinishedAt.IsZero() && left+adding > 0:
		parts = append(parts, amount(left+adding, "is", "are")+" still to come")
	case adding > 0:
		parts = append(parts, fmt.Sprintf("of %d it is not known", adding))
	}
	if len(parts) == 1 {
		return parts[0] + "."
	}
	return parts[0] + "; " + strings.Join(parts[1:], ", ") + "."
}
