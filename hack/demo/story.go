package main

import (
	"context"
	"strings"

	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
)

const group, seats = lab.VIPGroup, lab.VIPSeats

// tell goes through the chapters, up to the first one that did not go as it says.
func tell(ctx context.Context, n *narrator, s *stage) error {
	for _, chapter := range []func(context.Context, *narrator, *stage){
		declare, join, inviteSome, edit, fill, enforce, await, approve, stayOut, undo, failOpen, evict, correct,
		look,
	} {
		if chapter(ctx, n, s); n.err != nil {
			return n.err
		}
	}
	return nil
}

func declare(ctx context.Context, n *narrator, s *stage) {
	n.begin("Policies, declared")
	n.kubectl(ctx, "apply", "--server-side", "-k", "config/samples")
	n.kubectl(ctx, "wait", "-n", "chat", "--for=condition=Ready", "--timeout=60s",
		"imapp/prod", "grouppolicy/vip-lounge")
	n.kubectl(ctx, "get", "-n", "chat", "imapps,accountlists,grouppolicies")
	spec, _ := lab.DemoGroups()
	_, err := s.backend.CreateGroup(ctx, spec)
	n.check(err)
	n.say("\nIn the IM backend there is a group, %s: %d of %d seats are taken.", group, seats-2, seats)
}

func join(ctx context.Context, n *narrator, s *stage) {
	n.begin("Who may join")
	n.say("Before an account joins, the IM backend asks Groupgate.\n" +
		"jared is on a vip list, stranger is on none, mallory is banned.\n")
	n.apply(ctx, s, group, "jared", "admitted")
	n.apply(ctx, s, group, "stranger", `refused: 10110 "Members only"`)
	n.apply(ctx, s, group, "mallory", `refused: 10120 "You cannot join groups at the moment"`)
	n.say("\nWhy? The code that has answered says so:")
	n.groupgate(ctx, "explain", group, "mallory", "-n", "chat")
}

func inviteSome(ctx context.Context, n *narrator, s *stage) {
	n.begin("Invitations are checked, too")
	const team = "vip-team"
	_, err := s.backend.CreateGroup(ctx, emulator.GroupSpec{ID: team, Type: "Work", Owner: "jared"})
	n.check(err)
	n.say("A Work group takes no applications; members invite.\n"+
		"jared invites alice, who is a vip, and mallory into %s.\n", team)
	outcome, err := s.backend.Invite(ctx, team, "jared", "alice", "mallory")
	n.check(err)
	got := map[string]string{}
	for _, m := range outcome.Members {
		got[m.Account] = strings.ToLower(m.Result)
	}
	n.expect("alice is invited", got["alice"], "joined")
	n.expect("mallory is invited", got["mallory"], "refused")
}

func edit(ctx context.Context, n *narrator, s *stage) {
	n.begin("An edit with kubectl changes the answer")
	n.apply(ctx, s, group, "carol", `refused: 10110 "Members only"`)
	n.kubectl(ctx, "patch", "accountlist", "vip-1", "-n", "chat",
		"--type=json", `-p=[{"op":"add","path":"/spec/accounts/-","value":"carol"}]`)
	n.say("")
	// In force within milliseconds, on every replica.
	var outcome emulator.Outcome
	n.eventually(ctx, "carol to be admitted", func(ctx context.Context) (done bool, err error) {
		outcome, err = s.backend.Apply(ctx, group, "carol")
		return outcome.Result == emulator.ResultJoined, err
	})
	n.expect("carol applies to join "+group+" again", describe(outcome, nil), "admitted")
}

func fill(ctx context.Context, n *narrator, s *stage) {
	n.begin("The group is full: mode Preview")
	n.say("carol took the last of %d seats, so the IM backend reports the group as full.\n"+
		"vip-lounge says whenFull.prune.mode: Preview.", seats)
	n.apply(ctx, s, group, "tommy", "the group is full")
	s.awaitRun(ctx, 1, "Previewed")
	n.kubectl(ctx, "get", "-n", "chat", "pruneruns")
	n.say("\nThe members it would remove, since when they are inactive, and why; and how many stay:")
	planned := n.kubectl(ctx, "get", "-n", "chat", "pruneruns",
		`-o=jsonpath={range .items[*].status.plan.removals[*]}{.account}  {.lastActiveAt}  {.reason}{"\n"}{end}`+
			`{.items[*].status.plan.stay}{"\n"}`)
	for _, account := range []string{"adam", "olivia"} {
		if strings.Contains(planned, account) {
			n.fail("the plan contains %s, an admin or the owner", account)
		}
	}
	n.members(ctx, s, group, seats, seats)
}

func enforce(ctx context.Context, n *narrator, s *stage) {
	n.begin("Inactive members make room: mode Enforce")
	n.kubectl(ctx, "patch", "grouppolicy", "vip-lounge", "-n", "chat",
		"--type=merge", `-p={"spec":{"whenFull":{"prune":{"mode":"Enforce"}}}}`)
	n.say("\nThe next run would be created after the cooldown. To see it now, we create one by hand:")
	n.kubectl(ctx, "create", "-f", "config/samples/prunerun.yaml")
	s.awaitRun(ctx, 2, "Removed")
	n.kubectl(ctx, "get", "-n", "chat", "pruneruns")
	n.members(ctx, s, group, seats-2, seats)
	n.say("\n5%% of %d seats are free again, and the next application succeeds:", seats)
	n.apply(ctx, s, group, "tommy", "admitted")
}

// awaitRun waits until there are that many runs, all of them finished, and one with reason.
func (s *stage) awaitRun(ctx context.Context, runs int, reason string) {
	const reasons = `-o=jsonpath={range .items[*].status.conditions[*]}{.type}={.status}/{.reason}{"\n"}{end}`
	s.narrator.eventually(ctx, "the PruneRun to end as "+reason, func(ctx context.Context) (bool, error) {
		out, err := s.Kubectl(ctx, "", "get", "pruneruns", reasons)
		finished := strings.Count(out, "Complete=True/") + strings.Count(out, "Failed=True/")
		return finished == runs && strings.Contains(out, "Complete=True/"+reason), err
	})
}
