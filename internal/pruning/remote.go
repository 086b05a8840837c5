package pruning

import (
	"context"
	"iter"
	"math"
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/imrest"
	"github.com/groupgate/groupgate/internal/policy"
)

// remoteGroup is the group of a run at the vendor. called follows every call, whose outcome may have changed the
// reachability of the app.
type remoteGroup struct {
	rest   *imrest.Client
	id     string
	called func()
}

// read reads the group. notAfter is when it is too late to begin, zero for no limit; so it is for named.
func (r *remoteGroup) read(ctx context.Context, notAfter time.Time) (imrest.Group, error) {
	defer r.called()
	return r.rest.Group(ctx, r.id, notAfter)
}

// list lists all members, page by page.
func (r *remoteGroup) list(ctx context.Context, group imrest.Group) iter.Seq2[policy.Member, error] {
	return func(yield func(policy.Member, error) bool) {
		defer r.called()
		for member, err := range r.rest.Members(ctx, group) {
			if !yield(memberOf(member), err) {
				return
			}
		}
	}
}

// listNamed lists those of accounts that are members, in the order of accounts.
func (r *remoteGroup) listNamed(ctx context.Context, accounts []string) iter.Seq2[policy.Member, error] {
	return func(yield func(policy.Member, error) bool) {
		members, _, err := r.named(ctx, accounts, time.Time{})
		if err != nil {
			yield(policy.Member{}, err)
			return
		}
		for _, account := range accounts {
			if member, present := members[account]; present && !yield(member, nil) {
				return
			}
		}
	}
}

// named returns those of accounts that are members, as they were at asOf or later.
func (r *remoteGroup) named(
	ctx context.Context, accounts []string, notAfter time.Time,
) (members map[string]policy.Member, asOf time.Time, _ error) {
	defer r.called()
	found, asOf, err := r.rest.MembersNamed(ctx, r.id, accounts, notAfter)
	if err != nil {
		return nil, time.Time{}, err
	}
	members = make(map[string]policy.Member, len(found))
	for account, member := range found {
		members[account] = memberOf(member)
	}
	return members, asOf, nil
}

func (r *remoteGroup) remove(
	ctx context.Context, accounts []string, options imrest.DeleteOptions,
) (imrest.Deletion, error) {
	defer r.called()
	return r.rest.DeleteMembers(ctx, r.id, accounts, options)
}

func (r *remoteGroup) add(ctx context.Context, accounts []string) (map[string]imrest.AddResult, error) {
	defer r.called()
	return r.rest.AddMembers(ctx, r.id, accounts)
}

func memberOf(member imrest.Member) policy.Member {
	return policy.Member{
		Account: member.Account, Role: roleOf(member.Role),
		Joined: member.Joined, LastSpoke: member.LastSpoke, ActivityKnown: member.ActivityKnown,
		MuteUntil: member.MuteUntil,
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

func accountsOf(batch []v1alpha1.PlannedRemoval) []string {
	accounts := make([]string, len(batch))
	for i := range batch {
		accounts[i] = batch[i].Account
	}
	return accounts
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

func keptRecords(spared []policy.Kept) []v1alpha1.KeptAccount {
	records := make([]v1alpha1.KeptAccount, len(spared))
	for i := range spared {
		records[i] = v1alpha1.KeptAccount{
			Account: spared[i].Account, Reason: v1alpha1.KeptReason(spared[i].Reason.String()),
		}
	}
	return records
}

func int32Of(n int) int32 { return int32(min(max(n, 0), math.MaxInt32)) }
