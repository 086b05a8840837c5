package pruning

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im"
	"github.com/groupgate/groupgate/internal/im/imrest"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// A refused addition is tried again after 1, 2 and 4 seconds: the replica that the vendor asked may not know the record
// of the undo yet.
const (
	firstRefusalRetry = time.Second
	lastRefusalRetry  = 4 * time.Second
)

// results is what became of accounts that an undo adds back.
type results map[string]v1alpha1.RestoreResult

// restoration is the undo of one run.
type restoration struct{ *job }

// undo adds the accounts that the run removed back to the group, batch by batch. It asks neither whether pruning is
// suspended nor which policy governs the group: it removes no member, and an undo is often requested together with a
// suspension, or with the deletion of the policy. The undo of an eviction leaves out the accounts that the gate of the
// group refuses still.
//
// Every batch begins with the run as the API server has it, so that a batch that was interrupted anywhere is found as
// it was recorded.
func (r restoration) undo(ctx context.Context) error {
	if err := r.recordRequest(ctx); err != nil {
		return err
	}
	var queue facts
	if err := firstInQueue(ctx, r.job, &queue); err != nil {
		return err
	}
	var known facts // of the last batch that got as far as the credentials
	for {
		f, err := r.restore(ctx, queue.runs)
		if f.remote.rest != nil {
			known = f
		}
		if err != nil {
			return r.closeUndo(ctx, known, err)
		}
		if err := r.reload(ctx, prunerun.WantsUndo); err != nil {
			return err
		}
	}
}

// restore adds one batch. It returns the end of the undo once nothing is left to do.
//
// runs are those of the group.
func (r restoration) restore(ctx context.Context, runs []v1alpha1.PruneRun) (facts, error) {
	f, err := r.gather(ctx, facts{}, undoChain)
	if err != nil {
		return f, err
	}
	if r.run.Status.Undo == nil {
		if err := r.begin(ctx, runs); err != nil {
			return f, err
		}
	}
	batch := prunerun.AccountsWith(r.run.Status.Undo, v1alpha1.RestoreResultAdding)
	resumed := len(batch) > 0
	if !resumed {
		batch = prunerun.AccountsWith(r.run.Status.Undo, v1alpha1.RestoreResultPending)
	}
	if len(batch) == 0 {
		return f, complete(v1alpha1.ReasonUndone, "%s", prunerun.UndoMessage(r.run.Status.Undo))
	}
	if f, err = r.gather(ctx, f, []check{credentialsPresent}); err != nil {
		return f, err
	}
	return f, r.restoreBatch(ctx, &f, batch, resumed)
}

// restoreBatch adds as many accounts of a batch as there are seats. resumed says that its addition was recorded before.
func (r restoration) restoreBatch(ctx context.Context, f *facts, batch []string, resumed bool) error {
	free, err := r.freeSeats(ctx, f)
	if err != nil {
		return err
	}
	if r.purpose() == v1alpha1.PrunePurposeEvict {
		if err := r.gateInForce(ctx, f); err != nil {
			return err
		}
	}
	if free > 0 {
		batch = batch[:min(len(batch), imrest.MaxAddsPerCall)]
	}
	// Members are told from accounts to add before the addition is sent: an addition whose answer was lost answers its
	// repetition with "already a member".
	absent, found, err := membersAmong(ctx, f, batch, resumed)
	if err != nil {
		return err
	}
	absent = f.stillRefused(absent, found)
	if free == 0 {
		for _, account := range absent {
			found[account] = v1alpha1.RestoreResultNoSeat
		}
		return r.recordResults(ctx, found)
	}
	absent = absent[:min(len(absent), free)]
	if len(absent) == 0 {
		return r.recordResults(ctx, found)
	}
	if err := r.recordAddition(ctx, found, absent); err != nil {
		return err
	}
	return r.addBack(ctx, f, absent)
}

