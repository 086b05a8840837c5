package pruning

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// yieldEvery is how many members are listed between two looks for a person who waits: some pages.
const yieldEvery = 1000

// listedThough is up to how many members the list of a group is read although a run names accounts: in two calls it
// tells how many ordinary members there are, of which a fifth is no routine any more. In a larger group the number of
// owners and admins, which is not known otherwise, matters little.
const listedThough = 200

// planRecheck is when a run that the plan limiter held back tries again.
const planRecheck = 5 * time.Second

// plan decides which members are to go, from the group as it is now, and records that once. Nothing is written to the
// vendor. It returns nil only if there is a plan to carry out.
func (j *job) plan(ctx context.Context) (facts, error) {
	f, err := j.gather(ctx, facts{}, planChain)
	if err != nil {
		return f, err
	}
	plan, err := j.planMembers(ctx, &f)
	if err != nil {
		return f, err
	}
	confirmed, err := j.gather(ctx, facts{group: f.group}, confirmChain)
	if err != nil {
		return f, err
	}
	if confirmed.rule.policy != f.rule.policy {
		return f, errBehind
	}
	return f, j.recordPlan(ctx, &f, plan)
}

// planMembers lists the group and picks the members that are to go.
func (j *job) planMembers(ctx context.Context, f *facts) (policy.Plan, error) {
	budget, err := j.planBudget(ctx, &f.rule)
	if err != nil {
		return policy.Plan{}, err
	}
	now := j.Now()
	state := policy.EvictionState{
		Group: f.state(), Recent: prunerun.RecentEvictions(f.runs, now), Budget: budget,
		Named: j.named() && f.group.Members > listedThough,
	}
	members := f.remote.listNamed(ctx, j.run.Spec.Accounts)
	if !state.Named {
		if j.named() {
			state.Only = setOf(j.run.Spec.Accounts)
		}
		release, ok := j.plans.acquire(f.group.Members)
		if !ok {
			return policy.Plan{}, tooManyLargePlans()
		}
		defer release()
		members = j.yielding(ctx, f.remote.list(ctx, *f.group))
	}
	members = sparing(prunerun.RefusedByVendor(f.runs, now), members)
	plan, err := f.rule.plan(&state, members, now)
	switch later, yields := errors.AsType[*laterError](err); {
	case yields:
		return policy.Plan{}, later
	case errors.Is(err, policy.ErrActivityUnknown):
		return policy.Plan{}, unknownActivity(err)
	case err != nil:
		return policy.Plan{}, vendorError("list the members", err)
	case j.named() && plan.Stay.InGrace > 0 && now.Before(j.run.CreationTimestamp.Add(f.rule.grace())):
		return policy.Plan{}, inGrace(&plan, f.rule.grace(), now)
	}
	return plan, nil
}

func setOf(accounts []string) map[string]struct{} {
	set := make(map[string]struct{}, len(accounts))
	for _, account := range accounts {
		set[account] = struct{}{}
	}
	return set
}

// inGrace makes a run wait until the last of its accounts has been a member for long enough: those that a plan leaves
// out are not looked at again before the next round. One who joined after the run was made is no reason to wait.
func inGrace(plan *policy.Plan, grace time.Duration, now time.Time) error {
	return &waitError{
		reason: v1alpha1.ReasonInGrace, message: prunerun.LateMessage(plan.Stay.InGrace, grace),
		after: max(plan.InGraceUntil.Sub(now), 0) + time.Second,
	}
}

// sparing makes members whom the vendor refused to remove count as those of whom neither the activity nor the time of
// joining is known, so that they stay: if they came first in every plan, they would take the place of members that can
// be removed.
func sparing(refused map[string]struct{}, members iter.Seq2[policy.Member, error]) iter.Seq2[policy.Member, error] {
	return func(yield func(policy.Member, error) bool) {
		for member, err := range members {
			if _, spared := refused[member.Account]; spared {
				member.ActivityKnown, member.Joined = false, time.Time{}
			}
			if !yield(member, err) {
				return
			}
		}
	}
}

// yielding ends a list of members, which may take minutes, once a person has denied the run or asked for an undo in the
// group.
func (j *job) yielding(ctx context.Context, members iter.Seq2[policy.Member, error]) iter.Seq2[policy.Member, error] {
	return func(yield func(policy.Member, error) bool) {
		listed := 0
		for member, err := range members {
			if listed++; listed%yieldEvery == 0 && j.urgentWaits(ctx) {
				yield(policy.Member{}, &laterError{after: soon})
				return
			}
			if !yield(member, err) {
				return
			}
		}
	}
}

// urgentWaits reports whether a person waits for this run, or for another one of the group.
func (j *job) urgentWaits(ctx context.Context) bool {
	var run v1alpha1.PruneRun
	if j.Cache != nil && j.Cache.Get(ctx, client.ObjectKeyFromObject(j.run), &run) == nil &&
		prunerun.ClassOf(&run).Urgent() {
		return true
	}
	return j.turns.urgentWaits(j.key)
}

func tooManyLargePlans() error {
	return &waitError{
		reason: v1alpha1.ReasonQueued, after: planRecheck,
		message: fmt.Sprintf("The group is planned after those that are being planned now: "+
			"groups of %d or more members are planned %d at a time.", largeGroup, maxLargePlans),
	}
}

