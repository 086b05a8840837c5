package convert_test

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/policy"
)

var created = time.Unix(1700000000, 0).UTC()

func meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: "chat", Name: name, UID: "uid", Generation: 3, CreationTimestamp: metav1.Time{Time: created},
	}
}

func identity(name string) policy.Object {
	return policy.Object{Namespace: "chat", Name: name, UID: "uid", Generation: 3, Created: created}
}

func TestParseDuration(t *testing.T) {
	cases := map[string]struct {
		in      string
		want    time.Duration
		wantErr bool
	}{
		"Days":          {in: "30d", want: 30 * 24 * time.Hour},
		"Hours":         {in: "36h", want: 36 * time.Hour},
		"DaysAndHours":  {in: "1d12h", want: 36 * time.Hour},
		"Minutes":       {in: "10m", want: 10 * time.Minute},
		"All":           {in: "1d1h1m", want: 25*time.Hour + time.Minute},
		"Zero":          {in: "0m", want: 0},
		"LeadingZeros":  {in: "007d", want: 7 * 24 * time.Hour},
		"SchemaMaximum": {in: "9999d99999h", want: 9999*24*time.Hour + 99999*time.Hour},
		"Empty":         {in: "", wantErr: true},
		"NoUnit":        {in: "30", wantErr: true},
		"NoNumber":      {in: "d", wantErr: true},
		"Seconds":       {in: "30s", wantErr: true},
		"WrongOrder":    {in: "12h1d", wantErr: true},
		"Twice":         {in: "1d1d", wantErr: true},
		"Negative":      {in: "-1d", wantErr: true},
		"Fraction":      {in: "1.5d", wantErr: true},
		"Space":         {in: "1d 12h", wantErr: true},
		"TooLong":       {in: "106752d", wantErr: true},
		"SumTooLong":    {in: "106751d99999h", wantErr: true},
		"Overflow":      {in: "99999999999999999999d", wantErr: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := convert.ParseDuration(tc.in)
			if (err != nil) != tc.wantErr || got != tc.want {
				t.Errorf("ParseDuration(%q) = %v, %v, want %v, error %t", tc.in, got, err, tc.want, tc.wantErr)
			}
		})
	}
}

func TestCredentials(t *testing.T) {
	cases := map[string]struct{ in, want string }{
		"Plain":              {"token", "token"},
		"Newline":            {"token\n", "token"},
		"WindowsNewline":     {"token\r\n", "token"},
		"TwoNewlines":        {"token\n\n", "token\n"},
		"CarriageReturnOnly": {"token\r", "token\r"},
		"SpaceIsPartOfIt":    {" token ", " token "},
		"OnlyANewline":       {"\n", ""},
		"Empty":              {"", ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := convert.Credentials(map[string][]byte{
				"secretKey": []byte(tc.in), "callbackToken": []byte(tc.in), "previousCallbackToken": []byte(tc.in),
				"other": []byte("x"),
			})
			want := convert.SecretKeys{
				SecretKey: policy.Secret(tc.want), CallbackToken: policy.Secret(tc.want),
				PreviousCallbackToken: policy.Secret(tc.want),
			}
			if got != want {
				t.Errorf("got %q, want %q", got.CallbackToken.Reveal(), tc.want)
			}
		})
	}
	if got := convert.Credentials(nil); got != (convert.SecretKeys{}) {
		t.Error("a Secret that was not found has keys")
	}
}

