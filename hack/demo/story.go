package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
)

const (
	group = "vip-berlin"
	seats = 40
)

// tell goes through the chapters; each one fails when something did not go as it says.
func tell(ctx context.Context, n *narrator, s *stage) error {
	for _, chapter := range []func(context.Context, *narrator, *stage) error{
		declare, join, inviteSome, edit, fill, enforce, await, approve, stayOut, undo,
	} {
		if err := chapter(ctx, n, s); err != nil {
			return err
		}
	}
	return nil
}

func declare(ctx context.Context, n *narrator, s *stage) error {
	n.begin("Policies, declared")
	if _, err := n.kubectl(ctx, "apply", "--server-side", "-k", "config/samples"); err != nil {
		return err
	}
	if _, err := n.kubectl(ctx, "wait", "-n", "chat", "--for=condition=Ready", "--timeout=60s", "imapp/prod", "grouppolicy/vip-lounge"); err != nil {
		return err
	}
	if _, err := n.kubectl(ctx, "get", "-n", "chat", "imapps,accountlists,grouppolicies"); err != nil {
		return err
	}
	_, err := s.im.CreateGroup(ctx, emulator.GroupSpec{
		ID: group, Type: "Public", Owner: "olivia", MaxMembers: seats, ApplyJoinOption: "FreeAccess", CreatedAgo: "400d",
		Members: []emulator.MemberSpec{
			{Accounts: []string{"adam"}, Role: "Admin", InactiveFor: "200d"},
			{Prefix: "idle-", Count: 6, InactiveFor: "90d"},
			{Prefix: "busy-", Count: seats - 10, JoinedAgo: "100d", SpokeAgo: "2d"},
		},
	})
	if err != nil {
		return err
	}
	n.say("\nIn the IM backend there is a group, %s: %d of %d seats are taken.", group, seats-2, seats)
	return nil
}

func join(ctx context.Context, n *narrator, s *stage) error {
	n.begin("Who may join")
	n.say("Before anybody joins, the IM backend asks Groupgate. jared is on a vip list, stranger is on none, mallory is banned.\n")
	for _, p := range []struct{ account, want string }{
		{"jared", "admitted"},
		{"stranger", `refused: 10110 "Members only"`},
		{"mallory", `refused: 10120 "You cannot join groups at the moment"`},
	} {
		if err := n.apply(ctx, s, p.account, p.want); err != nil {
			return err
		}
	}
	return nil
}

func inviteSome(ctx context.Context, n *narrator, s *stage) error {
	n.begin("An invitation is no way around")
	const team = "vip-team"
	if _, err := s.im.CreateGroup(ctx, emulator.GroupSpec{ID: team, Type: "Work", Owner: "jared"}); err != nil {
		return fmt.Errorf("create the group %s: %w", team, err)
	}
	n.say("In a Work group nobody applies; members invite. jared invites alice, who is a vip, and mallory into %s.\n", team)
	outcome, err := s.im.Invite(ctx, team, "jared", "alice", "mallory")
	if err != nil {
		return fmt.Errorf("invite: %w", err)
	}
	got := map[string]string{}
	for _, m := range outcome.Members {
		got[m.Account] = strings.ToLower(m.Result)
	}
	return errors.Join(
		n.expect("alice is invited", got["alice"], "joined"),
		n.expect("mallory is invited", got["mallory"], "refused"),
	)
}

func edit(ctx context.Context, n *narrator, s *stage) error {
	n.begin("An edit with kubectl changes the answer")
	if err := n.apply(ctx, s, "carol", `refused: 10110 "Members only"`); err != nil {
		return err
	}
	if _, err := n.kubectl(ctx, "patch", "accountlist", "vip-1", "-n", "chat", "--type=json", `-p=[{"op":"add","path":"/spec/accounts/-","value":"carol"}]`); err != nil {
		return err
	}
	fmt.Fprintln(n.out)
	// In force within milliseconds, on every replica.
	var outcome emulator.Outcome
	if err := eventually(ctx, "carol to be admitted", func(ctx context.Context) (bool, error) {
		var err error
		outcome, err = apply(ctx, s, "carol")
		return outcome.Result == emulator.ResultJoined, err
	}); err != nil {
		return err
	}
	return n.expect("carol applies to join "+group+" again", describe(outcome, nil), "admitted")
}

