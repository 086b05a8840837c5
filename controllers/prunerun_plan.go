package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im"
	"github.com/groupgate/groupgate/internal/im/imrest"
	"github.com/groupgate/groupgate/internal/imclients"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// maxClockSkew is how far the vendor's clock may be from ours: inactivity is judged by one and recorded by the other.
const maxClockSkew = 5 * time.Minute

// pass is one look at one unfinished run, and what was read for it. run is always what the API server returned last.
type pass struct {
	*PruneRunReconciler
	term uint64 // in which the pass is made
	key  prunerun.Key
	run  *v1alpha1.PruneRun

	app      *v1alpha1.IMApp            // live
	readAt   time.Time                  // when the reading of app began, and so of all that allows a removal
	snapshot *policy.Snapshot           // loaded once per decision
	compiled *policy.CompiledApp        // of that snapshot
	vendor   *imrest.Client             // of that app
	group    *v1alpha1.PruneGroupRecord // as the vendor said last

	last map[string]v1alpha1.RestoreResult // what the end of an undo has yet to record
}

// advance takes the run to its end, or to what stops it.
func (p *pass) advance(ctx context.Context) error {
	if !prunerun.HasPlan(p.run) {
		if err := p.plan(ctx); err != nil {
			return err
		}
	}
	return p.execute(ctx)
}

// plan decides who is to go, from the group as it is now, and records it once. Nothing is written to the vendor. It returns nil only
// where there is a plan to execute.
func (p *pass) plan(ctx context.Context) error {
	if err := p.denied(); err != nil {
		return err
	}
	if err := p.readApp(ctx); err != nil {
		return err
	}
	if err := p.stillWaits(ctx); err != nil {
		return err
	}
	runs, err := p.myTurn(ctx)
	if err != nil {
		return err
	}
	if err := p.callVendorAs(ctx); err != nil {
		return err
	}
	group, err := p.readGroup(ctx, noHurry)
	if err != nil {
		return err
	}
	if group.Type == "" || group.Type == im.TypeAVChatRoom {
		return fails(v1alpha1.ReasonUnsupportedGroupType, "Members of a group of type %q cannot be listed or removed.", group.VendorType)
	}
	state := stateOf(group)
	governing, err := p.governingForPlan(ctx, state.Type)
	if err != nil {
		return err
	}
	if err := p.worthwhile(state, runs); err != nil {
		return err
	}
	plan, err := p.planMembers(ctx, &governing, group)
	if err != nil {
		return err
	}
	// The list may have taken long. What was read before it is read once more, right before the plan becomes the one plan of this run.
	if _, err := p.myTurn(ctx); err != nil {
		return err
	}
	if err := p.readApp(ctx); err != nil {
		return err
	}
	if now, err := p.governingForPlan(ctx, state.Type); err != nil || now.Policy != governing.Policy {
		return cmp.Or(err, errBehind)
	}
	return p.recordPlan(ctx, &governing, plan)
}

// planMembers lists the group and picks who is to go.
func (p *pass) planMembers(ctx context.Context, governing *policy.GoverningRule, group imrest.Group) (policy.Plan, error) {
	budget, err := p.budgetForPlan(ctx, &governing.Rule, governing.Policy.Name)
	if err != nil {
		return policy.Plan{}, err
	}
	leave, ok := p.room.enter(group.Members)
	if !ok {
		return policy.Plan{}, noRoom()
	}
	defer leave()
	plan, err := policy.PlanPrune(governing, stateOf(group), budget, p.members(ctx, group), p.Now())
	switch {
	case errors.Is(err, policy.ErrActivityUnknown):
		return policy.Plan{}, fails(v1alpha1.ReasonActivityUnknown, "The vendor tells of no member when it last spoke, so that silence proves nothing: nobody is removed.")
	case err != nil:
		return policy.Plan{}, vendorTrouble("list the members", err)
	}
	return plan, nil
}

// readApp reads the IMApp live, which must not be suspended, and finds it in the snapshot.
func (p *pass) readApp(ctx context.Context) error {
	if err := p.readSameApp(ctx); err != nil {
		return err
	}
	app := p.app
	if app.Spec.Pruning != v1alpha1.PruningEnabled && app.Spec.Pruning != "" {
		return completes(v1alpha1.ReasonSuspended, "Pruning of IMApp %s is Suspended.", app.Name)
	}
	return p.inSnapshot()
}

