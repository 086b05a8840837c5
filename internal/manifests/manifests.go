package manifests

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/accounts"
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/policy"
)

// Objects are those of the four kinds, in no order.
type Objects struct {
	Apps     []v1alpha1.IMApp
	Lists    []v1alpha1.AccountList
	Policies []v1alpha1.GroupPolicy
	Runs     []v1alpha1.PruneRun
	// FromFiles says that they come from files: they have neither status nor age, and Secrets are not known.
	FromFiles bool
}

// Compiled is a snapshot of objects that can also be asked for reasons.
type Compiled struct {
	*policy.Compiler
	*policy.Snapshot
	// Assumed are the IMApps that policies name and that are not among the objects of a folder: they are taken to have
	// every default.
	Assumed []types.NamespacedName

	objects *Objects
}

// Compile compiles the objects. Tokens are not known to it, so that no callback can be authenticated by the snapshot.
func (o *Objects) Compile() *Compiled { return o.CompileNaming(nil) }

// CompileNaming is Compile for questions that name accounts as naming does, which nil leaves as they are. Where those
// names are hashes, no prefix matches them.
func (o *Objects) CompileNaming(naming func(account string) string) *Compiled {
	c := &Compiled{Compiler: new(policy.Compiler), objects: o}
	known := map[types.NamespacedName]bool{}
	for i := range o.Apps {
		app := &o.Apps[i]
		known[types.NamespacedName{Namespace: app.Namespace, Name: app.Name}] = true
		converted := convert.App(app, nil)
		converted.AdminAccount = renamed([]string{converted.AdminAccount}, naming)[0]
		c.SetApp(converted)
	}
	for i := range o.Policies {
		p := &o.Policies[i]
		name := types.NamespacedName{Namespace: p.Namespace, Name: p.Spec.AppRef.Name}
		if o.FromFiles && !known[name] {
			known[name] = true
			c.Assumed = append(c.Assumed, name)
		}
		converted := convert.Policy(p)
		if join := converted.Join; join != nil {
			renameSelector(join.Allow, naming)
			renameSelector(join.Deny, naming)
		}
		c.SetPolicy(converted)
	}
	slices.SortFunc(c.Assumed, func(a, b types.NamespacedName) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	for i, name := range c.Assumed {
		object := policy.Object{Namespace: name.Namespace, Name: name.Name, UID: name.String()}
		c.SetApp(policy.App{Object: object, SDKAppID: ^uint64(i)}) // a number that no IMApp can have
	}
	for i := range o.Lists {
		list := convert.List(&o.Lists[i])
		if naming != nil {
			list.Accounts = accounts.NewSet(renamed(slices.Collect(list.Accounts.All()), naming))
		}
		c.SetList(list)
	}
	for i := range o.Runs {
		if refusal, ok := convert.Refusal(&o.Runs[i]); ok {
			refusal.Accounts = renamed(refusal.Accounts, naming)
			c.SetRefusal(refusal)
		}
	}
	c.Snapshot = c.Build()
	return c
}

func renameSelector(s *policy.AccountSelector, naming func(string) string) {
	if s != nil {
		s.Accounts = renamed(s.Accounts, naming)
	}
}

func renamed(accounts []string, naming func(string) string) []string {
	if naming == nil {
		return accounts
	}
	names := make([]string, len(accounts))
	for i, account := range accounts {
		names[i] = naming(account)
	}
	return names
}

// App returns the IMApp of that name, nil if there is none.
func (o *Objects) App(name policy.Object) *v1alpha1.IMApp {
	i := slices.IndexFunc(o.Apps, func(a v1alpha1.IMApp) bool {
		return a.Namespace == name.Namespace && a.Name == name.Name
	})
	if i < 0 {
		return nil
	}
	return &o.Apps[i]
}

// App returns the app that is meant: the one of that name, "name" or "namespace/name", or the only one if the name is
// empty. It is an error if the app is not accepted, be it by its status: the one that holds its SDKAppID may be in a
// namespace that was not read.
func (c *Compiled) App(name string) (*policy.CompiledApp, error) {
	var names []string
	var found *policy.CompiledApp
	for app := range c.Apps() {
		object := app.Object()
		names = append(names, object.Key())
		if name == "" || name == object.Key() || name == object.Name {
			if found != nil {
				return nil, fmt.Errorf("there are several IMApps: name one of %q with --app", append(names, "..."))
			}
			found = app
		}
	}
	for v := range c.AppVerdicts() {
		if v.HeldBy != "" && (name == v.Key() || name == v.Name) && found == nil {
			return nil, fmt.Errorf("IMApp %s is not accepted: %s holds its SDKAppID", v.Key(), v.HeldBy)
		}
	}
	switch {
	case found != nil:
		if app := c.objects.App(found.Object()); app != nil {
			accepted := apimeta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionAccepted)
			if accepted != nil && accepted.Status == metav1.ConditionFalse {
				return nil, fmt.Errorf("IMApp %s is not accepted: %s", found.Object().Key(), accepted.Message)
			}
		}
		return found, nil
	case len(names) == 0 && len(c.objects.Policies) > 0:
		return nil, fmt.Errorf("there is no IMApp, so that no policy is in force: create IMApp %s in namespace %s",
			c.objects.Policies[0].Spec.AppRef.Name, c.objects.Policies[0].Namespace)
	case len(names) == 0:
		return nil, errors.New("there is neither an IMApp nor a GroupPolicy: " +
			"name another namespace with -n, or all with -A")
	}
	return nil, fmt.Errorf("there is no IMApp %q: name one of %q with --app", name, names)
}

// In returns the objects of one namespace.
func (o *Objects) In(namespace string) *Objects {
	elsewhere := func(object string) bool { return object != namespace }
	return &Objects{
		Apps:      slices.DeleteFunc(o.Apps, func(a v1alpha1.IMApp) bool { return elsewhere(a.Namespace) }),
		Lists:     slices.DeleteFunc(o.Lists, func(l v1alpha1.AccountList) bool { return elsewhere(l.Namespace) }),
		Policies:  slices.DeleteFunc(o.Policies, func(p v1alpha1.GroupPolicy) bool { return elsewhere(p.Namespace) }),
		Runs:      slices.DeleteFunc(o.Runs, func(r v1alpha1.PruneRun) bool { return elsewhere(r.Namespace) }),
		FromFiles: o.FromFiles,
	}
}
