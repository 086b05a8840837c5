package main

import (
	"context"
	"slices"
	"strings"

	"github.com/groupgate/groupgate/internal/lab"
)

const (
	// The second group of the story.
	club, clubSeats = lab.ClubGroup, lab.ClubSeats
	// maria manages the community. She may decide about runs, and nothing else.
	maria = "--as=maria"
)

func await(ctx context.Context, n *narrator, s *stage) {
	n.begin("A person decides: mode Approve")
	n.say("The policy club removes members only after a person has approved the plan.\n" +
		"maria manages the community; this role lets her decide about runs, and edit no policy:")
	n.kubectl(ctx, "create", "rolebinding", "community-managers", "-n", "chat",
		"--clusterrole=groupgate-prune-approver", "--user=maria")
	_, spec := lab.DemoGroups()
	_, err := s.backend.CreateGroup(ctx, spec)
	n.check(err)
	n.say("\nIn %s all %d seats are taken, and nina would like one:\n", club, clubSeats)
	n.apply(ctx, s, club, "nina", "the group is full")
	run := s.runOf(ctx, club, "AwaitingApproval")
	n.say("\nA run has planned, and waits. The members it would remove, since when they are inactive, and why:")
	n.kubectl(ctx, "describe", "prunerun", run, "-n", "chat", maria, "--show-events=false")
	n.say("\nWhat awaits a person, in short:")
	n.groupgate(ctx, "runs", "--waiting", "-n", "chat", maria)
}

func approve(ctx context.Context, n *narrator, s *stage) {
	n.begin("Approved: this plan, and no other")
	n.say("adam is an admin: he stays, however long he has been silent.\n"+
		"dora stays, too: three seats are what freeSeats asks for, 5%% of %d.\n"+
		"Now boris, who is on the plan, says hello in the group. Then maria approves:", clubSeats)
	_, err := s.backend.Speak(ctx, club, "boris")
	n.check(err)
	run := s.runOf(ctx, club, "AwaitingApproval")
	n.groupgate(ctx, "approve", club, "-n", "chat", maria, "--yes", "--reason=spring cleaning")
	n.kubectl(ctx, "wait", "prunerun", run, "-n", "chat", maria, "--for=condition=Complete", "--timeout=60s")
	n.kubectl(ctx, "get", "prunerun", run, "-n", "chat", maria)
	n.say("\nEvery member of the plan was checked once more right before the removal:\n")
	members := n.accounts(ctx, s, club)
	for _, p := range []struct{ member, account, want string }{
		{"anna, who never spoke", "anna", "removed"},
		{"boris, who has just said hello", "boris", "still a member"},
		{"chen, silent for 120 days", "chen", "removed"},
		{"dora, who was not on the plan", "dora", "still a member"},
	} {
		got := "removed"
		if slices.Contains(members, p.account) {
			got = "still a member"
		}
		n.expect(p.member, got, p.want)
	}
}

func stayOut(ctx context.Context, n *narrator, s *stage) {
	n.begin("No loops: removed members do not come straight back")
	n.say("club says rejoinAfter: 7d. Every replica reads the removed accounts from the run. Others may join:\n")
	n.apply(ctx, s, club, "chen", `refused: 10140 "You were inactive, come back next week"`)
	n.apply(ctx, s, club, "nina", "admitted")
}

func undo(ctx context.Context, n *narrator, s *stage) {
	n.begin("Undo: all removed members return")
	n.say("nina has changed her mind and left, and the others are missed. maria takes the removals back:")
	_, err := s.backend.Quit(ctx, club, "nina")
	n.check(err)
	run := s.runOf(ctx, club, "Removed")
	n.groupgate(ctx, "undo", club, "-n", "chat", maria, "--yes", "--reason=they are missed")
	n.kubectl(ctx, "wait", "prunerun", run, "-n", "chat", maria, "--for=condition=Undone", "--timeout=60s")
	n.say("\nWhile seats are free, the members that were active last come first. The result for each:")
	n.kubectl(ctx, "get", "prunerun", run, "-n", "chat", maria,
		`-o=jsonpath={range .status.undo.accounts[*]}{.account}  {.result}{"\n"}{end}`)
	n.members(ctx, s, club, clubSeats, clubSeats)
	members := n.accounts(ctx, s, club)
	for _, account := range []string{"anna", "boris", "chen", "dora", "adam", "olivia"} {
		if !slices.Contains(members, account) {
			n.fail("%s is not back", account)
		}
	}
	n.say("\nPlan, approval, removal, undo: one object, which is the audit record, too:")
	n.kubectl(ctx, "get", "pruneruns", "-n", "chat", maria)
}

// runOf waits until the only run of a group shows result, and returns its name.
func (s *stage) runOf(ctx context.Context, group, result string) (name string) {
	what := "the PruneRun of " + group + " to show " + result
	s.narrator.eventually(ctx, what, func(ctx context.Context) (bool, error) {
		out, err := s.Kubectl(ctx, "", "get", "pruneruns", "--field-selector=spec.groupID="+group,
			"-o=jsonpath={range .items[*]}{.metadata.name} {.status.conditions[-1:].reason}{end}")
		var shown string
		name, shown, _ = strings.Cut(out, " ")
		return shown == result, err
	})
	return name
}