// begin records the accounts of the undo before the first is added. The record ends their refusal, and makes every
// replica admit them.
func (r restoration) begin(ctx context.Context, runs []v1alpha1.PruneRun) error {
	undo := prunerun.NewUndo(r.run, r.Now())
	if len(undo.Accounts) == 0 {
		return complete(v1alpha1.ReasonNothingToUndo, "The run removed nobody.")
	}
	again, err := r.removedAgain(ctx, runs)
	if err != nil {
		return err
	}
	prunerun.ApplyResults(undo, again)
	coming := len(prunerun.AccountsWith(undo, v1alpha1.RestoreResultPending))
	words := prunerun.DecisionMessage(new(r.request()), "requested the undo")
	err = r.Patch(ctx, func(run *v1alpha1.PruneRun) {
		run.Status.Undo = undo.DeepCopy()
		r.set(run, v1alpha1.ConditionUndone, metav1.ConditionFalse, v1alpha1.ReasonUndoing,
			prunerun.Count(coming, "account is", "accounts are")+" to come back. "+words)
	})
	if err != nil {
		return err
	}
	log.FromContext(ctx).Info("Undo of a prune run begins", "group", r.key.Group, "accounts", coming,
		"decision", words)
	return nil
}

// removedAgain finds the accounts that later runs of the group removed, too, and that nobody has asked back: they may
// have come back in between, and their latest removal is not the one that is undone. runs come without accounts, and
// are read one at a time, since a group may have many.
func (r restoration) removedAgain(ctx context.Context, runs []v1alpha1.PruneRun) (results, error) {
	again := results{}
	for i := range runs {
		if !prunerun.MayHaveRemovedAgain(&runs[i], r.run) {
			continue
		}
		var later v1alpha1.PruneRun
		err := r.Live.Get(ctx, client.ObjectKeyFromObject(&runs[i]), &later)
		switch {
		case apierrors.IsNotFound(err): // deleted meanwhile
		case err != nil:
			return nil, fmt.Errorf("read a later run of the group: %w", err)
		case prunerun.MayHaveRemovedAgain(&later, r.run):
			for _, account := range prunerun.RemovedAccounts(&later) {
				again[account] = v1alpha1.RestoreResultRemovedAgain
			}
		}
	}
	return again, nil
}

// gateInForce makes sure of whom the gate of the group refuses now, whether or not members are evicted still: what an
// eviction removed may come back once the gate admits it. An undo is requested once, and often together with an edit of
// a list: it must not find accounts refused that the next snapshot admits.
func (r restoration) gateInForce(ctx context.Context, f *facts) error {
	groupType := f.state().Type
	gate, _ := f.compiled.GoverningEviction(r.key.Group, groupType)
	if err := watchesCurrent(ctx, r.job, f); err != nil {
		return err
	}
	if err := r.policiesInForce(ctx, f, groupType, gate.Gates); err != nil {
		return err
	}
	if len(gate.Unresolved) > 0 {
		return waitFor(v1alpha1.ReasonListUnresolved,
			"No account is added back while it is not certain which ones the gate of the group refuses: %s.",
			strings.Join(gate.Unresolved, ", "))
	}
	if err := r.listsAre(ctx, gate.Lists); err != nil {
		return err
	}
	f.gate = &gate
	return nil
}

// stillRefused puts the accounts that the gate refuses into found, and returns the others. With no gate to go by, it
// refuses none.
func (f *facts) stillRefused(accounts []string, found results) (admitted []string) {
	if f.gate == nil {
		return accounts
	}
	for _, account := range accounts {
		if _, refused := f.gate.Judge(account); refused {
			found[account] = v1alpha1.RestoreResultStillRefused
		} else {
			admitted = append(admitted, account)
		}
	}
	return admitted
}

// freeSeats reads the group from the vendor. A group that was created anew under the same id is another one, whose
// members have never seen those of the old one.
func (r restoration) freeSeats(ctx context.Context, f *facts) (int, error) {
	group, err := f.remote.read(ctx, time.Time{})
	switch recorded := r.run.Status.Group; {
	case err != nil:
		return 0, undoError("read the group", err)
	case anotherGroup(recorded, &group):
		return 0, fail(v1alpha1.ReasonGroupNotFound,
			"The group does not exist any more: the present one of this id was created at %s.",
			group.CreateTime.UTC().Format(time.RFC3339))
	case group.Type == "" || group.Type == im.TypeAVChatRoom:
		return 0, fail(v1alpha1.ReasonUnsupportedGroupType, "Nobody can be added to a group of type %q.",
			group.VendorType)
	}
	f.group = &group
	return max(group.MaxMembers-group.Members, 0), nil
}

