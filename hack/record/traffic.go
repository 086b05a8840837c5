package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
)

var (
	prod  = lab.App{Name: "prod", SDKAppID: lab.SDKAppID, Spec: "rest: {requestsPerSecond: 100}"}
	trial = lab.App{Name: "trial", SDKAppID: lab.SDKAppID + 1, Spec: "unmatchedGroups: Reject"}
)

// commandJoined reports members who have joined.
const commandJoined = "Group.CallbackAfterNewMemberJoin"

// policies are about vip-*, which a list gates, quiet-*, which is only audited, club-*, which is pruned, slow-*, whose
// plans wait for a person, and stage-*, from which strangers are evicted.
const policies = `apiVersion: groupgate.io/v1alpha1
kind: AccountList
metadata: {name: vip, labels: {list: vip}}
spec: {accounts: [u0, u1, u2, u3, u4, u5, u6]}
---
apiVersion: groupgate.io/v1alpha1
kind: GroupPolicy
metadata: {name: vip}
spec:
  appRef: {name: prod}
  groups: [{type: Prefix, value: vip-}]
  join:
    allow: {lists: [{selector: {matchLabels: {list: vip}}}]}
    deny: {accounts: [u3]}
    reject: {code: 10110, message: Members only}
---
apiVersion: groupgate.io/v1alpha1
kind: GroupPolicy
metadata: {name: quiet}
spec:
  appRef: {name: prod}
  groups: [{type: Prefix, value: quiet-}]
  join: {mode: Audit, allow: {accounts: [u0, u1]}}
---
apiVersion: groupgate.io/v1alpha1
kind: GroupPolicy
metadata: {name: club}
spec:
  appRef: {name: prod}
  groups: [{type: Prefix, value: club-}]
  whenFull: {prune: {mode: Enforce, inactiveFor: 30d, cooldown: 1m, rejoinAfter: 1h, notification: Silent}}
---
apiVersion: groupgate.io/v1alpha1
kind: GroupPolicy
metadata: {name: slow}
spec:
  appRef: {name: prod}
  groups: [{type: Prefix, value: slow-}]
  whenFull: {prune: {mode: Approve, inactiveFor: 30d}}
---
apiVersion: groupgate.io/v1alpha1
kind: GroupPolicy
metadata: {name: stage}
spec:
  appRef: {name: prod}
  groups: [{type: Prefix, value: stage-}]
  join:
    allow: {accountPrefixes: [crew]}
    deny: {accounts: [mallory]}
    evict: {mode: Enforce, grace: 0m, interval: 1h}
`

// callbacks sends those of the vendor, whose number goes up and down once in the time that the record lasts, and those
// of strangers, who are many in the third quarter of it.
func (s *scene) callbacks(ctx context.Context, url string, lasts time.Duration) error {
	begun := time.Now()
	groups := []string{"vip-berlin", "vip-berlin", "quiet-cork", "lobby"}
	for number := 0; ; number++ {
		passed := time.Since(begun).Seconds() / lasts.Seconds()
		rate := callbacksEach * (1 + 0.6*math.Sin(2*math.Pi*passed)) * (0.8 + 0.4*rand.Float64())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Duration(float64(time.Second) / rate)):
		}
		account, group := fmt.Sprintf("u%d", rand.IntN(10)), groups[rand.IntN(len(groups))]
		var err error
		switch {
		case number%11 == 0:
			_, err = lab.PostSigned(ctx, url, lab.SDKAppID, lab.CommandInvite, map[string]any{
				"GroupId": group, "Type": "Public", "Operator_Account": "u0",
				"DestinationMembers": []map[string]string{{"Member_Account": account}, {"Member_Account": "u9"}},
			})
		case number%7 == 0:
			_, err = lab.PostSigned(ctx, url, trial.SDKAppID, lab.CommandApply, application("salon", account))
		default:
			_, err = lab.PostSigned(ctx, url, lab.SDKAppID, lab.CommandApply, application(group, account))
		}
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("send a callback: %w", err)
		}
		if number%29 == 0 || passed > 0.5 && passed < 0.75 && number%3 == 0 {
			s.stranger(ctx, url, number)
		}
	}
}

func application(group, account string) map[string]any {
	return map[string]any{"GroupId": group, "Type": "Public", "Requestor_Account": account}
}

