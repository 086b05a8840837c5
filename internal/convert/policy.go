package convert

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/policy"
)

// What a field stands for when it is absent; the schema writes the same values into new objects.
const (
	defaultFreeSeatsPercent  = 5
	defaultMaxRemovals       = 100
	defaultMaxRemovalsPerDay = 1000
	defaultCooldown          = 10 * time.Minute
	defaultGrace             = 10 * time.Minute
	defaultInterval          = 24 * time.Hour

	// never is the inactivity of a rule whose own cannot be read: no member has been silent for 292 years.
	never = time.Duration(math.MaxInt64)
)

// problems collects what is wrong with an object, bounded, since a condition's message is.
type problems struct {
	texts []string
	more  int
}

const mostProblems = 5

func (p *problems) add(field, format string, args ...any) {
	if len(p.texts) == mostProblems {
		p.more++
		return
	}
	p.texts = append(p.texts, field+": "+fmt.Sprintf(format, args...))
}

func (p *problems) String() string {
	if p.more > 0 {
		return strings.Join(p.texts, "; ") + "; and " + strconv.Itoa(p.more) + " more"
	}
	return strings.Join(p.texts, "; ")
}

// Policy converts a GroupPolicy. What cannot be read is named in Invalid of the policy or of the selector it stands in.
func Policy(p *v1alpha1.GroupPolicy) policy.Policy {
	var wrong problems
	converted := policy.Policy{
		Object: object(p),
		App:    p.Spec.AppRef.Name,
		Groups: groupMatchers(p.Spec.Groups, &wrong),
		Types:  groupTypes(p.Spec.GroupTypes, &wrong),
		Join:   joinSection(p.Spec.Join, &wrong),
	}
	if p.Spec.WhenFull != nil {
		converted.Prune = pruneRule(p.Spec.WhenFull.Prune, &wrong)
	}
	if converted.Prune != nil && converted.Join != nil {
		converted.Prune.Reject = converted.Join.Reject
	}
	converted.Invalid = wrong.String()
	return converted
}

// HasReferences says whether the policy refers to AccountLists, and so has something to resolve.
func HasReferences(p *v1alpha1.GroupPolicy) bool {
	refers := func(s *v1alpha1.AccountSelector) bool { return s != nil && len(s.Lists) > 0 }
	if join := p.Spec.Join; join != nil && (refers(join.Allow) || refers(join.Deny)) {
		return true
	}
	whenFull := p.Spec.WhenFull
	return whenFull != nil && whenFull.Prune != nil && refers(whenFull.Prune.Protect)
}

// groupMatchers leaves out a matcher that cannot be read: taken for a wider one it would govern groups nobody meant.
func groupMatchers(matchers []v1alpha1.GroupMatcher, wrong *problems) []policy.GroupMatcher {
	converted := make([]policy.GroupMatcher, 0, len(matchers))
	for i, m := range matchers {
		field := fmt.Sprintf("groups[%d]", i)
		kind := policy.MatchExact
		switch m.Type {
		case v1alpha1.GroupMatcherExact, "":
		case v1alpha1.GroupMatcherPrefix:
			kind = policy.MatchPrefix
		case v1alpha1.GroupMatcherAll:
			kind = policy.MatchAll
		default:
			wrong.add(field+".type", "%q is not known: use Exact, Prefix or All", m.Type)
			continue
		}
		if kind == policy.MatchAll && m.Value != "" {
			wrong.add(field+".value", "remove it, a matcher of type All takes no value")
			continue
		}
		if kind != policy.MatchAll && m.Value == "" {
			wrong.add(field+".value",
				"set it to a group id, or the beginning of one; to match every group use type All")
			continue
		}
		converted = append(converted, policy.GroupMatcher{Kind: kind, Value: m.Value})
	}
	return converted
}

func groupTypes(types []v1alpha1.GroupType, wrong *problems) policy.TypeSet {
	var known []policy.GroupType
	for i, name := range types {
		t := policy.ParseGroupType(string(name))
		if t == policy.TypeUnknown {
			wrong.add(fmt.Sprintf("groupTypes[%d]", i),
				"%q is not known: use Work, Public, Meeting, AVChatRoom or Community", name)
			continue
		}
		known = append(known, t)
	}
	return policy.NewTypeSet(known...)
}

