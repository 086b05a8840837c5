package pruning

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im"
	"github.com/groupgate/groupgate/internal/im/imrest"
	"github.com/groupgate/groupgate/internal/imclients"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// maxClockSkew is how far the vendor's clock may be from ours: inactivity is judged by one and recorded by the other.
const maxClockSkew = 5 * time.Minute

// facts is what one decision about a run rests on. A chain of checks determines which of the fields are set; the zero
// value holds nothing.
type facts struct {
	readAt   time.Time           // when the reading of the app began, and so of all that follows it
	runs     []v1alpha1.PruneRun // of the group, live; without accounts, see groupRuns
	app      *v1alpha1.IMApp     // live
	snapshot *policy.Snapshot    // the one that holds the live app
	compiled *policy.CompiledApp // of that snapshot
	remote   remoteGroup         // the group at the vendor
	group    *imrest.Group       // as the vendor has it now
	rule     rule                // in force, known to be what the API server has
	// gate is what an undo of an eviction judges accounts by, known to be what the API server has.
	gate *policy.GoverningEviction
}

// check adds to the facts, or fails with what stops the run. It may use what the checks before it in a chain have
// added.
type check func(ctx context.Context, j *job, f *facts) error

// freeing makes a check of a run that frees seats, and evicting one of a run that evicts.
func freeing(c check) check  { return forPurpose(v1alpha1.PrunePurposeFreeSeats, c) }
func evicting(c check) check { return forPurpose(v1alpha1.PrunePurposeEvict, c) }

func forPurpose(purpose v1alpha1.PrunePurpose, c check) check {
	return func(ctx context.Context, j *job, f *facts) error {
		if j.purpose() != purpose {
			return nil
		}
		return c(ctx, j, f)
	}
}

// The chains list what must hold, in the order in which it is read.
var (
	// undoChain reads the app that the run was made for, which may be suspended, and waits for it.
	undoChain = []check{appAwaited, sameApp, appInSnapshot}
	// pruneChain reads the app, which must not be suspended.
	pruneChain = []check{appExists, sameApp, pruningEnabled, appInSnapshot}
	// planChain is what a plan is made from.
	planChain = chain(pruneChain, []check{
		waitIsOver, firstInQueue, credentialsPresent, groupRead(0), clocksAgree, groupSupported,
		ruleGoverns, ruleUsable, evicting(watchesCurrent), evicting(listsInForce),
		freeing(groupIsFull), freeing(cooledDown),
	})
	// confirmChain reads again what was read before the list of members, which may have taken long.
	confirmChain = chain([]check{firstInQueue}, pruneChain, []check{
		ruleGoverns, ruleUsable, evicting(watchesCurrent), evicting(listsInForce),
	})
	// batchChain is what allows a batch to be removed.
	batchChain = chain([]check{firstInQueue, watchesCurrent}, pruneChain, []check{
		planNotExpired, credentialsPresent, groupRead(factsLife), clocksAgree, sameGroup, sameType,
		freeing(activityKnown), rulePlannedBy, ruleUsable, listsInForce,
	})
	// closeChain is what it takes to read the members of a batch after the run was stopped.
	closeChain = []check{appExists, sameApp, credentialsPresent}
)

func chain(parts ...[]check) []check {
	var all []check
	for _, part := range parts {
		all = append(all, part...)
	}
	return all
}

// gather returns what checks read, on top of what is known already. With an error, it returns what was read until then.
func (j *job) gather(ctx context.Context, known facts, checks []check) (facts, error) {
	for _, check := range checks {
		if err := check(ctx, j, &known); err != nil {
			return known, err
		}
	}
	return known, nil
}

// closingFacts returns known if they hold a client, so that what was sent with it can be recorded even if the app has
// been deleted since; otherwise the app and its credentials as they are now.
func (j *job) closingFacts(ctx context.Context, known facts) (facts, error) {
	if known.remote.rest != nil {
		return known, nil
	}
	return j.gather(ctx, facts{}, closeChain)
}