// recordPlan writes the plan, and with it the end of a run that removes no member. It is the one place where Preview
// ends a run: no path leads from it to a removal.
func (j *job) recordPlan(ctx context.Context, f *facts, plan policy.Plan) error {
	now, rule := j.Now(), &f.rule
	message := rule.message(&plan)
	end := endOfPlan(plan, rule.mode, message)
	err := j.Patch(ctx, func(run *v1alpha1.PruneRun) {
		setGroup(run, f.groupRecord())
		status := &run.Status
		status.Policy, status.Plan = rule.record(), planRecord(plan, rule.grace(), now)
		j.set(run, v1alpha1.ConditionPlanned, metav1.ConditionTrue, v1alpha1.ReasonPlanned, message)
		if end != nil {
			j.setEnd(run, end)
			return
		}
		rule.refuse(status, now)
		if prunerun.NeedsApproval(run) {
			j.set(run, v1alpha1.ConditionComplete, metav1.ConditionFalse, v1alpha1.ReasonAwaitingApproval,
				j.approvalMessage(run, prunerun.MaxMessage))
		}
	})
	if err != nil {
		return err
	}
	j.announcePlan(ctx, message)
	switch {
	case end != nil:
		j.announceEnd(ctx, end)
		return errDone
	case prunerun.NeedsApproval(j.run):
		j.announce(corev1.EventTypeNormal, v1alpha1.ReasonAwaitingApproval, eventActionPlan,
			j.approvalMessage(j.run, prunerun.MaxEventNote))
	}
	return nil
}

// endOfPlan is how a plan ends that removes no member, nil if it removes some.
func endOfPlan(plan policy.Plan, mode policy.PruneMode, message string) *endError {
	end := &endError{condition: v1alpha1.ConditionComplete, reason: v1alpha1.ReasonNothingToRemove, message: message}
	switch {
	case len(plan.Removals) == 0:
		return end
	case mode == policy.ModePreview:
		end.reason, end.message = v1alpha1.ReasonPreviewed, message+" Mode Preview removes nobody."
		if plan.Breaker != "" {
			end.message = prunerun.BreakerMessage(plan.Breaker) + " " + end.message
		}
		return end
	}
	return nil
}

// refuse keeps out the accounts that the run removes, for as long as the rule says from at on.
func refuse(status *v1alpha1.PruneRunStatus, rule *policy.PruneRule, at time.Time) {
	if rule.RejoinAfter <= 0 {
		return
	}
	if status.Refuse == nil {
		status.Refuse = &v1alpha1.PruneRefusal{
			Code: cmp.Or(rule.Reject.Code, policy.RefuseCode), Message: rule.Reject.Message,
		}
	}
	if until := wholeSecond(at.Add(rule.RejoinAfter)); until.After(status.Refuse.Until.Time) {
		status.Refuse.Until = metav1.NewTime(until)
	}
}

// wholeSecond rounds up, since the API keeps whole seconds and would round down what must not end early.
func wholeSecond(at time.Time) time.Time {
	if cut := at.Truncate(time.Second); cut.Before(at) {
		return cut.Add(time.Second)
	}
	return at
}

func planRecord(plan policy.Plan, grace time.Duration, now time.Time) *v1alpha1.PrunePlan {
	record := &v1alpha1.PrunePlan{
		CreatedAt:  metav1.NewTime(now),
		Candidates: int32Of(plan.Candidates),
		Size:       new(int32Of(len(plan.Removals))),
		Stay: v1alpha1.PlanStay{
			Protected: int32Of(plan.Stay.Protected), Admin: int32Of(plan.Stay.Admin),
			Active: int32Of(plan.Stay.Active), Unknown: int32Of(plan.Stay.Unknown),
			Admitted: int32Of(plan.Stay.Admitted), InGrace: int32Of(plan.Stay.InGrace),
		},
		Breaker: plan.Breaker,
	}
	if grace > 0 {
		record.NotBefore = metav1.NewTime(wholeSecond(now.Add(grace)))
	}
	for _, removal := range plan.Removals {
		record.Removals = append(record.Removals, v1alpha1.PlannedRemoval{
			Account: removal.Account, LastActiveAt: metav1.NewTime(removal.LastActive), Reason: removalReason(removal),
			Policy: removal.Policy, List: removal.List,
		})
	}
	return record
}

func removalReason(removal policy.Removal) v1alpha1.RemovalReason {
	switch {
	case removal.Reason != 0:
		return v1alpha1.RemovalReason(removal.Reason.String())
	case removal.NeverSpoke:
		return v1alpha1.RemovalReasonNeverSpoke
	}
	return v1alpha1.RemovalReasonInactive
}

// planBudget is how many members a plan under the rule may hold. A plan that is not carried out at once holds as many
// as a day allows: batch by batch, it gets what is left then.
func (j *job) planBudget(ctx context.Context, rule *rule) (int, error) {
	limit := rule.perDay
	if rule.mode != policy.ModeEnforce {
		return limit, nil
	}
	b := j.budget(rule.policy.Name, limit)
	left, more, err := j.ledger.Left(ctx, b)
	switch {
	case err != nil:
		return 0, err
	case left == 0:
		return 0, b.exhausted(more)
	}
	return left, nil
}

func (j *job) budget(policy string, limit int) budget {
	return budget{account: account{j.purpose(), policy}, limit: limit, run: j.run.UID, now: j.Now()}
}