// anotherGroup reports whether the group was created at another time than the one on record.
func anotherGroup(recorded *v1alpha1.PruneGroupRecord, group *imrest.Group) bool {
	return recorded != nil && !recorded.CreatedAt.IsZero() && !group.CreateTime.IsZero() &&
		!recorded.CreatedAt.Time.Equal(group.CreateTime)
}

// membersAmong tells the accounts of a batch that are in the group from the absent ones. If the addition of the batch
// was recorded before, its members have been added by it: when it was recorded, all of the batch were absent.
func membersAmong(
	ctx context.Context, f *facts, batch []string, resumed bool,
) (absent []string, found results, _ error) {
	members, _, err := f.remote.named(ctx, batch, time.Time{})
	if err != nil {
		return nil, nil, undoError("look who is back", err)
	}
	result := v1alpha1.RestoreResultAlreadyMember
	if resumed {
		result = v1alpha1.RestoreResultAdded
	}
	found = make(results, len(batch))
	for _, account := range batch {
		if _, present := members[account]; present {
			found[account] = result
		} else {
			absent = append(absent, account)
		}
	}
	return absent, found, nil
}

// recordAddition is the fence of an addition: the batch is recorded before it is added. The time in the message makes
// it a new version of the run in any case.
func (r restoration) recordAddition(ctx context.Context, found results, batch []string) error {
	for _, account := range batch {
		found[account] = v1alpha1.RestoreResultAdding
	}
	return r.recordResultsAs(ctx, found, fmt.Sprintf("Adding %s, last looked at %s.",
		prunerun.Count(len(batch), "account", "accounts"), r.Now().UTC().Format(time.RFC3339Nano)))
}

// addBack adds a batch that is recorded, and records what became of it. It is called only right after recordAddition.
func (r restoration) addBack(ctx context.Context, f *facts, batch []string) error {
	added, err := r.add(ctx, f, batch)
	if len(added) > 0 && ctx.Err() == nil {
		if recordErr := r.recordResults(ctx, added); recordErr != nil {
			return recordErr
		}
	}
	return err
}

// add adds accounts, and tries those that are refused again. With an error it returns the results that are certain.
func (r restoration) add(ctx context.Context, f *facts, accounts []string) (results, error) {
	added := make(results, len(accounts))
	refused, err := addOnce(ctx, f, accounts, added)
	for delay := firstRefusalRetry; err == nil && len(refused) > 0 && delay <= lastRefusalRetry; delay *= 2 {
		if err := r.Clients.Pause(ctx, delay); err != nil {
			return added, err
		}
		again, size := refused, len(refused)
		refused = nil
		if delay == lastRefusalRetry {
			size = 1 // the vendor refuses several accounts for several reasons with one code; alone, each gets its own
		}
		for some := range slices.Chunk(again, size) {
			still, err := addOnce(ctx, f, some, added)
			if err != nil {
				return added, err
			}
			refused = append(refused, still...)
		}
	}
	if err != nil {
		return added, err
	}
	for _, account := range refused {
		added[account] = v1alpha1.RestoreResultRefused
	}
	return added, nil
}

// addOnce puts the results that are certain into added, and returns the accounts that were refused.
func addOnce(ctx context.Context, f *facts, accounts []string, added results) (refused []string, _ error) {
	got, err := f.remote.add(ctx, accounts)
	for _, account := range accounts {
		switch result, known := got[account]; {
		case !known:
		case result == imrest.AddResultRefused:
			refused = append(refused, account)
		case result == imrest.AddResultAlreadyMember:
			// It was absent right before: the answer to an earlier attempt was lost.
			added[account] = v1alpha1.RestoreResultAdded
		default:
			added[account] = v1alpha1.RestoreResult(result)
		}
	}
	if err != nil {
		return nil, undoError("add the accounts", err)
	}
	return refused, nil
}

func (r restoration) recordResults(ctx context.Context, found results) error {
	undo := r.run.Status.Undo.DeepCopy()
	prunerun.ApplyResults(undo, found)
	return r.recordResultsAs(ctx, found, prunerun.UndoMessage(undo))
}

