package lint

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/policy"
)

// checkObjects reports what the operator would say about the objects that the API server would take, and what only all
// of them together show.
func (c *checking) checkObjects() {
	compiled := c.Objects.Compile()
	for i := range c.Objects.Apps {
		app := &c.Objects.Apps[i]
		at := c.places["IMApp "+app.Namespace+"/"+app.Name]
		if v, ok := compiled.AppVerdict(app.Namespace, app.Name, string(app.UID)); ok {
			conditions := convert.AppConditions(v, app)
			c.addConditions(at, conditions, v1alpha1.ConditionAccepted, v1alpha1.ConditionWarning)
		}
		c.checkSecret(at, app)
	}
	for i := range c.Objects.Lists {
		list := &c.Objects.Lists[i]
		at := c.places["AccountList "+list.Namespace+"/"+list.Name]
		if v, ok := compiled.ListVerdict(list.Namespace, list.Name, string(list.UID)); ok {
			c.addConditions(at, convert.ListConditions(v, list), v1alpha1.ConditionWarning)
		}
		c.checkRepeated(at, "spec.accounts", list.Spec.Accounts)
	}
	gates, evicting := map[gate][]*v1alpha1.GroupPolicy{}, map[gate][]*v1alpha1.GroupPolicy{}
	for i := range c.Objects.Policies {
		p := &c.Objects.Policies[i]
		at := c.places["GroupPolicy "+p.Namespace+"/"+p.Name]
		if v, ok := compiled.PolicyVerdict(p.Namespace, p.Name, string(p.UID)); ok {
			c.addConditions(at, convert.PolicyConditions(v, p), v1alpha1.ConditionAccepted,
				v1alpha1.ConditionResolvedRefs, v1alpha1.ConditionPruneOverridden, v1alpha1.ConditionWarning)
		}
		c.checkApp(at, p.Namespace, p.Spec.AppRef.Name)
		c.checkMatchers(at, p.Spec.Groups)
		c.checkReject(at, p, gates)
		c.checkEvict(at, p, evicting)
		for _, s := range selectorsOf(p) {
			c.checkSelector(at, s.field, s.AccountSelector)
		}
	}
	for i := range c.Objects.Runs {
		run := &c.Objects.Runs[i]
		at := c.places["PruneRun "+run.Namespace+"/"+run.Name]
		c.checkApp(at, run.Namespace, run.Spec.AppRef.Name)
		app := compiled.AppNamed(run.Namespace, run.Spec.AppRef.Name)
		switch {
		case app == nil:
		case run.Spec.Purpose == v1alpha1.PrunePurposeEvict && !app.MayEvict(run.Spec.GroupID):
			c.add(at, Warning, "spec.groupID", "spec.groupID: no policy among the manifests evicts members of group "+
				"%s: correct the id, or write a policy with join.evict", run.Spec.GroupID)
		case run.Spec.Purpose != v1alpha1.PrunePurposeEvict && !app.MayPrune(run.Spec.GroupID):
			c.add(at, Warning, "spec.groupID", "spec.groupID: no policy among the manifests prunes group %s: "+
				"correct the id, or write a policy with whenFull", run.Spec.GroupID)
		}
	}
}

// addConditions reports those of the conditions that say that something is wrong. An object that is not accepted is an
// error.
func (c *checking) addConditions(at place, conditions []metav1.Condition, types ...string) {
	for _, name := range types {
		condition := apimeta.FindStatusCondition(conditions, name)
		healthy := metav1.ConditionTrue
		if name == v1alpha1.ConditionWarning || name == v1alpha1.ConditionPruneOverridden {
			healthy = metav1.ConditionFalse
		}
		switch {
		case condition == nil || condition.Status == healthy:
		case name == v1alpha1.ConditionAccepted:
			c.add(at, Error, "", "%s", condition.Message)
		case name == v1alpha1.ConditionPruneOverridden:
			c.add(at, Warning, "spec.groups", "%s Of two policies with the same matcher the older one ranks higher "+
				"in a cluster; files have no age, so that here they rank by name.", condition.Message)
		default:
			c.add(at, Warning, "", "%s", condition.Message)
		}
	}
}

