package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/groupgate/groupgate/internal/im/emulator"
)

// The second group of the story belongs to the policy club of config/samples: mode Approve, inactiveFor 90d, rejoinAfter 7d.
const (
	club      = "club-oslo"
	clubSeats = 60
	// maria manages the community. She may decide about runs, and nothing else.
	maria = "--as=maria"
)

func await(ctx context.Context, n *narrator, s *stage) error {
	n.begin("A person decides: mode Approve")
	n.say("The policy club removes nobody before a person has approved the plan. maria manages the community; this role lets her decide about runs, and edit no policy:")
	if _, err := n.kubectl(ctx, "create", "rolebinding", "community-managers", "-n", "chat", "--clusterrole=groupgate-prune-approver", "--user=maria"); err != nil {
		return err
	}
	_, err := s.im.CreateGroup(ctx, emulator.GroupSpec{
		ID: club, Type: "Public", Owner: "olivia", MaxMembers: clubSeats, ApplyJoinOption: "FreeAccess", CreatedAgo: "400d",
		Members: []emulator.MemberSpec{
			{Accounts: []string{"adam"}, Role: "Admin", InactiveFor: "200d"},
			{Accounts: []string{"anna"}, JoinedAgo: "300d"},
			{Accounts: []string{"boris"}, JoinedAgo: "350d", SpokeAgo: "210d"},
			{Accounts: []string{"chen"}, JoinedAgo: "350d", SpokeAgo: "120d"},
			{Accounts: []string{"dora"}, JoinedAgo: "350d", SpokeAgo: "95d"},
			{Prefix: "busy-", Count: clubSeats - 6, JoinedAgo: "100d", SpokeAgo: "2d"},
		},
	})
	if err != nil {
		return err
	}
	n.say("\nIn %s all %d seats are taken, and nina would like one:\n", club, clubSeats)
	if err := n.expect("nina applies to join "+club, describe(s.im.Apply(ctx, club, "nina")), "the group is full"); err != nil {
		return err
	}
	run, err := s.clubRun(ctx, "AwaitingApproval")
	if err != nil {
		return err
	}
	n.say("\nA run has planned, and waits. Who would go, since when they are inactive, and why:")
	_, err = n.kubectl(ctx, "describe", "prunerun", run, "-n", "chat", maria, "--show-events=false")
	return err
}

func approve(ctx context.Context, n *narrator, s *stage) error {
	n.begin("Approved: this plan, and nobody else")
	n.say("adam is an admin: he stays, however silent he is. dora stays, too: three seats are what freeSeats asks for, 5%% of %d.", clubSeats)
	n.say("Now boris, who is on the plan, says hello in the group. Then maria approves:")
	if _, err := s.im.Speak(ctx, club, "boris"); err != nil {
		return fmt.Errorf("speak: %w", err)
	}
	run, err := s.clubRun(ctx, "AwaitingApproval")
	if err != nil {
		return err
	}
	if _, err := n.kubectl(ctx, "patch", "prunerun", run, "-n", "chat", maria, "--type=merge", `-p={"spec":{"approval":"Approved"}}`); err != nil {
		return err
	}
	if _, err := n.kubectl(ctx, "wait", "prunerun", run, "-n", "chat", maria, "--for=condition=Complete", "--timeout=60s"); err != nil {
		return err
	}
	if _, err := n.kubectl(ctx, "get", "prunerun", run, "-n", "chat", maria); err != nil {
		return err
	}
	n.say("\nEverybody on the plan was looked at once more right before:\n")
	members, err := s.clubMembers(ctx)
	if err != nil {
		return err
	}
	for _, p := range []struct{ who, account, want string }{
		{"anna, who never spoke", "anna", "removed"},
		{"boris, who has just said hello", "boris", "still a member"},
		{"chen, silent for 120 days", "chen", "removed"},
		{"dora, who was not on the plan", "dora", "still a member"},
	} {
		got := "removed"
		if slices.Contains(members, p.account) {
			got = "still a member"
		}
		if err := n.expect(p.who, got, p.want); err != nil {
			return err
		}
	}
	return nil
}

func stayOut(ctx context.Context, n *narrator, s *stage) error {
	n.begin("No loops: who was removed does not come straight back")
	n.say("club says rejoinAfter: 7d. Every replica knows from the record of the run who is meant. Others may join:\n")
	for _, p := range []struct{ account, want string }{
		{"chen", `refused: 10140 "You were inactive, come back next week"`},
		{"nina", "admitted"},
	} {
		if err := n.expect(p.account+" applies to join "+club, describe(s.im.Apply(ctx, club, p.account)), p.want); err != nil {
			return err
		}
	}
	return nil
}

func undo(ctx context.Context, n *narrator, s *stage) error {
	n.begin("Undo: everybody back")
	n.say("nina has changed her mind and left, and the others are missed. maria takes the removals back:")
	if _, err := s.im.Quit(ctx, club, "nina"); err != nil {
		return fmt.Errorf("quit: %w", err)
	}
	run, err := s.clubRun(ctx, "Removed")
	if err != nil {
		return err
	}
	if _, err := n.kubectl(ctx, "patch", "prunerun", run, "-n", "chat", maria, "--type=merge", `-p={"spec":{"undo":"Requested"}}`); err != nil {
		return err
	}
	if _, err := n.kubectl(ctx, "wait", "prunerun", run, "-n", "chat", maria, "--for=condition=Undone", "--timeout=60s"); err != nil {
		return err
	}
	n.say("\nWhile seats are free, those who were active last come first. What became of each:")
	const accounts = `-o=jsonpath={range .status.undo.accounts[*]}{.account}  {.result}{"\n"}{end}`
	if _, err := n.kubectl(ctx, "get", "prunerun", run, "-n", "chat", maria, accounts); err != nil {
		return err
	}
	members, err := s.clubMembers(ctx)
	if err != nil {
		return err
	}
	g, err := s.im.Group(ctx, club)
	if err != nil {
		return err
	}
	fmt.Fprintln(n.out)
	if err := n.expect("members of "+club+" now", taken(g), fmt.Sprintf("%d of %d", clubSeats, clubSeats)); err != nil {
		return err
	}
	for _, account := range []string{"anna", "boris", "chen", "dora", "adam", "olivia"} {
		if !slices.Contains(members, account) {
			return fmt.Errorf("%s is not back", account)
		}
	}
	n.say("\nPlan, approval, removal, undo: one object, which is the audit record, too:")
	_, err = n.kubectl(ctx, "get", "pruneruns", "-n", "chat", maria)
	return err
}

// clubRun waits until the one run of the club shows result, and returns its name.
func (s *stage) clubRun(ctx context.Context, result string) (name string, _ error) {
	err := eventually(ctx, "the PruneRun of "+club+" to show "+result, func(ctx context.Context) (bool, error) {
		out, err := s.plane.Kubectl(ctx, "", "get", "pruneruns", "-n", "chat", "--field-selector=spec.groupID="+club,
			"-o=jsonpath={range .items[*]}{.metadata.name} {.status.conditions[-1:].reason}{end}")
		var shown string
		name, shown, _ = strings.Cut(out, " ")
		return shown == result, err
	})
	return name, err
}

func (s *stage) clubMembers(ctx context.Context) ([]string, error) {
	members, err := s.im.Members(ctx, club)
	accounts := make([]string, len(members))
	for i, member := range members {
		accounts[i] = member.Account
	}
	return accounts, err
}