func fill(ctx context.Context, n *narrator, s *stage) error {
	n.begin("The group is full: mode Preview")
	g, err := s.im.Group(ctx, group)
	if err != nil {
		return err
	}
	n.say("carol took the last of %d seats, so the IM backend reports the group as full. vip-lounge says whenFull.prune.mode: Preview.", g.MaxMembers)
	if err := n.expect("tommy, a vip, applies to join", describe(apply(ctx, s, "tommy")), "the group is full"); err != nil {
		return err
	}
	if err := s.runEnds(ctx, 1, "Previewed"); err != nil {
		return err
	}
	if _, err := n.kubectl(ctx, "get", "-n", "chat", "pruneruns"); err != nil {
		return err
	}
	n.say("\nWho would go, since when they are inactive, and why; and how many stay:")
	const plan = `-o=jsonpath={range .items[*].status.plan.removals[*]}{.account}  {.lastActiveAt}  {.reason}{"\n"}{end}{.items[*].status.plan.stay}{"\n"}`
	planned, err := n.kubectl(ctx, "get", "-n", "chat", "pruneruns", plan)
	if err != nil {
		return err
	}
	if strings.Contains(planned, "adam") || strings.Contains(planned, "olivia") {
		return errors.New("the plan holds an admin or the owner")
	}
	return n.members(ctx, s, seats)
}

func enforce(ctx context.Context, n *narrator, s *stage) error {
	n.begin("The inactive make room: mode Enforce")
	if _, err := n.kubectl(ctx, "patch", "grouppolicy", "vip-lounge", "-n", "chat", "--type=merge", `-p={"spec":{"whenFull":{"prune":{"mode":"Enforce"}}}}`); err != nil {
		return err
	}
	n.say("\nThe next run would come by itself after the cooldown. We do not wait, and ask for one:")
	if _, err := n.kubectl(ctx, "create", "-f", "config/samples/prunerun.yaml"); err != nil {
		return err
	}
	if err := s.runEnds(ctx, 2, "Removed"); err != nil {
		return err
	}
	if _, err := n.kubectl(ctx, "get", "-n", "chat", "pruneruns"); err != nil {
		return err
	}
	if err := n.members(ctx, s, seats-2); err != nil {
		return err
	}
	n.say("\n5%% of %d seats are free again, and the next join succeeds:", seats)
	return n.apply(ctx, s, "tommy", "admitted")
}

// apply applies to join and says what came of it.
func (n *narrator) apply(ctx context.Context, s *stage, account, want string) error {
	return n.expect(account+" applies to join "+group, describe(apply(ctx, s, account)), want)
}

func (n *narrator) members(ctx context.Context, s *stage, want int) error {
	g, err := s.im.Group(ctx, group)
	if err != nil {
		return err
	}
	fmt.Fprintln(n.out)
	return n.expect("members of "+group+" now", taken(g), fmt.Sprintf("%d of %d", want, seats))
}

func taken(g emulator.Group) string { return fmt.Sprintf("%d of %d", g.Members, g.MaxMembers) }

func apply(ctx context.Context, s *stage, account string) (emulator.Outcome, error) {
	return s.im.Apply(ctx, group, account)
}

// describe says in words what a client sees.
func describe(outcome emulator.Outcome, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case outcome.Result == emulator.ResultJoined:
		return "admitted"
	case outcome.Result == emulator.ResultRefused:
		return fmt.Sprintf("refused: %d %q", outcome.Code, outcome.Info)
	case outcome.Result == emulator.ResultFull:
		return "the group is full"
	default:
		return fmt.Sprintf("%s: %d %s", outcome.Result, outcome.Code, outcome.Info)
	}
}

// runEnds waits until there are that many runs, all of them finished, and the last one with reason.
func (s *stage) runEnds(ctx context.Context, runs int, reason string) error {
	const path = `-o=jsonpath={range .items[*]}{.status.conditions[?(@.type=="Complete")].reason}{.status.conditions[?(@.type=="Failed")].reason}{"\n"}{end}`
	return eventually(ctx, "the PruneRun to end as "+reason, func(ctx context.Context) (bool, error) {
		out, err := s.plane.Kubectl(ctx, "", "get", "pruneruns", "-n", "chat", "--sort-by=.metadata.creationTimestamp", path)
		reasons := strings.Fields(out)
		return len(reasons) == runs && strings.Contains(out, reason), err
	})
}

func eventually(ctx context.Context, what string, holds func(context.Context) (bool, error)) error {
	bounded, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return lab.Await(bounded, what, holds)
}