func TestApp(t *testing.T) {
	full := map[string][]byte{
		"secretKey": []byte("key\n"), "callbackToken": []byte("new\n"), "previousCallbackToken": []byte("old"),
	}
	cases := map[string]struct {
		change func(*v1alpha1.IMAppSpec)
		secret map[string][]byte
		want   func(*policy.App)
	}{
		"Defaults": {secret: full},
		"Written": {
			change: func(s *v1alpha1.IMAppSpec) {
				s.CallbackAuthentication, s.UnmatchedGroups, s.Pruning = v1alpha1.CallbackAuthenticationToken,
					v1alpha1.UnmatchedGroupsAllow, v1alpha1.PruningEnabled
			},
			secret: full,
		},
		"Other": {
			change: func(s *v1alpha1.IMAppSpec) {
				s.CallbackAuthentication, s.UnmatchedGroups, s.Pruning = v1alpha1.CallbackAuthenticationNone,
					v1alpha1.UnmatchedGroupsReject, v1alpha1.PruningSuspended
			},
			secret: full,
			want: func(a *policy.App) {
				a.Authentication, a.RejectUnmatched, a.PruningSuspended = policy.AuthenticateNone, true, true
			},
		},
		"UnknownSwitchesAdmitAndRemoveNobody": {
			change: func(s *v1alpha1.IMAppSpec) {
				s.CallbackAuthentication, s.UnmatchedGroups, s.Pruning = "Later", "Later", "Later"
			},
			secret: full,
			want:   func(a *policy.App) { a.RejectUnmatched, a.PruningSuspended = true, true },
		},
		"NoSecret": {
			want: func(a *policy.App) { a.Tokens, a.SecretFound, a.SecretKeyPresent = nil, false, false },
		},
		"EmptySecret": {
			secret: map[string][]byte{},
			want:   func(a *policy.App) { a.Tokens, a.SecretKeyPresent = nil, false },
		},
		"EmptyTokenIsNone": {
			secret: map[string][]byte{
				"secretKey": []byte("key"), "callbackToken": []byte("\n"), "previousCallbackToken": []byte("old"),
			},
			want: func(a *policy.App) { a.Tokens = a.Tokens[1:] },
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			app := &v1alpha1.IMApp{
				ObjectMeta: meta("prod"), Spec: v1alpha1.IMAppSpec{SDKAppID: 1400000000, AdminAccount: "admin"},
			}
			if tc.change != nil {
				tc.change(&app.Spec)
			}
			want := policy.App{
				Object: identity("prod"), SDKAppID: 1400000000, AdminAccount: "admin",
				Tokens: []policy.Token{
					{Name: policy.TokenCurrent, Value: "new"}, {Name: policy.TokenPrevious, Value: "old"},
				},
				SecretFound: true, SecretKeyPresent: true,
			}
			if tc.want != nil {
				tc.want(&want)
			}
			if diff := cmp.Diff(want, convert.App(app, tc.secret)); diff != "" {
				t.Errorf("App (-want,+got):\n%s", diff)
			}
		})
	}
}

func seats(v intstr.IntOrString) *intstr.IntOrString { return &v }

