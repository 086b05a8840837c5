package policy

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// compilerWorld is a compiler that lives through random edits, and the world that it was told of.
type compilerWorld struct {
	compiler Compiler
	queries  []JoinQuery
	apps     map[string]App
	lists    map[string]List
	policies map[string]Policy
	records  map[string]Refusal
	edits    int64
	// published are the snapshots so far, and said what each of them said when it was new.
	published []*Snapshot
	said      [][]string
}

// TestBuildAfterEditsEqualsAColdBuild compares a compiler after random edits with one that gets the last objects only.
func TestBuildAfterEditsEqualsAColdBuild(t *testing.T) {
	queries := allQueries()
	rapid.Check(t, func(t *rapid.T) {
		w := &compilerWorld{
			queries: queries, apps: map[string]App{}, lists: map[string]List{}, policies: map[string]Policy{},
			records: map[string]Refusal{},
		}
		t.Repeat(map[string]func(*rapid.T){
			"SetApp":        w.setApp,
			"RotateToken":   w.rotateToken,
			"DeleteApp":     w.deleteApp,
			"SetList":       w.setList,
			"EditList":      w.editList,
			"LabelList":     w.labelList,
			"DeleteList":    w.deleteList,
			"SetPolicy":     w.setPolicy,
			"EditPolicy":    w.editPolicy,
			"DeletePolicy":  w.deletePolicy,
			"SetRefusal":    w.setRecord,
			"DeleteRefusal": w.deleteRecord,
			"Restart":       w.restart,
			"Build":         w.build,
			"BuildAgain":    w.build,
			"":              func(*rapid.T) {},
		})
		w.build(t)
		for i, s := range w.published {
			if diff := cmp.Diff(w.said[i], dump(s, w.queries)); diff != "" {
				t.Fatalf("later builds changed snapshot %d of %d (-want,+got):\n%s", i, len(w.published), diff)
			}
		}
	})
}

func (w *compilerWorld) build(t *rapid.T) {
	in := Input{
		Apps: slices.Collect(maps.Values(w.apps)), Lists: slices.Collect(maps.Values(w.lists)),
		Policies: slices.Collect(maps.Values(w.policies)), Refusals: slices.Collect(maps.Values(w.records)),
	}
	cold, got := Compile(in), w.compiler.Build()
	want := dump(cold, w.queries)
	if diff := cmp.Diff(want, dump(got, w.queries)); diff != "" {
		t.Fatalf("a build after edits is not a cold one (-want,+got):\n%s", diff)
	}
	if cold.RulesHash() != got.RulesHash() {
		t.Fatalf("rules hash %x, cold %x", got.RulesHash(), cold.RulesHash())
	}
	w.checkSince(t, got)
	w.published, w.said = append(w.published, got), append(w.said, want)
}

// checkSince checks that the verdicts that are told to be new are at least those that differ from the snapshot before.
func (w *compilerWorld) checkSince(t *rapid.T, now *Snapshot) {
	var before *Snapshot
	if len(w.published) > 0 {
		before = w.published[len(w.published)-1]
	}
	told := map[PolicyVerdict]bool{}
	for v := range now.PolicyVerdictsSince(before) {
		told[v] = true
	}
	for v := range now.PolicyVerdicts() {
		old, known := before.orEmpty().PolicyVerdict(v.Namespace, v.Name, v.UID)
		if (!known || old != v) && !told[v] {
			t.Fatalf("nobody is told of %+v, before %+v", v, old)
		}
	}
}

// made gives an object a UID and a generation of its own.
func (w *compilerWorld) made(o *Object) {
	w.edits++
	o.UID, o.Generation = fmt.Sprint(o.Key(), "-", w.edits), w.edits
}

// one draws one of the objects that there are.
func one[V any](t *rapid.T, objects map[string]V) V {
	if len(objects) == 0 {
		t.Skip("there is none")
	}
	return objects[rapid.SampledFrom(slices.Sorted(maps.Keys(objects))).Draw(t, "object")]
}

func (w *compilerWorld) setApp(t *rapid.T) {
	a := drawApp(t)
	w.made(&a.Object)
	w.apps[a.Key()] = a
	w.compiler.SetApp(a)
}

func (w *compilerWorld) rotateToken(t *rapid.T) { // without a new generation
	a := one(t, w.apps)
	a.Tokens = []Token{{Name: TokenCurrent, Value: Secret(rapid.SampledFrom([]string{"", "u"}).Draw(t, "token"))}}
	w.apps[a.Key()] = a
	w.compiler.SetApp(a)
}

func (w *compilerWorld) deleteApp(t *rapid.T) {
	o := drawObject(t, someApps)
	delete(w.apps, o.Key())
	w.compiler.DeleteApp(o.Namespace, o.Name)
}

