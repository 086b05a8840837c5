package convert

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// warning is something that an object does otherwise than it seems to say. The policies of config/admission warn of the
// same when an object is applied.
type warning struct{ reason, message string }

// withWarning adds Warning, with the reason of the first warning and the messages of all of them.
func withWarning(conditions []metav1.Condition, generation int64, warnings ...warning) []metav1.Condition {
	warnings = slices.DeleteFunc(warnings, func(w warning) bool { return w.message == "" })
	if len(warnings) == 0 {
		return conditions
	}
	messages := make([]string, len(warnings))
	for i, w := range warnings {
		messages[i] = w.message
	}
	condition := yes(v1alpha1.ConditionWarning, warnings[0].reason, strings.Join(messages, " "))
	condition.ObservedGeneration = generation
	return append(conditions, condition)
}

func notAuthenticated(app *v1alpha1.IMApp) warning {
	w := warning{reason: v1alpha1.ReasonNotAuthenticated}
	if app.Spec.CallbackAuthentication == v1alpha1.CallbackAuthenticationNone {
		w.message = "callbackAuthentication is None: every sender that knows the URL and the SDKAppID is believed. " +
			"Set it to Token."
	}
	return w
}

// noGate also reports an allow that was written without a value: null counts as absent, and is never stored. A section
// with only a reject answers accounts that a run removed; the schema makes sure that there are some.
func noGate(p *v1alpha1.GroupPolicy) warning {
	w := warning{reason: v1alpha1.ReasonNoGate}
	if join := p.Spec.Join; join != nil && join.Allow == nil && join.Deny == nil && join.Reject == nil {
		w.message = "join has neither allow nor deny, so that it admits every account that no other policy denies. " +
			"An allow with nothing after it counts as absent: to admit nobody, write allow: {}."
	}
	return w
}

func literalAsterisk(p *v1alpha1.GroupPolicy) warning {
	w := warning{reason: v1alpha1.ReasonLiteralAsterisk}
	for i, m := range p.Spec.Groups {
		if strings.Contains(m.Value, "*") {
			w.message = fmt.Sprintf("The * in groups[%d].value %s stands for itself: "+
				"to match the groups whose id begins with what is before it, use type Prefix without the *.",
				i, strconv.Quote(m.Value))
			break
		}
	}
	return w
}

func smallerBudget(p *v1alpha1.GroupPolicy) warning {
	var found []string
	add := func(field string, perRun, perDay int) {
		if perRun > perDay {
			found = append(found, fmt.Sprintf(
				"%[1]smaxRemovals (%[2]d) is above %[1]smaxRemovalsPerDay (%[3]d), the smaller of which governs.",
				field, perRun, perDay))
		}
	}
	var ignored problems
	if p.Spec.WhenFull != nil && p.Spec.WhenFull.Prune != nil {
		rule := pruneRule(p.Spec.WhenFull.Prune, &ignored)
		add("", rule.MaxRemovals, rule.MaxRemovalsPerDay)
	}
	if p.Spec.Join != nil && p.Spec.Join.Evict != nil {
		rule := evictRule(p.Spec.Join.Evict, &ignored)
		add("evict.", rule.MaxRemovals, rule.MaxRemovalsPerDay)
	}
	return warning{reason: v1alpha1.ReasonSmallerBudget, message: strings.Join(found, " ")}
}

func suspiciousInPolicy(p *v1alpha1.GroupPolicy) warning {
	var found []string
	add := func(field string, selector *v1alpha1.AccountSelector) {
		if selector == nil {
			return
		}
		found = append(found, suspicious(field+".accounts", slices.Values(selector.Accounts))...)
		found = append(found, suspicious(field+".accountPrefixes", slices.Values(selector.AccountPrefixes))...)
	}
	if join := p.Spec.Join; join != nil {
		add("join.allow", join.Allow)
		add("join.deny", join.Deny)
	}
	if whenFull := p.Spec.WhenFull; whenFull != nil && whenFull.Prune != nil {
		add("whenFull.prune.protect", whenFull.Prune.Protect)
	}
	return suspiciousCharacters(found)
}

func suspiciousInList(list *v1alpha1.AccountList) warning {
	return suspiciousCharacters(suspicious("accounts", accountsOf(list).All()))
}

func suspiciousCharacters(found []string) warning {
	w := warning{reason: v1alpha1.ReasonSuspiciousCharacters}
	if len(found) > 0 {
		w.message = "Blanks at the ends, or characters that cannot be seen, count like any others, " +
			"since accounts are compared byte for byte: " + strings.Join(found, "; ") + "."
	}
	return w
}

// suspicious names the least of the names that look mistyped, and counts the others: a packed list has no order.
func suspicious(field string, names func(func(string) bool)) []string {
	least, count := "", 0
	for name := range names {
		if !LooksMistyped(name) {
			continue
		}
		if count++; count == 1 || name < least {
			least = name
		}
	}
	switch count {
	case 0:
		return nil
	case 1:
		return []string{field + " has " + strconv.QuoteToASCII(least)}
	}
	return []string{fmt.Sprintf("%s has %s and %d more", field, strconv.QuoteToASCII(least), count-1)}
}

// LooksMistyped reports whether name begins or ends with a blank, or contains a character that cannot be seen. A plain
// blank in the middle is neither.
func LooksMistyped(name string) bool {
	if strings.HasPrefix(name, " ") || strings.HasSuffix(name, " ") {
		return true
	}
	return strings.ContainsFunc(name, func(r rune) bool {
		// Nearly all are ASCII, and a list has up to 20,000 names.
		visible := r >= ' ' && r <= '~'
		return !visible && unicode.In(r, unicode.Z, unicode.C)
	})
}