func (r restoration) recordResultsAs(ctx context.Context, found results, message string) error {
	before := r.run.Status.Undo.Added
	err := r.Patch(ctx, func(run *v1alpha1.PruneRun) {
		prunerun.ApplyResults(run.Status.Undo, found)
		r.set(run, v1alpha1.ConditionUndone, metav1.ConditionFalse, v1alpha1.ReasonUndoing, message)
	})
	if err != nil {
		return err
	}
	r.Metrics.membersRestored(r.purpose(), r.run.Status.Undo.Added-before)
	return nil
}

// undoError is vendorError, except that a refused key or admin account is waited out: unlike a run, an undo is not made
// anew by the next callback.
func undoError(step string, err error) error {
	if imrest.ClassOf(err) == imrest.ClassUnauthorized {
		return waitFor(v1alpha1.ReasonVendorUnavailable, "%s", prunerun.FailureMessage(step, err))
	}
	return vendorError(step, err)
}

// closeUndo finds out which accounts of the batch under way are back before the undo ends early: no more are added, but
// those that were are to be on record. What it finds is recorded together with the end: if it were recorded before, and
// the end not, the others would be added after all.
//
// known is what an earlier batch of this Step was allowed by.
func (r restoration) closeUndo(ctx context.Context, known facts, err error) error {
	end, ok := errors.AsType[*endError](err)
	if !ok || r.run.Status.Undo == nil || ctx.Err() != nil {
		return err
	}
	adding := prunerun.AccountsWith(r.run.Status.Undo, v1alpha1.RestoreResultAdding)
	if len(adding) == 0 {
		return err
	}
	closed := *end
	if end.reason == v1alpha1.ReasonGroupNotFound { // and the accounts that were being added are nowhere
		closed.restored = make(results, len(adding))
		for _, account := range adding {
			closed.restored[account] = v1alpha1.RestoreResultFailed
		}
		return &closed
	}
	f, factsErr := r.closingFacts(ctx, known)
	switch {
	case factsErr == nil:
	case stopsRun(factsErr):
		return err // the results of those that are being added stay unknown
	default:
		return factsErr
	}
	absent, found, closeErr := membersAmong(ctx, &f, adding, true)
	if closeErr != nil {
		if _, ends := errors.AsType[*endError](closeErr); ends {
			return err
		}
		return closeErr // the end can wait until the results are known
	}
	for _, account := range absent {
		found[account] = v1alpha1.RestoreResultFailed
	}
	closed.restored = found
	return &closed
}

// recordUndoEnd records the end of the undo.
func (r restoration) recordUndoEnd(ctx context.Context, end *endError) error {
	eventType, value := corev1.EventTypeWarning, metav1.ConditionFalse
	switch end.reason {
	case v1alpha1.ReasonUndone, v1alpha1.ReasonNothingToUndo:
		eventType, value = corev1.EventTypeNormal, metav1.ConditionTrue
	}
	words := ""
	if request := r.request(); request != (v1alpha1.PruneDecision{}) {
		words = " " + prunerun.DecisionMessage(&request, "requested the undo")
	}
	message, before := end.message+words, int32(0)
	err := r.Patch(ctx, func(run *v1alpha1.PruneRun) {
		now, status := r.Now(), &run.Status
		if status.Undo == nil {
			status.Undo = prunerun.NewUndo(run, now)
		}
		before = status.Undo.Added
		prunerun.ApplyResults(status.Undo, end.restored)
		prunerun.FinishUndo(status.Undo, now)
		if value == metav1.ConditionFalse && len(status.Undo.Accounts) > 0 {
			message = prunerun.EarlyEndMessage(end.message, status.Undo) + words
		}
		r.set(run, v1alpha1.ConditionUndone, value, end.reason, message)
	})
	if err != nil {
		return err
	}
	r.Metrics.membersRestored(r.purpose(), r.run.Status.Undo.Added-before)
	r.announce(eventType, end.reason, eventActionUndo, message)
	log.FromContext(ctx).Info("Undo of a prune run ended", "group", r.key.Group, "reason", end.reason,
		"added", r.run.Status.Undo.Added, "message", message)
	return nil
}