// checkSecret reports what a Secret among the manifests lacks. That there is none is no problem: Secrets should not be
// in a repository.
func (c *checking) checkSecret(at place, app *v1alpha1.IMApp) {
	data, ok := c.secrets[app.Namespace+"/"+app.Spec.CredentialsSecretRef.Name]
	if !ok {
		return
	}
	withSecret := policy.Compile(policy.Input{Apps: []policy.App{convert.App(app, data)}})
	if v, ok := withSecret.AppVerdict(app.Namespace, app.Name, string(app.UID)); ok {
		c.addConditions(at, convert.AppConditions(v, app), v1alpha1.ConditionResolvedRefs)
	}
}

func (c *checking) checkApp(at place, namespace, name string) {
	if _, ok := c.places["IMApp "+namespace+"/"+name]; !ok {
		c.add(at, Warning, "spec.appRef.name",
			"spec.appRef.name: there is no IMApp %s in namespace %s among the manifests: "+
				"correct the name, or test the manifest of the IMApp as well", strconv.Quote(name), namespace)
	}
}

// checkMatchers reports matchers that the policy has twice.
func (c *checking) checkMatchers(at place, matchers []v1alpha1.GroupMatcher) {
	for i, m := range matchers {
		if first := slices.Index(matchers[:i], m); first >= 0 {
			field := fmt.Sprintf("spec.groups[%d]", i)
			c.add(at, Warning, field, "%s is the same as spec.groups[%d]: remove it", field, first)
		}
	}
}

// selector is one of a policy, with the path of its field.
type selector struct {
	field string
	*v1alpha1.AccountSelector
}

func selectorsOf(p *v1alpha1.GroupPolicy) (selectors []selector) {
	if join := p.Spec.Join; join != nil {
		selectors = append(selectors, selector{"spec.join.allow", join.Allow}, selector{"spec.join.deny", join.Deny})
	}
	if full := p.Spec.WhenFull; full != nil && full.Prune != nil {
		selectors = append(selectors, selector{"spec.whenFull.prune.protect", full.Prune.Protect})
	}
	return selectors
}

func (c *checking) checkSelector(at place, field string, selector *v1alpha1.AccountSelector) {
	if selector == nil {
		return
	}
	for _, ids := range []struct {
		field string
		names []string
	}{{field + ".accounts", selector.Accounts}, {field + ".accountPrefixes", selector.AccountPrefixes}} {
		c.checkRepeated(at, ids.field, ids.names)
		i := slices.IndexFunc(ids.names, func(name string) bool { return strings.HasSuffix(name, "*") })
		if i >= 0 {
			field := fmt.Sprintf("%s[%d]", ids.field, i)
			c.add(at, Warning, field, "%s: the * in %q stands for itself: to name the accounts that begin with what "+
				"is before it, use accountPrefixes without the *", field, ids.names[i])
		}
	}
}

// checkRepeated reports the first id that comes twice, and counts the others.
func (c *checking) checkRepeated(at place, field string, ids []string) {
	seen := make(map[string]struct{}, len(ids))
	first, more := -1, 0
	for i, id := range ids {
		if _, twice := seen[id]; twice {
			if first < 0 {
				first = i
			} else {
				more++
			}
		}
		seen[id] = struct{}{}
	}
	if first < 0 {
		return
	}
	message := fmt.Sprintf("%s[%d] %q is there before", field, first, ids[first])
	if more > 0 {
		message += fmt.Sprintf(", and so are %d others", more)
	}
	c.add(at, Warning, fmt.Sprintf("%s[%d]", field, first), "%s: remove what is repeated", message)
}