func joinSection(join *v1alpha1.JoinSection, wrong *problems) *policy.JoinSection {
	if join == nil {
		return nil
	}
	if !isOrDefault(join.Mode, v1alpha1.JoinModeEnforce) && join.Mode != v1alpha1.JoinModeAudit {
		wrong.add("join.mode", "%q is not known: use Enforce or Audit", join.Mode)
	}
	return &policy.JoinSection{
		Audit:    join.Mode == v1alpha1.JoinModeAudit,
		Triggers: triggers(join.Triggers, wrong),
		Allow:    accountSelector(join.Allow),
		Deny:     accountSelector(join.Deny),
		Reject:   rejection(join.Reject, wrong),
		Evict:    evictRule(join.Evict, wrong),
	}
}

func evictRule(rule *v1alpha1.EvictRule, wrong *problems) *policy.EvictRule {
	if rule == nil {
		return nil
	}
	const field = "join.evict"
	return &policy.EvictRule{
		Mode:              pruneMode(rule.Mode, field+".mode", wrong),
		Grace:             durationOr(defaultGrace, rule.Grace, field+".grace", wrong),
		Interval:          durationOr(defaultInterval, rule.Interval, field+".interval", wrong),
		MaxRemovals:       cmp.Or(int(rule.MaxRemovals), defaultMaxRemovals),
		MaxRemovalsPerDay: cmp.Or(int(rule.MaxRemovalsPerDay), defaultMaxRemovalsPerDay),
		Silent:            rule.Notification == v1alpha1.NotificationSilent,
		Reason:            rule.Reason,
	}
}

func triggers(names []v1alpha1.JoinTrigger, wrong *problems) policy.TriggerSet {
	var known []policy.Trigger
	for i, name := range names {
		switch name {
		case v1alpha1.JoinTriggerApply:
			known = append(known, policy.TriggerApply)
		case v1alpha1.JoinTriggerInvite:
			known = append(known, policy.TriggerInvite)
		case v1alpha1.JoinTriggerRESTAPI:
			known = append(known, policy.TriggerRESTAPI)
		default:
			wrong.add(fmt.Sprintf("join.triggers[%d]", i), "%q is not known: use Apply, Invite or RESTAPI", name)
		}
	}
	return policy.NewTriggerSet(known...)
}

func rejection(r *v1alpha1.Rejection, wrong *problems) policy.Rejection {
	if r == nil || r.Code == nil {
		return policy.Rejection{}
	}
	if *r.Code == 0 { // package policy takes 0 for a code that is not set
		wrong.add("join.reject.code", "0 does not reach the client: use another number, or remove it")
	}
	return policy.Rejection{Code: *r.Code, Message: r.Message}
}

func pruneRule(rule *v1alpha1.PruneRule, wrong *problems) *policy.PruneRule {
	if rule == nil {
		return nil
	}
	const field = "whenFull.prune"
	return &policy.PruneRule{
		Mode:              pruneMode(rule.Mode, field+".mode", wrong),
		InactiveFor:       inactiveFor(rule.InactiveFor, field+".inactiveFor", wrong),
		FreeSeats:         freeSeats(rule.FreeSeats, field+".freeSeats", wrong),
		MaxRemovals:       cmp.Or(int(rule.MaxRemovals), defaultMaxRemovals),
		MaxRemovalsPerDay: cmp.Or(int(rule.MaxRemovalsPerDay), defaultMaxRemovalsPerDay),
		Protect:           accountSelector(rule.Protect),
		Cooldown:          durationOr(defaultCooldown, rule.Cooldown, field+".cooldown", wrong),
		RejoinAfter:       rejoinAfter(rule.RejoinAfter, field+".rejoinAfter", wrong),
		Silent:            rule.Notification == v1alpha1.NotificationSilent,
		Reason:            rule.Reason,
	}
}

func pruneMode(mode v1alpha1.PruneMode, field string, wrong *problems) policy.PruneMode {
	switch mode {
	case v1alpha1.PruneModePreview:
	case v1alpha1.PruneModeApprove:
		return policy.ModeApprove
	case v1alpha1.PruneModeEnforce:
		return policy.ModeEnforce
	default:
		wrong.add(field, "%q is not known: use Preview, Approve or Enforce", mode)
	}
	return policy.ModePreview
}