// stranger sends a callback that is refused. Some of the answers are not JSON.
func (s *scene) stranger(ctx context.Context, url string, number int) {
	body, _ := json.Marshal(application("vip-berlin", "mallory"))
	apply := lab.Query(lab.SDKAppID, lab.CommandApply)
	switch number % 4 {
	case 0:
		_, _ = lab.Post(ctx, url, lab.Sign(apply, "guessed", time.Now()), body)
	case 1:
		_, _ = lab.Post(ctx, url, apply, body)
	case 2:
		_, _ = lab.Post(ctx, url, lab.Sign(lab.Query(1499999999, lab.CommandApply), "guessed", time.Now()), body)
	default:
		_, _ = lab.Post(ctx, url, "", []byte("GET / HTTP/1.1"))
	}
}

// fullGroups makes full groups and reports them, and undoes one of their runs; one in five REST calls of the vendor
// fails.
func (s *scene) fullGroups(ctx context.Context) error {
	im := &emulator.Client{BaseURL: s.backend.URL, SDKAppID: lab.SDKAppID}
	if _, err := im.AddFault(ctx, emulator.Fault{
		API: "get_group_member_info", Kind: emulator.FaultCode, Code: 60008, Probability: 0.2,
	}); err != nil {
		return err
	}
	number := 0
	return every(ctx, 3*time.Second, func() error {
		number++
		group := fmt.Sprintf("club-%d", number)
		if number == 2 {
			group = "slow-1"
		}
		_, err := im.CreateGroup(ctx, emulator.GroupSpec{
			ID: group, Type: "Public", MaxMembers: 40, Owner: "olivia", CreatedAgo: "400d",
			ApplyJoinOption: "FreeAccess",
			Members: []emulator.MemberSpec{
				{Prefix: "idle", Count: 5 + number%13, InactiveFor: "60d"},
				{Prefix: "busy", Count: 34 - number%13, JoinedAgo: "100d", SpokeAgo: "1d"},
			},
		})
		if err != nil {
			return err
		}
		for _, url := range s.targets() {
			_, err := lab.PostSigned(ctx, url, lab.SDKAppID, lab.CommandGroupFull, map[string]any{"GroupId": group})
			if err != nil {
				return err
			}
		}
		if number%5 == 4 {
			return s.undoOne(ctx)
		}
		return nil
	})
}

// strangers makes groups with a member whom the gate refuses, and reports some of them as the vendor does after a join
// that it let through; the others are found by a round. In one group of three there are so many that a person has to
// decide.
func (s *scene) strangers(ctx context.Context) error {
	im := &emulator.Client{BaseURL: s.backend.URL, SDKAppID: lab.SDKAppID}
	number := 0
	return every(ctx, 4*time.Second, func() error {
		number++
		group, stranger := fmt.Sprintf("stage-%d", number), fmt.Sprintf("stranger%d-0", number)
		_, err := im.CreateGroup(ctx, emulator.GroupSpec{
			ID: group, Type: "Public", MaxMembers: 200, Owner: "olivia", CreatedAgo: "400d",
			Members: []emulator.MemberSpec{
				{Prefix: "crew", Count: 30, JoinedAgo: "100d"},
				{Prefix: fmt.Sprintf("stranger%d-", number), Count: 1 + 9*(number%3/2), JoinedAgo: "1h"},
			},
		})
		if err != nil || number%2 == 0 {
			return err
		}
		_, err = lab.PostSigned(ctx, s.targets()[0], lab.SDKAppID, commandJoined, map[string]any{
			"GroupId": group, "Type": "Public", "JoinType": "Apply", "Operator_Account": "",
			"NewMemberList": []map[string]string{{"Member_Account": stranger}},
		})
		return err
	})
}

// undoOne adds the members back that the newest finished run removed.
func (s *scene) undoOne(ctx context.Context) error {
	const removed = `{range .items[?(@.status.removed>0)]}{.metadata.name}{" "}{end}`
	out, err := s.Kubectl(ctx, "", "get", "pruneruns", "--sort-by=.metadata.creationTimestamp", "-o=jsonpath="+removed)
	if err != nil {
		return err
	}
	removals := strings.Fields(out)
	if len(removals) == 0 {
		return nil // none has ended yet
	}
	_, err = s.Kubectl(ctx, "", "patch", "prunerun", removals[len(removals)-1], "--type=merge",
		"-p", `{"spec":{"undo":"Requested"}}`)
	return err
}

// edits changes the list of members now and then.
func (s *scene) edits(ctx context.Context) error {
	number := 0
	return every(ctx, 2*time.Second, func() error {
		number++
		patch := fmt.Sprintf(`{"spec":{"accounts":["u0","u1","u2","u3","u4","u5","u%d"]}}`, 6+number%2)
		_, err := s.Kubectl(ctx, "", "patch", "accountlist", "vip", "--type=merge", "-p", patch)
		return err
	})
}