func TestPolicyAsWritten(t *testing.T) {
	written := &v1alpha1.GroupPolicy{ObjectMeta: meta("lounge"), Spec: v1alpha1.GroupPolicySpec{
		AppRef: v1alpha1.AppReference{Name: "prod"},
		Groups: []v1alpha1.GroupMatcher{
			{Type: v1alpha1.GroupMatcherExact, Value: "@TGS#2J4SZEAEL"},
			{Type: v1alpha1.GroupMatcherPrefix, Value: "vip-"}, {Type: v1alpha1.GroupMatcherAll},
		},
		GroupTypes: []v1alpha1.GroupType{v1alpha1.GroupTypePublic, v1alpha1.GroupTypeCommunity},
		Join: &v1alpha1.JoinSection{
			Mode: v1alpha1.JoinModeAudit,
			Triggers: []v1alpha1.JoinTrigger{
				v1alpha1.JoinTriggerRESTAPI, v1alpha1.JoinTriggerApply, v1alpha1.JoinTriggerInvite,
			},
			Allow: &v1alpha1.AccountSelector{
				Accounts: []string{"jared"}, AccountPrefixes: []string{"staff-"},
				Lists: []v1alpha1.AccountListReference{{Name: "vip-0"}, {Selector: &metav1.LabelSelector{
					MatchLabels: map[string]string{"z": "last", "a": "first"},
					MatchExpressions: []metav1.LabelSelectorRequirement{
						{Key: "b", Operator: metav1.LabelSelectorOpIn, Values: []string{"y", "x"}},
						{Key: "c", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"x"}},
						{Key: "d", Operator: metav1.LabelSelectorOpExists},
						{Key: "e", Operator: metav1.LabelSelectorOpDoesNotExist},
					},
				}}, {Selector: &metav1.LabelSelector{}}},
			},
			Deny:   &v1alpha1.AccountSelector{},
			Reject: &v1alpha1.Rejection{Code: new(int32(10110)), Message: "Members only"},
		},
		WhenFull: &v1alpha1.WhenFullSection{Prune: &v1alpha1.PruneRule{
			Mode: v1alpha1.PruneModeEnforce, InactiveFor: "1d12h", FreeSeats: seats(intstr.FromInt32(50)),
			MaxRemovals: 7, Cooldown: "0m",
			MaxRemovalsPerDay: 1_000_000, RejoinAfter: "29d23h59m60s",
			Protect: &v1alpha1.AccountSelector{Accounts: []string{"ann"}}, Notification: v1alpha1.NotificationSilent,
			Reason: "inactive",
		}},
	}}
	selector := policy.Selector{
		{Key: "a", Op: policy.OpIn, Values: []string{"first"}}, {Key: "b", Op: policy.OpIn, Values: []string{"x", "y"}},
		{Key: "c", Op: policy.OpNotIn, Values: []string{"x"}}, {Key: "d", Op: policy.OpExists, Values: []string{}},
		{Key: "e", Op: policy.OpDoesNotExist, Values: []string{}}, {
			Key: "z", Op: policy.OpIn, Values: []string{"last"},
		},
	}
	want := policy.Policy{
		Object: identity("lounge"), App: "prod",
		Groups: []policy.GroupMatcher{
			{Kind: policy.MatchExact, Value: "@TGS#2J4SZEAEL"}, {Kind: policy.MatchPrefix, Value: "vip-"},
			{Kind: policy.MatchAll},
		},
		Types: policy.NewTypeSet(policy.TypePublic, policy.TypeCommunity),
		Join: &policy.JoinSection{
			Audit:    true,
			Triggers: policy.NewTriggerSet(policy.TriggerApply, policy.TriggerInvite, policy.TriggerRESTAPI),
			Allow: &policy.AccountSelector{
				Accounts: []string{"jared"}, Prefixes: []string{"staff-"},
				Lists: []policy.ListRef{{Name: "vip-0"}, {Selector: &selector}, {Selector: &policy.Selector{}}},
			},
			Deny:   &policy.AccountSelector{},
			Reject: policy.Rejection{Code: 10110, Message: "Members only"},
		},
		Prune: &policy.PruneRule{
			Mode: policy.ModeEnforce, InactiveFor: 36 * time.Hour, FreeSeats: policy.Seats{Count: 50}, MaxRemovals: 7,
			Cooldown:          0,
			MaxRemovalsPerDay: 1_000_000, RejoinAfter: 30 * 24 * time.Hour, Reject: policy.Rejection{
				Code: 10110, Message: "Members only",
			},
			Protect: &policy.AccountSelector{Accounts: []string{"ann"}}, Silent: true, Reason: "inactive",
		},
	}
	for range 20 { // labels are a map
		if diff := cmp.Diff(want, convert.Policy(written)); diff != "" {
			t.Fatalf("Policy (-want,+got):\n%s", diff)
		}
	}
	// Nothing that the rule can say is missing above, Cooldown apart, which is written as its zero.
	rule := reflect.ValueOf(*want.Prune)
	for i := range rule.NumField() {
		if name := rule.Type().Field(i).Name; name != "Cooldown" && rule.Field(i).IsZero() {
			t.Errorf("PruneRule.%s is not tested", name)
		}
	}
}