// readSameApp reads the IMApp that the run was made for live.
func (p *pass) readSameApp(ctx context.Context) error {
	if err := p.readLiveApp(ctx); err != nil {
		return err
	}
	if !p.sameApp() {
		return completes(v1alpha1.ReasonSuperseded, "IMApp %s is younger than this run, which was for another one of that name.", p.app.Name)
	}
	return nil
}

// inSnapshot finds the live app in the snapshot.
func (p *pass) inSnapshot() error {
	app := p.app
	p.snapshot = p.Snapshots.Load()
	if p.snapshot == nil {
		return errBehind
	}
	verdict, ok := p.snapshot.AppVerdict(app.Namespace, app.Name, string(app.UID))
	switch {
	case !ok || verdict.Generation != app.Generation:
		return errBehind
	case verdict.HeldBy != "":
		return waits(v1alpha1.ReasonConflicted, "IMApp %s holds SDKAppID %d, so that %s is not accepted.", verdict.HeldBy, app.Spec.SDKAppID, app.Name)
	}
	if p.compiled = p.snapshot.AppNamed(app.Namespace, app.Name); p.compiled == nil {
		return errBehind
	}
	return nil
}

// sameApp says whether the app is the one that the run was made for. Another one of its name may have another SDKAppID, where a group
// of the same id is another group.
func (p *pass) sameApp() bool { return !p.app.CreationTimestamp.After(p.run.CreationTimestamp.Time) }

func (p *pass) readLiveApp(ctx context.Context) error {
	p.readAt = p.Now()
	app := &v1alpha1.IMApp{}
	err := p.Live.Get(ctx, client.ObjectKey{Namespace: p.key.Namespace, Name: p.key.App}, app)
	switch {
	case apierrors.IsNotFound(err):
		return fails(v1alpha1.ReasonAppNotFound, "There is no IMApp %s in this namespace.", p.key.App)
	case err != nil:
		return fmt.Errorf("read the app live: %w", err)
	}
	p.app = app
	return nil
}

// stillWaits keeps a run waiting that waited for a policy, a list, the budget or room before and, for the group that it saw then, still would. It
// spares the vendor a call per waiting run and edit.
func (p *pass) stillWaits(ctx context.Context) error {
	seen := p.run.Status.Group
	if seen == nil {
		return nil
	}
	governing, ok := p.compiled.GoverningRule(p.key.Group, policy.ParseGroupType(string(seen.Type)))
	if !ok {
		return nil
	}
	if err := usable(&governing); err != nil {
		return err
	}
	if !p.room.has(int(seen.Members)) {
		return noRoom()
	}
	_, err := p.budgetForPlan(ctx, &governing.Rule, governing.Policy.Name)
	return err
}

func noRoom() error {
	return &waitError{
		reason: v1alpha1.ReasonQueued, after: roomRecheck,
		message: "The group is planned once there is memory for it, after those that are being planned now.",
	}
}

// usable says what a rule waits for.
func usable(governing *policy.GoverningRule) error {
	switch {
	case governing.Invalid != "":
		return waits(v1alpha1.ReasonPolicyInvalid, "GroupPolicy %s is not valid and removes nobody: %s.", governing.Policy.Name, strings.TrimRight(governing.Invalid, ". "))
	case len(governing.Unresolved) > 0:
		return waits(v1alpha1.ReasonProtectionUnresolved, "Nobody is removed before the protection is complete; missing: %s.", strings.Join(governing.Unresolved, ", "))
	}
	return nil
}

// myTurn reads the runs of the group live and queues this one behind the one that goes first: one that is past planning, else the
// oldest. With it, at most one run of a group is past planning, or being undone.
func (p *pass) myTurn(ctx context.Context) ([]v1alpha1.PruneRun, error) {
	runs, err := liveRuns(ctx, p.Live, p.key)
	if err != nil {
		return nil, err
	}
	if first := prunerun.First(runs); first != nil && first.UID != p.run.UID {
		return nil, waits(v1alpha1.ReasonQueued, "Run %s of this group goes first.", first.Name)
	}
	return runs, nil
}

// callVendorAs finds the REST client of the app.
func (p *pass) callVendorAs(ctx context.Context) error {
	vendor, err := p.Vendor.Client(ctx, p.app)
	if missing, ok := errors.AsType[*imclients.CredentialsError](err); ok {
		return waits(missing.Reason, "%s", missing.Message)
	}
	p.vendor = vendor
	return err
}

// noticeVendor lets the health that the calls of this pass have left show on the app.
func (p *pass) noticeVendor() {
	if p.app != nil {
		p.Vendor.Notice(p.app.UID)
	}
}

// noHurry is the notAfter of a call that may wait its turn.
var noHurry time.Time