// groupRecord is the group as it is recorded; nil if it was not read.
func (f *facts) groupRecord() *v1alpha1.PruneGroupRecord {
	if f.group == nil {
		return nil
	}
	return &v1alpha1.PruneGroupRecord{
		Type:    v1alpha1.GroupType(f.group.Type),
		Members: int32Of(f.group.Members), MaxMembers: int32Of(f.group.MaxMembers),
		SDKAppID: f.app.Spec.SDKAppID, CreatedAt: metav1.NewTime(f.group.CreateTime),
	}
}

func (f *facts) state() policy.GroupState { return GroupState(*f.group) }

// GroupState is what rules need to know of a group.
func GroupState(group imrest.Group) policy.GroupState {
	return policy.GroupState{
		Type: policy.ParseGroupType(group.Type), Members: group.Members, MaxMembers: group.MaxMembers,
		MuteAllMember: group.MuteAllMember, SupportTopic: group.SupportTopic,
	}
}

// watchesCurrent: rules are compared with those of the API server, but the accounts on the lists of a protection, or of
// a gate, are known from the watches alone.
func watchesCurrent(_ context.Context, j *job, _ *facts) error {
	if j.Stale != nil && j.Stale() {
		return errBehind
	}
	return nil
}

func appExists(ctx context.Context, j *job, f *facts) error {
	f.readAt = j.Now()
	app := &v1alpha1.IMApp{}
	err := j.Live.Get(ctx, j.key.AppName(), app)
	switch {
	case apierrors.IsNotFound(err):
		return fail(v1alpha1.ReasonAppNotFound, "There is no IMApp %s in this namespace.", j.key.App)
	case err != nil:
		return fmt.Errorf("read the app live: %w", err)
	}
	f.app = app
	return nil
}

// appAwaited is appExists for an undo, which is requested once, and often by the person who has just deleted the IMApp.
func appAwaited(ctx context.Context, j *job, f *facts) error {
	err := appExists(ctx, j, f)
	if _, missing := errors.AsType[*endError](err); missing {
		return waitFor(v1alpha1.ReasonAppNotFound,
			"There is no IMApp %s in this namespace: create it again to continue the undo.", j.key.App)
	}
	return err
}

// sameApp ends a run that was made for a deleted app of the same name but another SDKAppID, where a group of the same
// id is another group. Runs of older versions recorded no SDKAppID: the present app may have another one.
func sameApp(_ context.Context, j *job, f *facts) error {
	if recorded := j.run.Status.Group; recorded != nil && recorded.SDKAppID != 0 {
		if now := f.app.Spec.SDKAppID; now != recorded.SDKAppID {
			return complete(v1alpha1.ReasonSuperseded, "IMApp %s was recreated for SDKAppID %d; this run is about %d.",
				f.app.Name, now, recorded.SDKAppID)
		}
		return nil
	}
	if f.app.CreationTimestamp.After(j.run.CreationTimestamp.Time) {
		return complete(v1alpha1.ReasonSuperseded, "IMApp %s was recreated after this run was created.", f.app.Name)
	}
	return nil
}

func pruningEnabled(_ context.Context, _ *job, f *facts) error {
	if f.app.Spec.Pruning != v1alpha1.PruningEnabled && f.app.Spec.Pruning != "" {
		return complete(v1alpha1.ReasonSuspended, "Pruning of IMApp %s is Suspended.", f.app.Name)
	}
	return nil
}

func appInSnapshot(_ context.Context, j *job, f *facts) error {
	app, snapshot := f.app, j.Snapshots.Load()
	if snapshot == nil {
		return errBehind
	}
	verdict, ok := snapshot.AppVerdict(app.Namespace, app.Name, string(app.UID))
	switch {
	case !ok || verdict.Generation != app.Generation:
		return errBehind
	case verdict.HeldBy != "":
		return waitFor(v1alpha1.ReasonConflicted, "IMApp %s holds SDKAppID %d, so that %s is not accepted.",
			verdict.HeldBy, app.Spec.SDKAppID, app.Name)
	}
	compiled := snapshot.AppNamed(app.Namespace, app.Name)
	if compiled == nil {
		return errBehind
	}
	f.snapshot, f.compiled = snapshot, compiled
	return nil
}

