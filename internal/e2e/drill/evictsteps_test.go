package drill

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// callPatience bounds a step: the vendor may hang on its calls, too.
const callPatience = 30 * time.Second

// doGate does a step of the drill of evictions, and reports whether it is one.
func (p runner) doGate(ctx context.Context, s step) bool {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	app, g := p.Rule.App, p.Groups[s.Group]
	im := p.im(app)
	named := func(kind string) (members []map[string]any) {
		for i := range max(1, s.N) {
			members = append(members, map[string]any{"Member_Account": fmt.Sprintf("x%s%d-%d", kind, s.Pick%1000, i)})
		}
		return members
	}
	switch s.Do {
	case doStrangers:
		for i := range s.N {
			_, _ = im.Apply(ctx, g.ID, fmt.Sprintf("xa%d-%d", s.Pick%1000, i))
		}
	case doAddOverAPI:
		_, _ = im.Call(ctx, "add_group_member",
			map[string]any{"GroupId": g.ID, "Silence": 1, "MemberList": named("r")})
	case doMigrate:
		members := named("m")
		now := time.Now()
		for _, m := range members {
			m["JoinTime"] = now.Add(-time.Hour).Unix()
			p.ledger.note(func() {
				account := fmt.Sprint(m["Member_Account"])
				p.ledger.imports = append(p.ledger.imports, arrival{now, app, g.ID, account})
			})
		}
		_, _ = im.Call(ctx, "import_group_member", map[string]any{"GroupId": g.ID, "MemberList": members})
	case doCreate:
		p.createOverAPI(ctx, s)
	case doUnlist:
		p.unlist(ctx, g.ID, s)
	case doListEmpty:
		for name := range p.Accounts {
			p.putShard(name, []string{}, true)
		}
	case doListsGo:
		for name := range p.Accounts {
			p.dropList(name)
		}
	case doShardGoes:
		for _, a := range []*accounts{p.Rule.Gate.Allow, p.Rule.Gate.Deny} {
			if a.shards() > 0 {
				p.dropList(shard(a.List, 0))
			}
		}
	case doRelabel:
		for name, accounts := range p.Accounts {
			p.putShard(name, accounts, false)
		}
	case doListsBack:
		p.putShards()
	case doTypo:
		p.edit(func(r *rule) { r.Gate = r.Gate.misspelt() })
	case doCorrect:
		p.putPolicy(p.Name, p.Rule)
	case doEvict:
		var accounts []string
		if s.N > 0 {
			accounts = p.pick(ctx, g.ID, s)
		}
		p.createEviction(fmt.Sprintf("%s-by-hand-%d", p.Name, s.Pick), app, g.ID, accounts)
	default:
		return false
	}
	return true
}

// createOverAPI makes the first group of the scenario that is to come later and does not exist, with strangers.
func (p runner) createOverAPI(ctx context.Context, s step) {
	for _, g := range p.Groups[len(p.Groups)-p.Later:] {
		if _, err := p.im(p.Rule.App).Group(ctx, g.ID); err == nil {
			continue
		}
		members := []map[string]any{{"Member_Account": "guest"}}
		for i := range 20 {
			members = append(members, map[string]any{"Member_Account": fmt.Sprintf("listed%d", i+4)})
		}
		for i := range s.N {
			members = append(members, map[string]any{"Member_Account": fmt.Sprintf("xc%d-%d", s.Pick%1000, i)})
		}
		_, err := p.im(p.Rule.App).Call(ctx, "create_group", map[string]any{
			"GroupId": g.ID, "Type": g.Type, "Name": "later", "Owner_Account": owner, "MemberList": members,
		})
		if err != nil && ctx.Err() == nil {
			continue // a fault of the vendor
		}
		return
	}
}

// unlist takes members off the lists that admit them, or puts them on one that refuses them.
func (p runner) unlist(ctx context.Context, group string, s step) {
	members := p.pick(ctx, group, s)
	if a := p.Rule.Gate.Allow; a.shards() > 0 {
		for i := range a.Shards {
			name := shard(a.List, i)
			if list := p.list(name); list != nil {
				p.putShard(name, slices.DeleteFunc(slices.Clone(*list),
					func(account string) bool { return slices.Contains(members, account) }), true)
			}
		}
		return
	}
	a := p.Rule.Gate.Deny
	name := shard(a.List, 0)
	if list := p.list(name); list != nil {
		p.putShard(name, append(slices.Clone(*list), members...), true)
	}
}

// putShards makes the lists of the gate what they were at first.
func (p runner) putShards() {
	for name, accounts := range p.Accounts {
		p.putShard(name, accounts, true)
	}
}

// putShard creates or changes one AccountList of the gate. If it is not labelled, no selector picks it.
func (p runner) putShard(name string, listed []string, labelled bool) {
	begin := time.Now()
	l := &v1alpha1.AccountList{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: name}}
	picked := labelled
	for _, a := range []*accounts{p.Rule.Gate.Allow, p.Rule.Gate.Deny} {
		for i := range a.shards() {
			if shard(a.List, i) == name {
				picked = labelled || !a.BySelector
				l.Labels = map[string]string{"list": a.List}
			}
		}
	}
	labels := l.Labels
	if !labelled {
		labels = map[string]string{"list": "another"}
	}
	_, err := controllerutil.CreateOrPatch(p.ctx, p.api, l, func() error {
		l.Labels, l.Spec.Accounts = labels, listed
		return nil
	})
	if err != nil {
		p.violation("put list %s: %v", name, err)
		return
	}
	value := &listed
	if !picked {
		value = nil
	}
	p.ledger.note(func() { line(p.ledger.lists, name).set(begin, time.Now(), value) })
}

func (w *world) createEviction(name, app, group string, accounts []string) {
	run := &v1alpha1.PruneRun{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name},
		Spec: v1alpha1.PruneRunSpec{
			AppRef: v1alpha1.AppReference{Name: app}, GroupID: group, Accounts: accounts,
			Trigger: v1alpha1.PruneTriggerManual, Purpose: v1alpha1.PrunePurposeEvict,
		},
	}
	if err := w.api.Create(w.ctx, run); err != nil {
		w.violation("create run %s: %v", name, err)
	}
}

// prepareGate makes the groups that are there from the beginning, the lists and the policy.
func (p runner) prepareGate() {
	for _, g := range p.Groups[:len(p.Groups)-p.Later] {
		if _, err := p.im(p.Rule.App).CreateGroup(p.ctx, g); err != nil {
			p.violation("%s: make group %q: %v", p.Name, g.ID, err)
		}
		p.silence(g.ID, time.Now(), false)
	}
	p.putShards()
	p.putPolicy(p.Name, p.Rule)
}