func TestPruneRule(t *testing.T) {
	cases := map[string]struct {
		mode     v1alpha1.PruneMode
		rejoin   string
		cooldown string
		join     *v1alpha1.JoinSection
		want     policy.PruneRule
	}{
		"Preview": {
			mode: v1alpha1.PruneModePreview,
			want: policy.PruneRule{Mode: policy.ModePreview, Cooldown: 10 * time.Minute},
		},
		"Approve": {
			mode: v1alpha1.PruneModeApprove,
			want: policy.PruneRule{Mode: policy.ModeApprove, Cooldown: 10 * time.Minute},
		},
		"Seconds": {
			mode: v1alpha1.PruneModeEnforce, rejoin: "90s",
			want: policy.PruneRule{Mode: policy.ModeEnforce, Cooldown: 10 * time.Minute, RejoinAfter: 90 * time.Second},
		},
		"Together": {
			mode: v1alpha1.PruneModeEnforce, rejoin: "1d2h3m4s", cooldown: "1h",
			want: policy.PruneRule{
				Mode: policy.ModeEnforce, Cooldown: time.Hour,
				RejoinAfter: 26*time.Hour + 3*time.Minute + 4*time.Second,
			},
		},
		"Zero": {
			mode: v1alpha1.PruneModeEnforce, rejoin: "0s",
			want: policy.PruneRule{Mode: policy.ModeEnforce, Cooldown: 10 * time.Minute},
		},
		"JoinWithoutReject": {
			mode: v1alpha1.PruneModeEnforce, rejoin: "30d", join: &v1alpha1.JoinSection{},
			want: policy.PruneRule{
				Mode: policy.ModeEnforce, Cooldown: 10 * time.Minute, RejoinAfter: 30 * 24 * time.Hour,
			},
		},
		"JoinInAudit": {
			mode: v1alpha1.PruneModeEnforce, join: &v1alpha1.JoinSection{
				Mode: v1alpha1.JoinModeAudit, Reject: &v1alpha1.Rejection{Code: new(int32(10200)), Message: "later"},
			},
			want: policy.PruneRule{
				Mode: policy.ModeEnforce, Cooldown: 10 * time.Minute,
				Reject: policy.Rejection{Code: 10200, Message: "later"},
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			written := &v1alpha1.GroupPolicy{ObjectMeta: meta("lounge"), Spec: v1alpha1.GroupPolicySpec{
				Groups: []v1alpha1.GroupMatcher{{Value: "lounge"}}, Join: tc.join,
				WhenFull: &v1alpha1.WhenFullSection{
					Prune: &v1alpha1.PruneRule{
						Mode: tc.mode, InactiveFor: "30d", RejoinAfter: tc.rejoin, Cooldown: tc.cooldown,
					},
				},
			}}
			tc.want.InactiveFor, tc.want.FreeSeats, tc.want.MaxRemovals, tc.want.MaxRemovalsPerDay = 30*24*time.Hour,
				policy.Seats{Percent: 5}, 100, 1000
			got := convert.Policy(written)
			if got.Invalid != "" {
				t.Errorf("invalid: %s", got.Invalid)
			}
			if diff := cmp.Diff(&tc.want, got.Prune); diff != "" {
				t.Errorf("Prune (-want,+got):\n%s", diff)
			}
		})
	}
}

func TestEvictRule(t *testing.T) {
	cases := map[string]struct {
		in   v1alpha1.EvictRule
		want policy.EvictRule
	}{
		"Defaults": {
			v1alpha1.EvictRule{Mode: v1alpha1.PruneModePreview},
			policy.EvictRule{
				Grace: 10 * time.Minute, Interval: 24 * time.Hour, MaxRemovals: 100, MaxRemovalsPerDay: 1000,
			},
		},
		"Written": {
			v1alpha1.EvictRule{
				Mode: v1alpha1.PruneModeEnforce, Grace: "1d2h3m", Interval: "1h", MaxRemovals: 7, MaxRemovalsPerDay: 8,
				Notification: v1alpha1.NotificationSilent, Reason: "not on the list",
			},
			policy.EvictRule{
				Mode: policy.ModeEnforce, Grace: 26*time.Hour + 3*time.Minute, Interval: time.Hour, MaxRemovals: 7,
				MaxRemovalsPerDay: 8, Silent: true, Reason: "not on the list",
			},
		},
		"NoGrace": {
			v1alpha1.EvictRule{Mode: v1alpha1.PruneModeApprove, Grace: "0m", Notification: v1alpha1.NotificationGroup},
			policy.EvictRule{
				Mode: policy.ModeApprove, Interval: 24 * time.Hour, MaxRemovals: 100, MaxRemovalsPerDay: 1000,
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := convert.Policy(&v1alpha1.GroupPolicy{ObjectMeta: meta("lounge"), Spec: v1alpha1.GroupPolicySpec{
				Groups: []v1alpha1.GroupMatcher{{Value: "lounge"}},
				Join:   &v1alpha1.JoinSection{Deny: &v1alpha1.AccountSelector{}, Evict: &tc.in},
			}})
			if got.Invalid != "" {
				t.Errorf("invalid: %s", got.Invalid)
			}
			if diff := cmp.Diff(&tc.want, got.Join.Evict); diff != "" {
				t.Errorf("Evict (-want,+got):\n%s", diff)
			}
		})
	}
}

