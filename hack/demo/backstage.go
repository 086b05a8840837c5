package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/groupgate/groupgate/internal/im/emulator"
)

const (
	// The third group of the story, and the account that gets into it.
	backstage = "backstage-1"
	stranger  = "sam"
)

func failOpen(ctx context.Context, n *narrator, s *stage) {
	n.begin("No gate for a moment: a stranger gets in")
	_, err := s.backend.CreateGroup(ctx, emulator.GroupSpec{
		ID: backstage, Type: "Public", Owner: "olivia", MaxMembers: 40, ApplyJoinOption: "FreeAccess",
		CreatedAgo: "400d",
		Members: []emulator.MemberSpec{
			{Accounts: []string{"jared", "tommy", "alice", "bob"}, JoinedAgo: "100d"},
			{Prefix: "staff-", Count: 12, JoinedAgo: "100d"},
		},
	})
	n.check(err)
	n.say("%s is for staff and VIPs. The policy backstage says join.evict: members whom the gate would\n"+
		"refuse now go. Its mode is Preview; from now on maria decides, and without a time of grace:", backstage)
	n.kubectl(ctx, "patch", "grouppolicy", "backstage", "-n", "chat",
		"--type=merge", `-p={"spec":{"join":{"evict":{"mode":"Approve","grace":"0m"}}}}`)
	n.kubectl(ctx, "wait", "-n", "chat", "--for=condition=Programmed", "--timeout=60s", "grouppolicy/backstage")
	n.say("")
	const refused = `refused: 10150 "Staff and VIPs only"`
	n.apply(ctx, s, backstage, stranger, refused)
	n.say("\nNow the only replica is stopped. The IM backend gets no answer, and admits:\n")
	n.check(s.manager.Stop(30 * time.Second))
	n.apply(ctx, s, backstage, stranger, "admitted")
	n.say("\nGroupgate is back, and refuses others as before. But %s is inside:\n", stranger)
	if n.err == nil {
		n.check(s.startManager(ctx))
	}
	n.apply(ctx, s, backstage, "eve", refused)
	n.expectMember(ctx, s, backstage, stranger, true)
}

func evict(ctx context.Context, n *narrator, s *stage) {
	n.begin("A round finds members that the gate refuses")
	n.say("No callback told of %s. But the callbacks of a time without a ready replica are lost, so after\n"+
		"it Groupgate looks at all members of all groups with join.evict. A run has planned, and waits:", stranger)
	run := s.runOf(ctx, backstage, "AwaitingApproval")
	n.groupgate(ctx, "runs", "--waiting", "-n", "chat", maria)
	n.say("\nWho would go, why, and by which policy; and how many stay:")
	planned := n.kubectl(ctx, "get", "prunerun", run, "-n", "chat", maria,
		`-o=jsonpath={range .status.plan.removals[*]}{.account}  {.reason}  {.policy}{"\n"}{end}`+
			`{.status.plan.stay}{"\n"}`)
	if want := stranger + "  NotListed  backstage\n{"; !strings.HasPrefix(planned, want) {
		n.fail("the plan is not only about %s:\n%s", stranger, planned)
	}
	n.groupgate(ctx, "approve", backstage, "-n", "chat", maria, "--yes", "--reason=got in while the gate was open")
	n.kubectl(ctx, "wait", "prunerun", run, "-n", "chat", maria, "--for=condition=Complete", "--timeout=60s")
	n.say("")
	n.expectMember(ctx, s, backstage, stranger, false)
	n.expectMember(ctx, s, backstage, "jared", true)
}

func correct(ctx context.Context, n *narrator, s *stage) {
	n.begin("The list was wrong: it is corrected, then the eviction is undone")
	n.say("%s had paid, and was not on the list yet. An undo adds back only members that the gate admits now,\n"+
		"so the list comes first:", stranger)
	n.kubectl(ctx, "patch", "accountlist", "vip-1", "-n", "chat",
		"--type=json", `-p=[{"op":"add","path":"/spec/accounts/-","value":"`+stranger+`"}]`)
	n.kubectl(ctx, "wait", "-n", "chat", "--for=condition=Programmed", "--timeout=60s", "accountlist/vip-1")
	run := s.runOf(ctx, backstage, "Removed")
	n.groupgate(ctx, "undo", backstage, "-n", "chat", maria, "--yes", "--reason=has paid")
	n.kubectl(ctx, "wait", "prunerun", run, "-n", "chat", maria, "--for=condition=Undone", "--timeout=60s")
	n.kubectl(ctx, "get", "prunerun", run, "-n", "chat", maria)
	n.say("")
	n.expectMember(ctx, s, backstage, stranger, true)
}

// expectMember expects an account to be, or not to be, a member of a group.
func (n *narrator) expectMember(ctx context.Context, s *stage, group, account string, want bool) {
	words := map[bool]string{true: "a member", false: "not a member"}
	if n.err == nil {
		n.expect(account+" in "+group, words[slices.Contains(n.accounts(ctx, s, group), account)], words[want])
	}
}
