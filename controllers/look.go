package controllers

import (
	"context"
	"fmt"
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/accounts"
	"github.com/groupgate/groupgate/internal/im/imrest"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/pruning"
)

// look judges the members of groups of one app, and passes those whom the gates refuse to Strangers. To list members,
// it lets all other calls of the app go first.
type look struct {
	appCalls
	strangers *Strangers
	metrics   *EvictMetrics
	now       func() time.Time
	trigger   v1alpha1.PruneTrigger
}

// evictable returns the rule by which members of a group are evicted. There is none for a group without a list of
// members.
func evictable(app *policy.CompiledApp, group imrest.Group) (policy.GoverningEviction, bool) {
	t := pruning.GroupState(group).Type
	if t == policy.TypeAVChatRoom {
		return policy.GoverningEviction{}, false
	}
	return app.GoverningEviction(group.ID, t)
}

// suspect reports whether the gates refuse a member that may be evicted, now or when its grace ends.
func suspect(rule *policy.GoverningEviction, m imrest.Member) bool {
	if !m.Ordinary() || m.Joined.IsZero() || len(m.Account) > accounts.MaxBytes {
		return false
	}
	_, refused := rule.Judge(m.Account)
	return refused
}

// all judges all members of a group, page by page, by the policies as they are then: a list may take half an hour. It
// reports whether the gates refuse any. Members beyond their grace are not kept, since there may be a million: the run
// reads the list again.
func (l *look) all(ctx context.Context, group imrest.Group) (bool, error) {
	found := l.found(group)
	accounts := 0
	var (
		snapshot *policy.Snapshot
		rule     policy.GoverningEviction
	)
	err := l.call(ctx, func(rest *imrest.Client) error {
		for m, err := range rest.Members(imrest.Sweep(ctx), group) {
			if err != nil {
				return err
			}
			if latest := l.store.Load(); latest != snapshot {
				app, err := l.app()
				if err != nil {
					return err
				}
				governed := false
				if rule, governed = evictable(app, group); !governed {
					return nil
				}
				snapshot = latest
			}
			if !suspect(&rule, m) {
				continue
			}
			accounts++
			switch now := l.now(); {
			case !m.Joined.Add(rule.Rule.Grace).After(now):
				found.whole = now
			case len(found.joined) < maxAccountsPerRun:
				found.joined[m.Account] = m.Joined
			}
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("list the members: %w", err)
	}
	l.pass(group, found, accounts)
	return accounts > 0, nil
}

// named judges the accounts that are members of a group. These look-ups are few, and go in turn with those of runs.
func (l *look) named(
	ctx context.Context, rule *policy.GoverningEviction, group imrest.Group, accounts []string,
) error {
	found := l.found(group)
	err := l.call(ctx, func(rest *imrest.Client) error {
		members, _, err := rest.MembersNamed(ctx, group.ID, accounts, time.Time{})
		for account, m := range members {
			if suspect(rule, m) {
				found.joined[account] = m.Joined
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("look up members: %w", err)
	}
	l.pass(group, found, len(found.joined))
	return nil
}

func (l *look) found(group imrest.Group) *strangeGroup {
	return &strangeGroup{
		groupType: pruning.GroupState(group).Type, trigger: l.trigger, joined: map[string]time.Time{},
	}
}

func (l *look) pass(group imrest.Group, found *strangeGroup, accounts int) {
	l.metrics.looked()
	l.metrics.found(l.trigger, accounts)
	l.strangers.take(l.key(group.ID), found)
}