// An object from before a field had a default, as it lies in etcd.
func TestPolicyWithoutDefaults(t *testing.T) {
	bare := &v1alpha1.GroupPolicy{ObjectMeta: meta("lounge"), Spec: v1alpha1.GroupPolicySpec{
		AppRef: v1alpha1.AppReference{Name: "prod"},
		Groups: []v1alpha1.GroupMatcher{{Value: "lounge"}},
		Join:   &v1alpha1.JoinSection{},
		WhenFull: &v1alpha1.WhenFullSection{
			Prune: &v1alpha1.PruneRule{Mode: v1alpha1.PruneModePreview, InactiveFor: "30d"},
		},
	}}
	want := policy.Policy{
		Object: identity("lounge"), App: "prod",
		Groups: []policy.GroupMatcher{{Kind: policy.MatchExact, Value: "lounge"}},
		Join:   &policy.JoinSection{},
		Prune: &policy.PruneRule{
			InactiveFor: 30 * 24 * time.Hour, FreeSeats: policy.Seats{Percent: 5}, MaxRemovals: 100,
			MaxRemovalsPerDay: 1000, Cooldown: 10 * time.Minute,
		},
	}
	if diff := cmp.Diff(want, convert.Policy(bare)); diff != "" {
		t.Errorf("Policy (-want,+got):\n%s", diff)
	}
	bare.Spec.Join, bare.Spec.WhenFull = nil, &v1alpha1.WhenFullSection{}
	if got := convert.Policy(bare); got.Join != nil || got.Prune != nil || got.Invalid != "" {
		t.Errorf("absent sections became %+v", got)
	}
}