// waitIsOver fails with the recorded wait while its cause lasts, judged by the recorded group: a policy, a list, the
// budget or the plan limiter. Otherwise every edit would cost one vendor call for each waiting run.
func waitIsOver(ctx context.Context, j *job, f *facts) error {
	recorded := j.run.Status.Group
	if recorded == nil {
		return nil
	}
	rule, ok := j.governing(f.compiled, policy.ParseGroupType(string(recorded.Type)))
	if !ok {
		return nil
	}
	if err := rule.usable(); err != nil {
		return err
	}
	if !j.named() && !j.plans.fits(int(recorded.Members)) {
		return tooManyLargePlans()
	}
	_, err := j.planBudget(ctx, &rule)
	return err
}

// purpose is what the run is for.
func (j *job) purpose() v1alpha1.PrunePurpose { return prunerun.PurposeOf(j.run) }

// named reports whether the run is about some accounts only.
func (j *job) named() bool { return len(j.run.Spec.Accounts) > 0 }

// governing returns the rule that app has for the run, if the group has this type.
func (j *job) governing(app *policy.CompiledApp, groupType policy.GroupType) (rule, bool) {
	return governing(app, j.purpose(), j.key.Group, groupType)
}

// firstInQueue reads the runs of the group. This one waits while another goes first, so that at most one run of a group
// removes members or adds them back.
func firstInQueue(ctx context.Context, j *job, f *facts) error {
	runs, err := j.groupRuns(ctx)
	if err != nil {
		return err
	}
	if first := prunerun.First(runs, j.purpose()); first != nil && first.UID != j.run.UID {
		return waitFor(v1alpha1.ReasonQueued, "Run %s of this group goes first.", first.Name)
	}
	f.runs = runs
	return nil
}

func credentialsPresent(ctx context.Context, j *job, f *facts) error {
	rest, err := j.Clients.Client(ctx, f.app)
	if missing, ok := errors.AsType[*imclients.CredentialsError](err); ok {
		return waitFor(missing.Reason, "%s", missing.Message)
	}
	if err != nil {
		return err
	}
	f.remote = remoteGroup{rest: rest, id: j.key.Group, called: func() { j.Clients.Notice(f.app.UID) }}
	return nil
}

// groupRead reads the group from the vendor, within patience of the beginning of the facts; zero is no limit.
func groupRead(patience time.Duration) check {
	return func(ctx context.Context, _ *job, f *facts) error {
		var notAfter time.Time
		if patience > 0 {
			notAfter = f.readAt.Add(patience)
		}
		group, err := f.remote.read(ctx, notAfter)
		if err != nil {
			return vendorError("read the group", err)
		}
		f.group = &group
		return nil
	}
}

// clocksAgree makes a run wait while the clocks differ, or cannot be compared: they are set right again, and the end of
// a run must not be recorded by a clock that is wrong.
func clocksAgree(_ context.Context, j *job, f *facts) error {
	if f.group.ServerTime.IsZero() {
		return clockSkew("The vendor's answer has no Date, so that its clock and ours cannot be compared: " +
			"let proxies pass this header.")
	}
	skew := j.Now().Sub(f.group.ServerTime).Abs()
	if skew <= maxClockSkew {
		return nil
	}
	skew = skew.Round(time.Second)
	return clockSkew(fmt.Sprintf("The vendor's clock and ours differ by %s: set the clock of the node.", skew))
}

func clockSkew(message string) error {
	return &waitError{reason: v1alpha1.ReasonClockSkew, message: message, cause: errors.New(message)}
}