// durationOr also returns absent for a text that cannot be read.
func durationOr(absent time.Duration, text, field string, wrong *problems) time.Duration {
	if text == "" {
		return absent
	}
	d, err := ParseDuration(text)
	if err != nil {
		wrong.add(field, "%v", err)
		return absent
	}
	return d
}

func rejoinAfter(text, field string, wrong *problems) time.Duration {
	if text == "" {
		return 0
	}
	d, err := parsePreciseDuration(text)
	if err != nil {
		wrong.add(field, "%v", err)
		return 0
	}
	return d
}

func inactiveFor(text, field string, wrong *problems) time.Duration {
	d, err := ParseDuration(text)
	switch {
	case err != nil:
		wrong.add(field, "%v", err)
	case strings.Contains(text, "m"):
		wrong.add(field, "%q has minutes: use days and hours, such as 30d or 1d12h", text)
	default:
		return d
	}
	return never
}

func freeSeats(value *intstr.IntOrString, field string, wrong *problems) policy.Seats {
	if value == nil {
		return policy.Seats{Percent: defaultFreeSeatsPercent}
	}
	if value.Type == intstr.Int {
		return policy.Seats{Count: int(value.IntVal)}
	}
	if digits, ok := strings.CutSuffix(value.StrVal, "%"); ok {
		if percent, err := strconv.Atoi(digits); err == nil {
			return policy.Seats{Percent: percent}
		}
	}
	wrong.add(field, "%q is not a number of seats: use a number, or a percentage such as \"5%%\"", value.String())
	return policy.Seats{Count: 1}
}

// accountSelector names fields relative to the selector; the compiler knows where that stands.
func accountSelector(s *v1alpha1.AccountSelector) *policy.AccountSelector {
	if s == nil {
		return nil
	}
	var wrong problems
	converted := &policy.AccountSelector{Accounts: s.Accounts, Prefixes: s.AccountPrefixes}
	for i := range s.Lists {
		ref, err := listRef(&s.Lists[i])
		if err != nil {
			wrong.add(fmt.Sprintf("lists[%d]", i), "%v", err)
			continue
		}
		converted.Lists = append(converted.Lists, ref)
	}
	converted.Invalid = wrong.String()
	return converted
}

func listRef(ref *v1alpha1.AccountListReference) (policy.ListRef, error) {
	if (ref.Name == "") == (ref.Selector == nil) {
		return policy.ListRef{}, errors.New("set exactly one of name and selector")
	}
	if ref.Selector == nil {
		return policy.ListRef{Name: ref.Name}, nil
	}
	// This is also the validation: the schema knows neither the form of label keys and values nor the operators.
	selector, err := metav1.LabelSelectorAsSelector(ref.Selector)
	if err != nil {
		return policy.ListRef{}, fmt.Errorf("correct the selector: %w", err)
	}
	requirements, _ := selector.Requirements()
	converted := make(policy.Selector, 0, len(requirements))
	for _, r := range requirements {
		operator, err := operatorOf(r.Operator())
		if err != nil {
			return policy.ListRef{}, err
		}
		converted = append(converted, policy.Requirement{Key: r.Key(), Op: operator, Values: r.Values().List()})
	}
	// Requirements on one label come in the order of a map, which no two replicas share.
	slices.SortFunc(converted, func(a, b policy.Requirement) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Op, b.Op), slices.Compare(a.Values, b.Values))
	})
	return policy.ListRef{Selector: &converted}, nil
}

func operatorOf(op selection.Operator) (policy.Operator, error) {
	switch op {
	case selection.In, selection.Equals, selection.DoubleEquals:
		return policy.OpIn, nil
	case selection.NotIn, selection.NotEquals:
		return policy.OpNotIn, nil
	case selection.Exists:
		return policy.OpExists, nil
	case selection.DoesNotExist:
		return policy.OpDoesNotExist, nil
	default:
		return "", fmt.Errorf("operator %q is not known: use In, NotIn, Exists or DoesNotExist", op)
	}
}