func TestInvalidPolicies(t *testing.T) {
	evicting := func(change func(*v1alpha1.EvictRule)) func(*v1alpha1.GroupPolicySpec) {
		return func(s *v1alpha1.GroupPolicySpec) {
			s.Join.Allow.Accounts = []string{"jared"}
			s.Join.Evict = &v1alpha1.EvictRule{Mode: v1alpha1.PruneModeEnforce}
			change(s.Join.Evict)
		}
	}
	cases := map[string]struct {
		change func(*v1alpha1.GroupPolicySpec)
		want   []string // in Invalid of the policy, or of the selector it stands in
		check  func(policy.Policy) bool
	}{
		"MatcherType": {
			change: func(s *v1alpha1.GroupPolicySpec) { s.Groups[0].Type = "Regexp" },
			want:   []string{"groups[0].type", `"Regexp"`, "Exact, Prefix or All"},
			check:  func(p policy.Policy) bool { return len(p.Groups) == 1 && p.Groups[0].Value == "second" },
		},
		"EmptyPrefixIsNotAll": {
			change: func(s *v1alpha1.GroupPolicySpec) {
				s.Groups[0] = v1alpha1.GroupMatcher{Type: v1alpha1.GroupMatcherPrefix}
			},
			want:  []string{"groups[0].value", "type All"},
			check: func(p policy.Policy) bool { return len(p.Groups) == 1 },
		},
		"AllWithAValueIsNotAll": {
			change: func(s *v1alpha1.GroupPolicySpec) {
				s.Groups[0] = v1alpha1.GroupMatcher{Type: v1alpha1.GroupMatcherAll, Value: "vip-"}
			},
			want:  []string{"groups[0].value", "remove"},
			check: func(p policy.Policy) bool { return len(p.Groups) == 1 },
		},
		"GroupType": {
			change: func(s *v1alpha1.GroupPolicySpec) { s.GroupTypes = []v1alpha1.GroupType{"Public", "Private"} },
			want:   []string{"groupTypes[1]", `"Private"`},
			check:  func(p policy.Policy) bool { return p.Types == policy.NewTypeSet(policy.TypePublic) },
		},
		"JoinModeStaysAGate": {
			change: func(s *v1alpha1.GroupPolicySpec) { s.Join.Mode = "Warn" },
			want:   []string{"join.mode", `"Warn"`},
			check:  func(p policy.Policy) bool { return !p.Join.Audit },
		},
		"Trigger": {
			change: func(s *v1alpha1.GroupPolicySpec) { s.Join.Triggers = []v1alpha1.JoinTrigger{"Scan"} },
			want:   []string{"join.triggers[0]", `"Scan"`},
			check:  func(p policy.Policy) bool { return p.Join.Triggers == policy.NewTriggerSet() },
		},
		"Code": {
			change: func(s *v1alpha1.GroupPolicySpec) {
				s.Join.Reject = &v1alpha1.Rejection{Code: new(int32(403)), Message: "no"}
			},
			want: []string{"join.reject.code", "10100 to 10200"},
		},
		"SelectorKey": {
			change: func(s *v1alpha1.GroupPolicySpec) {
				s.Join.Allow.Lists = []v1alpha1.AccountListReference{
					{Name: "vip"}, {Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"not a key": "x"}}},
				}
			},
			want:  []string{"lists[1]", "selector", "not a key"},
			check: func(p policy.Policy) bool { return len(p.Join.Allow.Lists) == 1 && p.Join.Allow.Invalid != "" },
		},
		"SelectorValue": {
			change: func(s *v1alpha1.GroupPolicySpec) {
				s.Join.Deny = &v1alpha1.AccountSelector{Accounts: []string{"mallory"},
					Lists: []v1alpha1.AccountListReference{
						{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"list": "not/a/value"}}}}}
			},
			want:  []string{"lists[0]", "not/a/value"},
			check: func(p policy.Policy) bool { return len(p.Join.Deny.Accounts) == 1 },
		},
		"SelectorOperator": {
			change: func(s *v1alpha1.GroupPolicySpec) {
				s.WhenFull.Prune.Protect = &v1alpha1.AccountSelector{Lists: []v1alpha1.AccountListReference{
					{Selector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "list",
						Operator: "Gt", Values: []string{"1"}}}}}}}
			},
			want:  []string{"lists[0]", `"Gt"`},
			check: func(p policy.Policy) bool { return p.Prune.Protect.Invalid != "" },
		},
		"NameAndSelector": {
			change: func(s *v1alpha1.GroupPolicySpec) {
				s.Join.Allow.Lists = []v1alpha1.AccountListReference{{Name: "vip", Selector: &metav1.LabelSelector{}}}
			},
			want:  []string{"lists[0]", "exactly one"},
			check: func(p policy.Policy) bool { return len(p.Join.Allow.Lists) == 0 },
		},
		"NeitherNameNorSelector": {
			change: func(s *v1alpha1.GroupPolicySpec) { s.Join.Allow.Lists = []v1alpha1.AccountListReference{{}} },
			want:   []string{"lists[0]", "exactly one"},
		},
		"PruneModeRemovesNobody": {
			change: func(s *v1alpha1.GroupPolicySpec) { s.WhenFull.Prune.Mode = "Later" },
			want:   []string{"whenFull.prune.mode", `"Later"`, "Preview, Approve or Enforce"},
			check:  func(p policy.Policy) bool { return p.Prune.Mode == policy.ModePreview },
		},
		"InactiveForUnreadableMeansNever": {
			change: func(s *v1alpha1.GroupPolicySpec) { s.WhenFull.Prune.InactiveFor = "a month" },
			want:   []string{"whenFull.prune.inactiveFor", `"a month"`, "30d"},
			check:  func(p policy.Policy) bool { return p.Prune.InactiveFor == math.MaxInt64 },
		},
		"InactiveForTooShort": {
			change: func(s *v1alpha1.GroupPolicySpec) { s.WhenFull.Prune.InactiveFor = "23h" },
			want:   []string{"whenFull.prune.inactiveFor", "at least 24h"},
		},
		"InactiveForMinutes": {
			change: func(s *v1alpha1.GroupPolicySpec) { s.WhenFull.Prune.InactiveFor = "1d30m" },
			want:   []string{"whenFull.prune.inactiveFor", "days and hours"},
		},
		"FreeSeatsZero": {
			change: func(s *v1alpha1.GroupPolicySpec) { s.WhenFull.Prune.FreeSeats = seats(intstr.FromInt32(0)) },
			want:   []string{"whenFull.prune.freeSeats", `"1%" to "100%"`},
		},
		"FreeSeatsText": {
			change: func(s *v1alpha1.GroupPolicySpec) { s.WhenFull.Prune.FreeSeats = seats(intstr.FromString("101%")) },
			want:   []string{"whenFull.prune.freeSeats", `"1%" to "100%"`},
		},
		"FreeSeatsNumberInQuotes": {
			change: func(s *v1alpha1.GroupPolicySpec) { s.WhenFull.Prune.FreeSeats = seats(intstr.FromString("50")) },
			want:   []string{"whenFull.prune.freeSeats", `"50"`},
			check:  func(p policy.Policy) bool { return p.Prune.FreeSeats == policy.Seats{Count: 1} },
		},
		"MaxRemovals": {
			change: func(s *v1alpha1.GroupPolicySpec) { s.WhenFull.Prune.MaxRemovals = 1001 },
			want:   []string{"whenFull.prune.maxRemovals", "1001"},
		},
		"Cooldown": {
			change: func(s *v1alpha1.GroupPolicySpec) { s.WhenFull.Prune.Cooldown = "soon" },
			want:   []string{"whenFull.prune.cooldown", `"soon"`},
			check:  func(p policy.Policy) bool { return p.Prune.Cooldown == 10*time.Minute },
		},
		"MaxRemovalsPerDay": {
			change: func(s *v1alpha1.GroupPolicySpec) { s.WhenFull.Prune.MaxRemovalsPerDay = 1_000_001 },
			want:   []string{"whenFull.prune.maxRemovalsPerDay", "1000001", "from 1 to 1000000"},
		},
		"MaxRemovalsPerDayNegative": {
			change: func(s *v1alpha1.GroupPolicySpec) { s.WhenFull.Prune.MaxRemovalsPerDay = -1 },
			want:   []string{"whenFull.prune.maxRemovalsPerDay", "-1"},
		},
		"InactiveForSeconds": {
			change: func(s *v1alpha1.GroupPolicySpec) { s.WhenFull.Prune.InactiveFor = "30d1s" },
			want:   []string{"whenFull.prune.inactiveFor", `"30d1s"`, "30d"},
			check:  func(p policy.Policy) bool { return p.Prune.InactiveFor == math.MaxInt64 },
		},
		"CooldownSeconds": {
			change: func(s *v1alpha1.GroupPolicySpec) { s.WhenFull.Prune.Cooldown = "30s" },
			want:   []string{"whenFull.prune.cooldown", `"30s"`, "days, hours and minutes"},
			check:  func(p policy.Policy) bool { return p.Prune.Cooldown == 10*time.Minute },
		},
		"RejoinAfter": {
			change: func(s *v1alpha1.GroupPolicySpec) { s.WhenFull.Prune.RejoinAfter = "next week" },
			want:   []string{"whenFull.prune.rejoinAfter", `"next week"`, "7d"},
			check:  func(p policy.Policy) bool { return p.Prune.RejoinAfter == 0 },
		},
		"RejoinAfterTooLong": {
			change: func(s *v1alpha1.GroupPolicySpec) { s.WhenFull.Prune.RejoinAfter = "30d1s" },
			want:   []string{"whenFull.prune.rejoinAfter", "at most 30d"},
		},
		"EvictMode": {
			change: evicting(func(r *v1alpha1.EvictRule) { r.Mode = "Later" }),
			want:   []string{"join.evict.mode", `"Later"`, "Preview, Approve or Enforce"},
			check:  func(p policy.Policy) bool { return p.Join.Evict.Mode == policy.ModePreview },
		},
		"EvictGrace": {
			change: evicting(func(r *v1alpha1.EvictRule) { r.Grace = "10" }),
			want:   []string{"join.evict.grace", `"10" is not a duration`},
			check:  func(p policy.Policy) bool { return p.Join.Evict.Grace == 10*time.Minute },
		},
		"EvictGraceInSeconds": {
			change: evicting(func(r *v1alpha1.EvictRule) { r.Grace = "30s" }), want: []string{"join.evict.grace"},
		},
		"EvictGraceTooLong": {
			change: evicting(func(r *v1alpha1.EvictRule) { r.Grace = "30d1m" }),
			want:   []string{"join.evict.grace", "0m to 30d"},
		},
		"EvictInterval": {
			change: evicting(func(r *v1alpha1.EvictRule) { r.Interval = "daily" }),
			want:   []string{"join.evict.interval", `"daily" is not a duration`},
		},
		"EvictIntervalTooShort": {
			change: evicting(func(r *v1alpha1.EvictRule) { r.Interval = "59m" }),
			want:   []string{"join.evict.interval", "at least 1h"},
		},
		"EvictNegative": {
			change: evicting(func(r *v1alpha1.EvictRule) { r.MaxRemovals = -1 }),
			want:   []string{"join.evict.maxRemovals", "-1 is out of range"},
		},
		"EvictInAudit": {
			change: func(s *v1alpha1.GroupPolicySpec) {
				evicting(func(*v1alpha1.EvictRule) {})(s)
				s.Join.Mode = v1alpha1.JoinModeAudit
			},
			want: []string{"join.evict needs mode Enforce"},
		},
		"EvictByAnEmptyAllow": {
			change: func(s *v1alpha1.GroupPolicySpec) {
				evicting(func(*v1alpha1.EvictRule) {})(s)
				s.Join.Allow.Accounts = nil
			},
			want: []string{"join.evict cannot be combined with an empty allow"},
		},
		"ManyAreBounded": {
			change: func(s *v1alpha1.GroupPolicySpec) { s.Groups = make([]v1alpha1.GroupMatcher, 256) },
			want:   []string{"groups[4].value", "and 251 more"},
			check:  func(p policy.Policy) bool { return len(p.Invalid) < 1000 },
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p := &v1alpha1.GroupPolicy{ObjectMeta: meta("lounge"), Spec: v1alpha1.GroupPolicySpec{
				AppRef: v1alpha1.AppReference{Name: "prod"},
				Groups: []v1alpha1.GroupMatcher{{Value: "first"}, {Value: "second"}},
				Join:   &v1alpha1.JoinSection{Allow: &v1alpha1.AccountSelector{}},
				WhenFull: &v1alpha1.WhenFullSection{
					Prune: &v1alpha1.PruneRule{Mode: v1alpha1.PruneModeEnforce, InactiveFor: "30d"},
				},
			}}
			app := policy.App{Object: policy.Object{Namespace: "chat", Name: "prod", UID: "app"}, SDKAppID: 1}
			verdict := func(converted policy.Policy) policy.PolicyVerdict {
				v, _ := policy.Compile(policy.Input{Apps: []policy.App{app},
					Policies: []policy.Policy{converted}}).PolicyVerdict("chat", "lounge", "uid")
				return v
			}
			if v := verdict(convert.Policy(p)); v.Acceptance != policy.Accepted {
				t.Fatalf("the base object is not accepted: %s", v.Message)
			}
			tc.change(&p.Spec)
			converted := convert.Policy(p)
			v := verdict(converted)
			if v.Acceptance != policy.Invalid {
				t.Errorf("verdict %v, want Invalid", v.Acceptance)
			}
			for _, want := range tc.want {
				if !strings.Contains(v.Message, want) {
					t.Errorf("message %q does not say %q", v.Message, want)
				}
			}
			if tc.check != nil && !tc.check(converted) {
				t.Errorf("converted to %+v", converted)
			}
		})
	}
}

