package gitops

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
)

var manager *lab.Manager

// started starts an IM backend with two full groups, a manager of the namespace health, and all objects, once.
var started = sync.OnceValue(func() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	backend := lab.NewBackend([]lab.App{{}}, func() []string { return nil }, nil)
	im := &emulator.Client{BaseURL: backend.URL}
	for _, id := range []string{"quiet", "asked"} {
		if _, err := im.CreateGroup(ctx, emulator.GroupSpec{
			ID: id, Type: "Public", MaxMembers: 10, Owner: "olivia", CreatedAgo: "400d",
			Members: []emulator.MemberSpec{
				{Prefix: "idle", Count: 4, InactiveFor: "60d"},
				{Prefix: "busy", Count: 5, JoinedAgo: "100d", SpokeAgo: "1d"},
			},
		}); err != nil {
			return err
		}
	}
	w := world("health")
	w.IMEndpoint = backend.URL
	lease, err := lab.LeaseManifests(w.Namespace)
	if err != nil {
		return err
	}
	const rule = "groups: [{value: %s}]\nwhenFull: {prune: {mode: %s, inactiveFor: 30d}}"
	policies := []string{
		lab.PolicyManifest("club", fmt.Sprintf(rule, "quiet", "Preview")),
		lab.PolicyManifest("slow", fmt.Sprintf(rule, "asked", "Approve")),
		lab.PolicyManifest("listless", "groups: [{value: l}]\njoin: {allow: {lists: [{name: nobody}]}}"),
		lab.PolicyManifest("starry", "groups: [{type: Prefix, value: 'vip-*'}]\njoin: {allow: {accounts: [jared]}}"),
		lab.PolicyManifest("invalid",
			"groups: [{value: i}]\njoin: {allow: {lists: [{selector: {matchLabels: {list: not/a/value}}}]}}"),
	}
	if err := w.Apply(ctx, lab.NamespaceManifests(w.Namespace), lease); err != nil {
		return err
	}
	if err := w.Apply(ctx, lab.App{}.Manifests()); err != nil { // the older one holds the number
		return err
	}
	log := &lab.Log{}
	manager, err = w.StartManager(log, "",
		append(lab.FastElection, "--leader-election-namespace="+w.Namespace, "--shutdown-delay=0s")...)
	if err != nil {
		return err
	}
	if err := manager.AwaitReady(ctx); err != nil {
		return fmt.Errorf("%w\n%s", err, log)
	}
	if err := w.Apply(ctx, append(policies, objects)...); err != nil {
		return err
	}
	unwatched := world("unwatched")
	return unwatched.Apply(ctx, "apiVersion: v1\nkind: Namespace\nmetadata: {name: unwatched}\n---\n"+
		"apiVersion: groupgate.io/v1alpha1\nkind: AccountList\nmetadata: {name: vip}\nspec: {accounts: [jared]}\n---\n"+
		"apiVersion: groupgate.io/v1alpha1\nkind: PruneRun\nmetadata: {name: waiting}\n"+
		"spec: {appRef: {name: prod}, groupID: asked, trigger: Manual}\n")
})