// readGroup reads the group from the vendor and compares the clocks.
func (p *pass) readGroup(ctx context.Context, notAfter time.Time) (imrest.Group, error) {
	group, err := p.vendor.Group(ctx, p.key.Group, notAfter)
	p.noticeVendor()
	if err != nil {
		return imrest.Group{}, vendorTrouble("read the group", err)
	}
	p.group = &v1alpha1.PruneGroupRecord{
		Type: v1alpha1.GroupType(group.Type), Members: int32Of(group.Members), MaxMembers: int32Of(group.MaxMembers),
	}
	if !group.ServerTime.IsZero() {
		if skew := p.Now().Sub(group.ServerTime); skew.Abs() > maxClockSkew {
			return imrest.Group{}, p.skewed(skew)
		}
	}
	return group, nil
}

// skewed ends a run without a plan: nothing is lost with it. One that is under way waits, since clocks are set right again.
func (p *pass) skewed(skew time.Duration) error {
	message := fmt.Sprintf("The vendor's clock and ours differ by %s: set the clock of the node.", skew.Round(time.Second).Abs())
	if !prunerun.HasPlan(p.run) {
		return fails(v1alpha1.ReasonClockSkew, "%s", message)
	}
	return &waitError{reason: v1alpha1.ReasonClockSkew, message: message, cause: fmt.Errorf("the vendor's clock and ours differ by %s", skew.Round(time.Second).Abs())}
}

func stateOf(group imrest.Group) policy.GroupState {
	return policy.GroupState{Type: policy.ParseGroupType(group.Type), Members: group.Members, MaxMembers: group.MaxMembers}
}

// governingForPlan returns the rule that governs a group of this type, known to be what the API server has.
func (p *pass) governingForPlan(ctx context.Context, groupType policy.GroupType) (policy.GoverningRule, error) {
	governing, governed, err := p.governing(ctx, groupType)
	switch {
	case err != nil:
		return policy.GoverningRule{}, err
	case !governed:
		return policy.GoverningRule{}, completes(v1alpha1.ReasonNotGoverned, "No GroupPolicy with whenFull.prune governs this group, whose type is %s.", groupType)
	}
	return governing, usable(&governing)
}

// worthwhile ends a run of a group that is not full or cools down. A person who asks for a run need not wait for either.
func (p *pass) worthwhile(state policy.GroupState, runs []v1alpha1.PruneRun) error {
	if p.run.Spec.Trigger == v1alpha1.PruneTriggerManual {
		return nil
	}
	if !state.Full() {
		return completes(v1alpha1.ReasonNotFull, "The group has %d members and room for %d.", state.Members, state.MaxMembers)
	}
	if until := prunerun.HoldOffAfter(runs, cooldownNow(p.compiled, p.key.Group)).CoolingUntil; until.After(p.Now()) {
		return completes(v1alpha1.ReasonCoolingDown, "The group cools down until %s after its last run.", until.UTC().Format(time.RFC3339))
	}
	return nil
}

// members lists the group for the planner.
func (p *pass) members(ctx context.Context, group imrest.Group) iter.Seq2[policy.Member, error] {
	return func(yield func(policy.Member, error) bool) {
		for member, err := range p.vendor.Members(ctx, group) {
			if !yield(memberOf(member), err) {
				return
			}
		}
	}
}

func memberOf(member imrest.Member) policy.Member {
	return policy.Member{
		Account: member.Account, Role: roleOf(member.Role),
		Joined: member.Joined, LastSpoke: member.LastSpoke, ActivityKnown: member.ActivityKnown,
	}
}

func roleOf(role string) policy.Role {
	switch role {
	case "Owner":
		return policy.RoleOwner
	case "Admin":
		return policy.RoleAdmin
	case "Member":
		return policy.RoleMember
	}
	return policy.RoleUnknown
}