// Replicas compare snapshots by hash, and a map has another order in each of them.
func TestReplicasReadOneSelectorAlike(t *testing.T) {
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{}}
	for _, key := range strings.Split("abcdefghijklmnop", "") {
		selector.MatchLabels[key] = "x"
		selector.MatchExpressions = append(selector.MatchExpressions, metav1.LabelSelectorRequirement{
			Key: key, Operator: metav1.LabelSelectorOpExists,
		})
	}
	p := &v1alpha1.GroupPolicy{Spec: v1alpha1.GroupPolicySpec{Join: &v1alpha1.JoinSection{
		Allow: &v1alpha1.AccountSelector{Lists: []v1alpha1.AccountListReference{{Selector: selector}}},
	}}}
	want := convert.Policy(p)
	for range 100 {
		if diff := cmp.Diff(want, convert.Policy(p)); diff != "" {
			t.Fatalf("the same policy, read again (-want,+got):\n%s", diff)
		}
	}
}

func TestHasReferences(t *testing.T) {
	refers := &v1alpha1.AccountSelector{Lists: []v1alpha1.AccountListReference{{Name: "vip"}}}
	plain := &v1alpha1.AccountSelector{Accounts: []string{"jared"}}
	prune := func(s *v1alpha1.AccountSelector) *v1alpha1.WhenFullSection {
		return &v1alpha1.WhenFullSection{Prune: &v1alpha1.PruneRule{Protect: s}}
	}
	cases := map[string]struct {
		spec v1alpha1.GroupPolicySpec
		want bool
	}{
		"Nothing": {v1alpha1.GroupPolicySpec{}, false},
		"NoPrune": {v1alpha1.GroupPolicySpec{WhenFull: &v1alpha1.WhenFullSection{}}, false},
		"NoLists": {
			v1alpha1.GroupPolicySpec{Join: &v1alpha1.JoinSection{Allow: plain, Deny: plain}, WhenFull: prune(plain)},
			false,
		},
		"NoProtect": {v1alpha1.GroupPolicySpec{Join: &v1alpha1.JoinSection{}, WhenFull: prune(nil)}, false},
		"Allow":     {v1alpha1.GroupPolicySpec{Join: &v1alpha1.JoinSection{Allow: refers}}, true},
		"Deny":      {v1alpha1.GroupPolicySpec{Join: &v1alpha1.JoinSection{Deny: refers}}, true},
		"Protect":   {v1alpha1.GroupPolicySpec{WhenFull: prune(refers)}, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := convert.HasReferences(&v1alpha1.GroupPolicy{Spec: tc.spec}); got != tc.want {
				t.Errorf("HasReferences = %t, want %t", got, tc.want)
			}
		})
	}
}