func (w *compilerWorld) setList(t *rapid.T) {
	l := drawList(t)
	w.made(&l.Object)
	w.lists[l.Key()] = l
	w.compiler.SetList(l)
}

func (w *compilerWorld) editList(t *rapid.T) {
	l := one(t, w.lists)
	w.edits++
	l.Accounts, l.Generation = drawList(t).Accounts, w.edits
	w.lists[l.Key()] = l
	w.compiler.SetList(l)
}

func (w *compilerWorld) labelList(t *rapid.T) { // without a new generation
	l := one(t, w.lists)
	l.Labels = drawList(t).Labels
	w.lists[l.Key()] = l
	w.compiler.SetList(l)
}

func (w *compilerWorld) deleteList(t *rapid.T) {
	o := drawObject(t, someLists)
	delete(w.lists, o.Key())
	w.compiler.DeleteList(o.Namespace, o.Name)
}

func (w *compilerWorld) setPolicy(t *rapid.T) {
	for _, p := range rapid.SliceOfN(rapid.Custom(drawPolicy), 1, 4).Draw(t, "policies") {
		w.made(&p.Object)
		w.policies[p.Key()] = p
		w.compiler.SetPolicy(p)
	}
}

func (w *compilerWorld) editPolicy(t *rapid.T) {
	before, p := one(t, w.policies), drawPolicy(t)
	w.edits++
	p.Object = before.Object
	p.Generation = w.edits
	w.policies[p.Key()] = p
	w.compiler.SetPolicy(p)
}

func (w *compilerWorld) deletePolicy(t *rapid.T) {
	o := drawObject(t, someNames)
	delete(w.policies, o.Key())
	w.compiler.DeletePolicy(o.Namespace, o.Name)
}

func (w *compilerWorld) setRecord(t *rapid.T) {
	r := drawRecord(t)
	w.records[r.UID] = r
	w.compiler.SetRefusal(r)
}

func (w *compilerWorld) deleteRecord(t *rapid.T) {
	uid := drawRecord(t).UID
	delete(w.records, uid)
	w.compiler.DeleteRefusal(uid)
}

// restart goes on with a compiler that has not seen the past; the next snapshot is compared with one of the old
// compiler.
func (w *compilerWorld) restart(*rapid.T) {
	w.compiler = Compiler{}
	for _, a := range w.apps {
		w.compiler.SetApp(a)
	}
	for _, l := range w.lists {
		w.compiler.SetList(l)
	}
	for _, p := range w.policies {
		w.compiler.SetPolicy(p)
	}
	for _, r := range w.records {
		w.compiler.SetRefusal(r)
	}
}

// TestOverridesFollowOtherPolicies edits and deletes the policy that takes the place of another one's rule. Nothing
// happens to that one itself.
func TestOverridesFollowOtherPolicies(t *testing.T) {
	var c Compiler
	c.compile(world(policyNamed("younger", 2, on(exact("h"), prefix("g")), prune())))
	older := func(edit ...func(*Policy)) Policy { return policyNamed("older", 1, edit...) }
	for _, step := range []struct {
		name string
		edit func()
		want string
	}{
		{"it comes", func() { c.SetPolicy(older(on(prefix("g")), prune())) }, `older Prefix "g"`},
		{"it leaves the group", func() { c.SetPolicy(older(on(prefix("f")), prune())) }, " "},
		{"it names another group", func() { c.SetPolicy(older(on(exact("h")), prune())) }, `older Exact "h"`},
		{"it says nothing about full groups", func() { c.SetPolicy(older(on(exact("h")), joining())) }, " "},
		{"it does again", func() { c.SetPolicy(older(on(exact("h")), prune())) }, `older Exact "h"`},
		{"it is for some types only", func() { c.SetPolicy(older(on(exact("h")), ofTypes(TypeWork), prune())) }, " "},
		{"it names both", func() { c.SetPolicy(older(on(prefix("g"), exact("h")), prune())) }, `older Exact "h"`},
		{
			"it names another app",
			func() { c.SetPolicy(older(on(exact("h")), prune(), func(p *Policy) { p.App = "test" })) }, " ",
		},
		{"it comes back", func() { c.SetPolicy(older(on(exact("h")), prune())) }, `older Exact "h"`},
		{"it goes", func() { c.DeletePolicy("chat", "older") }, " "},
	} {
		step.edit()
		v, _ := c.Build().PolicyVerdict("chat", "younger", "uid-younger")
		if got := v.OverriddenBy + " " + v.OverriddenMatcher; got != step.want {
			t.Errorf("%s: overridden by %q, want %q", step.name, got, step.want)
		}
	}
}