// recordPlan writes the plan, and with it the end of a run that removes nobody. This is the one place where Preview ends a run: no
// path leads from it to a removal.
func (p *pass) recordPlan(ctx context.Context, governing *policy.GoverningRule, plan policy.Plan) error {
	now := p.Now()
	message := prunerun.PlanMessage(plan.Candidates, len(plan.Removals), governing.Rule.InactiveFor)
	var ends *endError
	switch {
	case len(plan.Removals) == 0:
		ends = &endError{v1alpha1.ConditionComplete, v1alpha1.ReasonNothingToRemove, message}
	case governing.Rule.Mode == policy.ModePreview:
		ends = &endError{v1alpha1.ConditionComplete, v1alpha1.ReasonPreviewed, message + " Mode Preview removes nobody."}
	}
	err := p.record(ctx, func(status *v1alpha1.PruneRunStatus) {
		p.seen(status)
		status.Policy = &v1alpha1.PrunePolicyRecord{
			Name: governing.Policy.Name, UID: types.UID(governing.Policy.UID), Generation: governing.Policy.Generation,
			Mode: v1alpha1.PruneMode(governing.Rule.Mode.String()),
		}
		status.Plan = planRecord(plan, now)
		p.set(status, v1alpha1.ConditionPlanned, metav1.ConditionTrue, v1alpha1.ReasonPlanned, message)
		if ends != nil {
			p.setEnd(status, ends)
			return
		}
		refuseFor(status, &governing.Rule, now)
		if governing.Rule.Mode == policy.ModeApprove {
			p.set(status, v1alpha1.ConditionComplete, metav1.ConditionFalse, v1alpha1.ReasonAwaitingApproval, prunerun.ApprovalMessage(status.Plan))
		}
	})
	if err != nil {
		return err
	}
	p.announcePlan(ctx, message)
	if ends != nil {
		p.announceEnd(ctx, ends)
		return errDone
	}
	return nil
}

// refuseFor keeps the accounts that the run removes out for as long as the rule says from at on.
func refuseFor(status *v1alpha1.PruneRunStatus, rule *policy.PruneRule, at time.Time) {
	if rule.RejoinAfter <= 0 {
		return
	}
	if status.Refuse == nil {
		status.Refuse = &v1alpha1.PruneRefusal{Code: cmp.Or(rule.Reject.Code, policy.RefuseCode), Message: rule.Reject.Message}
	}
	status.Refuse.Until = metav1.NewTime(laterOf(status.Refuse.Until.Time, wholeSecond(at.Add(rule.RejoinAfter))))
}

// wholeSecond rounds up, since the API keeps whole seconds and would round down what must not end early.
func wholeSecond(at time.Time) time.Time {
	if cut := at.Truncate(time.Second); cut.Before(at) {
		return cut.Add(time.Second)
	}
	return at
}

func planRecord(plan policy.Plan, now time.Time) *v1alpha1.PrunePlan {
	record := &v1alpha1.PrunePlan{
		CreatedAt:  metav1.NewTime(now),
		Candidates: int32Of(plan.Candidates),
		Stay: v1alpha1.PlanStay{
			Protected: int32Of(plan.Stay.Protected), Admin: int32Of(plan.Stay.Admin),
			Active: int32Of(plan.Stay.Active), Unknown: int32Of(plan.Stay.Unknown),
		},
	}
	for _, removal := range plan.Removals {
		reason := v1alpha1.RemovalReasonInactive
		if removal.NeverSpoke {
			reason = v1alpha1.RemovalReasonNeverSpoke
		}
		record.Removals = append(record.Removals, v1alpha1.PlannedRemoval{
			Account: removal.Account, LastActiveAt: metav1.NewTime(removal.LastActive), Reason: reason,
		})
	}
	return record
}

// vendorTrouble sorts a failed call: what lasts ends the run in one try, so that nobody hammers the vendor with a wrong key; what may pass is
// waited out. A call that came too late says nothing about the vendor: the batch is begun again.
func vendorTrouble(step string, err error) error {
	if errors.Is(err, imrest.ErrTooLate) {
		return fmt.Errorf("%s: %w", step, err)
	}
	message := prunerun.FailureMessage(step, err)
	switch imrest.ClassOf(err) {
	case imrest.ClassGroupGone:
		return fails(v1alpha1.ReasonGroupNotFound, "%s", message)
	case imrest.ClassUnsupported:
		return fails(v1alpha1.ReasonUnsupportedGroupType, "%s", message)
	case imrest.ClassUnauthorized, imrest.ClassPermanent:
		return fails(v1alpha1.ReasonVendorRefused, "%s", message)
	}
	wait := &waitError{reason: v1alpha1.ReasonVendorUnavailable, message: message, cause: fmt.Errorf("%s: %w", step, err)}
	// A wish of seconds, such as every frequency limit has, leaves the next try to the queue, which asks ever more rarely.
	if failed, ok := errors.AsType[*imrest.Error](err); ok && failed.RetryAfter > longWish {
		// The wish is part of the moment: in the message it would change with every try.
		wait.after = failed.RetryAfter
	}
	return wait
}

func int32Of(n int) int32 { return int32(min(max(n, 0), math.MaxInt32)) }

func laterOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
