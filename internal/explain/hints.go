package explain

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/manifests"
	"github.com/groupgate/groupgate/internal/policy"
)

// maxHints bounds the hints: a list of a million accounts may hold many that nearly are the account.
const maxHints = 10

// hints says what else is worth knowing about an answer: what is nearly the same as one of the accounts or the group,
// and what makes the answer another one than the callback server's.
func hints(
	objects *manifests.Objects, compiled *manifests.Compiled, app *policy.CompiledApp, group string, accounts ...string,
) []string {
	var found []string
	add := func(format string, args ...any) {
		if hint := fmt.Sprintf(format, args...); len(found) < maxHints && !slices.Contains(found, hint) {
			found = append(found, hint)
		}
	}
	for _, assumed := range compiled.Assumed {
		if assumed.String() == app.Object().Key() {
			add("IMApp %s is not among the files: its unmatchedGroups counts as Allow.", assumed.Name)
		}
	}
	governs := map[string]bool{}
	for object := range app.Governing(group) {
		governs[object.Name] = true
	}
	for i := range objects.Policies {
		p := &objects.Policies[i]
		if p.Namespace != app.Object().Namespace || p.Spec.AppRef.Name != app.Object().Name {
			continue
		}
		if !governs[p.Name] {
			addNearMatcher(add, p, group)
			continue
		}
		if v, ok := compiled.PolicyVerdict(p.Namespace, p.Name, string(p.UID)); ok {
			if v.Message != "" {
				add("GroupPolicy %s is not valid: %s.", p.Name, strings.TrimRight(v.Message, "."))
			}
			if v.MissingRefs != "" {
				add("GroupPolicy %s refers to what is not there: %s. It counts as empty in allow and deny.",
					p.Name, v.MissingRefs)
			}
		}
		if join := convert.Policy(p).Join; join != nil && len(accounts) > 0 {
			addNearAccounts(add, objects, p, "join.allow", join.Allow, accounts)
			addNearAccounts(add, objects, p, "join.deny", join.Deny, accounts)
		}
	}
	if objects.FromFiles {
		addUnranked(add, objects, app, group)
	}
	return found
}

// notAsked says why an app, which may be nil, refuses every callback, as far as its status tells; "" if it does not.
func notAsked(app *v1alpha1.IMApp) string {
	if app == nil || app.Spec.CallbackAuthentication == v1alpha1.CallbackAuthenticationNone {
		return ""
	}
	refs := apimeta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionResolvedRefs)
	switch {
	case refs == nil:
		return ""
	case refs.Reason == v1alpha1.ReasonSecretNotFound:
	case refs.Reason == v1alpha1.ReasonTokenMissing &&
		!strings.Contains(refs.Message, v1alpha1.SecretKeyPreviousCallbackToken): // the message names it if it counts
	default:
		return ""
	}
	return "IMApp " + app.Name + " refuses every callback, so that by default the vendor admits everybody. " +
		strings.TrimRight(refs.Message, ".") + "."
}

// addNearMatcher says that a matcher nearly matches the group.
func addNearMatcher(add func(string, ...any), p *v1alpha1.GroupPolicy, group string) {
	for _, m := range p.Spec.Groups {
		if m.Type == v1alpha1.GroupMatcherAll {
			continue
		}
		near := group
		if m.Type == v1alpha1.GroupMatcherPrefix {
			runes := []rune(group)
			near = string(runes[:min(len(runes), len([]rune(m.Value)))])
		}
		if how := difference(near, m.Value); how != "" {
			add("GroupPolicy %s does not govern the group: its matcher %q differs by %s.", p.Name, m.Value, how)
		}
		if m.Type != v1alpha1.GroupMatcherPrefix && strings.HasSuffix(m.Value, "*") &&
			strings.HasPrefix(group, strings.TrimSuffix(m.Value, "*")) {
			add("GroupPolicy %s does not govern the group: the * of its matcher %q stands for itself; "+
				"use type: Prefix.", p.Name, m.Value)
		}
	}
}

// addNearAccounts says that a selector, or a list that it refers to, names nearly one of the accounts.
func addNearAccounts(
	add func(string, ...any), objects *manifests.Objects, p *v1alpha1.GroupPolicy, field string,
	selector *policy.AccountSelector, accounts []string,
) {
	if selector == nil {
		return
	}
	byKey, longest := map[string]string{}, 0
	for _, account := range accounts {
		byKey[folded(account)], longest = account, max(longest, len(account))
	}
	compare := func(named, where string) {
		if len(named) > 4*longest+16 {
			return
		}
		if account, near := byKey[folded(named)]; near && named != account {
			add("%q differs by %s from %q in %s.", account, difference(account, named), named, where)
		}
	}
	for _, named := range selector.Accounts {
		compare(named, field+".accounts of GroupPolicy "+p.Name)
	}
	for i := range objects.Lists {
		l := &objects.Lists[i]
		if l.Namespace != p.Namespace || !slices.ContainsFunc(selector.Lists, func(ref policy.ListRef) bool {
			return ref.Selector == nil && ref.Name == l.Name || ref.Selector != nil && ref.Selector.Matches(l.Labels)
		}) {
			continue
		}
		for _, named := range l.Spec.Accounts {
			compare(named, "AccountList "+l.Name)
		}
	}
}

// addUnranked says that policies of the files have the same matcher: the older one ranks first, and files have no age.
func addUnranked(add func(string, ...any), objects *manifests.Objects, app *policy.CompiledApp, group string) {
	byMatcher := map[policy.GroupMatcher]string{}
	aged := map[string]bool{}
	for i := range objects.Policies {
		p := &objects.Policies[i]
		aged[p.Namespace+"/"+p.Name] = !p.CreationTimestamp.IsZero()
	}
	for object, matcher := range app.Governing(group) {
		if aged[object.Key()] {
			continue
		}
		if first, twice := byMatcher[matcher]; twice {
			add("GroupPolicies %s and %s have the same matcher: in a cluster the older one ranks first; "+
				"files have no age, so that here they rank by name.", first, object.Name)
			continue
		}
		byMatcher[matcher] = object.Name
	}
}

// difference says by what two ids that look alike differ; "" if they are equal, or differ by more.
func difference(a, b string) string {
	if a == b || folded(a) != folded(b) {
		return ""
	}
	var by []string
	same := func(folds ...func(string) string) bool {
		a, b := a, b
		for _, fold := range folds {
			a, b = fold(a), fold(b)
		}
		return a == b
	}
	if !same(norm.NFC.String, strings.ToLower) {
		by = append(by, "blanks or characters that cannot be seen")
	}
	if !same(visible, strings.ToLower) {
		by = append(by, "Unicode form")
	}
	if !same(visible, norm.NFC.String) {
		by = append(by, "case")
	}
	return strings.Join(by, " and ")
}

// folded is equal for ids that are easily taken for each other.
func folded(id string) string { return strings.ToLower(norm.NFC.String(visible(id))) }

// visible drops what cannot be seen.
func visible(id string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.In(r, unicode.C, unicode.Z) {
			return -1
		}
		return r
	}, id)
}