func groupSupported(_ context.Context, _ *job, f *facts) error {
	if f.group.Type == "" || f.group.Type == im.TypeAVChatRoom {
		return fail(v1alpha1.ReasonUnsupportedGroupType, "Members of a group of type %q cannot be listed or removed.",
			f.group.VendorType)
	}
	return nil
}

// sameGroup requires the group to be the one that the plan was made from, and not one that was created under its id
// after it was disbanded.
func sameGroup(_ context.Context, j *job, f *facts) error {
	if anotherGroup(j.run.Status.Group, f.group) {
		return complete(v1alpha1.ReasonSuperseded,
			"The group of the plan does not exist any more: the present one of this id was created at %s.",
			f.group.CreateTime.UTC().Format(time.RFC3339))
	}
	return nil
}

func sameType(_ context.Context, j *job, f *facts) error {
	if recorded := j.run.Status.Group; recorded == nil || v1alpha1.GroupType(f.group.Type) != recorded.Type {
		return complete(v1alpha1.ReasonSuperseded, "The type of the group is %q by now.", f.group.VendorType)
	}
	return nil
}

// activityKnown ends a run whose group was muted, or got topics, after the plan: its members may not have been able to
// show that they are active.
func activityKnown(_ context.Context, _ *job, f *facts) error {
	if err := f.state().CheckActivity(); err != nil {
		return unknownActivity(err)
	}
	return nil
}

func unknownActivity(err error) error {
	return fail(v1alpha1.ReasonActivityUnknown, "No member is removed: %s.", err)
}

func ruleGoverns(ctx context.Context, j *job, f *facts) error {
	groupType := f.state().Type
	rule, governed, err := j.ruleInForce(ctx, f, groupType)
	switch {
	case err != nil:
		return err
	case !governed:
		return complete(v1alpha1.ReasonNotGoverned,
			"No GroupPolicy with %s governs this group, whose type is %s.", field(j.purpose()), groupType)
	}
	f.rule = rule
	return nil
}

// rulePlannedBy requires the rule in force to be the one that the plan was made by. The protection in it, or the gate,
// is that of the snapshot now.
func rulePlannedBy(ctx context.Context, j *job, f *facts) error {
	rule, governed, err := j.ruleInForce(ctx, f, policy.ParseGroupType(string(prunerun.GroupType(j.run))))
	switch record := j.run.Status.Policy; {
	case err != nil:
		return err
	case !governed:
		return complete(v1alpha1.ReasonNotGoverned, "No GroupPolicy with %s governs this group any more.",
			field(j.purpose()))
	case rule.policy.Name != record.Name:
		return complete(v1alpha1.ReasonSuperseded, "GroupPolicy %s governs this group now, and no longer %s.",
			rule.policy.Name, record.Name)
	case !rule.planned(record):
		return complete(v1alpha1.ReasonSuperseded,
			"The rule of GroupPolicy %s was edited, or the policy created again, after this plan was made.",
			record.Name)
	}
	f.rule = rule
	return nil
}

func ruleUsable(_ context.Context, _ *job, f *facts) error { return f.rule.usable() }

// groupIsFull and cooledDown do not bind a manual run.
func groupIsFull(_ context.Context, j *job, f *facts) error {
	if state := f.state(); !state.Full() && j.run.Spec.Trigger != v1alpha1.PruneTriggerManual {
		return complete(v1alpha1.ReasonNotFull, "The group has %d members and room for %d.",
			state.Members, state.MaxMembers)
	}
	return nil
}

func cooledDown(_ context.Context, j *job, f *facts) error {
	if j.run.Spec.Trigger == v1alpha1.PruneTriggerManual {
		return nil
	}
	holdOff := prunerun.HoldOffAfter(j.purpose(), f.runs, CooldownOf(f.compiled, j.key.Group), j.Now())
	if until := holdOff.CoolingUntil; until.After(j.Now()) {
		return complete(v1alpha1.ReasonCoolingDown, "The group cools down until %s after its last run.",
			until.UTC().Format(time.RFC3339))
	}
	return nil
}
