package decisionlog

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"
	"pgregory.net/rapid"

	"github.com/groupgate/groupgate/internal/policy"
)

var refusal = Decision{
	Time: time.Date(2026, 11, 21, 11, 42, 20, 123456789, time.UTC), App: "chat/prod", Group: "vip-berlin",
	GroupType: policy.TypePublic, Account: "mallory", Trigger: policy.TriggerApply, Reason: policy.ReasonDenied,
	Policy: "banned", Code: 10120, Snapshot: 0xfd28924ef623dd21,
}

func (d Decision) line(t interface{ Fatal(...any) }, key policy.Secret) string {
	var accounts *Accounts
	if key != "" {
		var err error
		if accounts, err = Hashed(key); err != nil {
			t.Fatal(err)
		}
	}
	return string(d.appendLine(nil, accounts))
}

const testKey = policy.Secret("0123456789abcdef0123456789abcdef")

// The shape of the lines is API: users collect and query them.
func TestLine(t *testing.T) {
	differing := refusal
	differing.Account, differing.Operator, differing.Trigger = `a"\`+"\x01é\u2028", "maria", policy.TriggerInvite
	differing.Admitted, differing.Reason, differing.Policy, differing.Code = true, policy.ReasonUnmatched, "", 0
	differing.Audit = Difference{policy.ReasonNotListed, "vip-lounge"}
	for name, tc := range map[string]struct {
		decision Decision
		key      policy.Secret
		want     string
	}{
		"a refusal": {refusal, "", `{"log":"decision","version":1,"time":"2026-11-21T11:42:20.123Z","app":"chat/prod",` +
			`"group":"vip-berlin","groupType":"Public","account":"mallory","trigger":"Apply","verdict":"Rejected",` +
			`"reason":"Denied","policy":"banned","code":10120,"audit":"Rejected","snapshot":"fd28924ef623dd21"}`},
		"an Audit difference": {differing, "", `{"log":"decision","version":1,"time":"2026-11-21T11:42:20.123Z",` +
			`"app":"chat/prod","group":"vip-berlin","groupType":"Public","account":"a\"\\\u0001é` + "\u2028" +
			`","operator":"maria","trigger":"Invite","verdict":"Admitted","reason":"Unmatched","policy":"","code":0,` +
			`"audit":"Rejected","auditReason":"NotListed","auditPolicy":"vip-lounge","snapshot":"fd28924ef623dd21"}`},
		// echo -n mallory | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
		"hashed": {refusal, testKey, `{"log":"decision","version":1,"time":"2026-11-21T11:42:20.123Z","app":"chat/prod",` +
			`"group":"vip-berlin","groupType":"Public","account":` +
			`"2bd90dc1219ed23f99b1df8e2e116965f70a42ea14da43135da58004da8b4148","accountKey":"c8f92837",` +
			`"trigger":"Apply","verdict":"Rejected","reason":"Denied","policy":"banned","code":10120,` +
			`"audit":"Rejected","snapshot":"fd28924ef623dd21"}`},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want+"\n", tc.decision.line(t, tc.key)); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}

func schemaOfLines(t *testing.T) *validate.SchemaValidator {
	text, err := os.ReadFile("../../docs/schemas/decision-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema spec.Schema
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	return validate.NewSchemaValidator(&schema, nil, "line", strfmt.Default)
}

func drawDecision(t *rapid.T) Decision {
	text := rapid.StringN(1, 20, 60)
	reason := rapid.Custom(func(t *rapid.T) policy.Reason {
		return policy.Reason(rapid.IntRange(int(policy.ReasonDenied), int(policy.ReasonRestored)).Draw(t, "reason"))
	})
	d := Decision{
		Time:      time.UnixMilli(rapid.Int64Range(0, 1<<41).Draw(t, "time")).UTC(),
		App:       "chat/prod",
		Group:     text.Draw(t, "group"),
		GroupType: policy.GroupType(rapid.IntRange(0, int(policy.TypeCommunity)).Draw(t, "type")),
		Account:   text.Draw(t, "account"),
		Trigger:   policy.Trigger(rapid.IntRange(0, int(policy.TriggerRESTAPI)).Draw(t, "trigger")),
		Admitted:  rapid.Bool().Draw(t, "admitted"),
		Reason:    reason.Draw(t, "reason"),
		Policy:    rapid.SampledFrom([]string{"", "vip-lounge"}).Draw(t, "policy"),
		Snapshot:  rapid.Uint64().Draw(t, "snapshot"),
	}
	if !d.Admitted {
		d.Code = rapid.SampledFrom([]int32{1, 10100, 10200}).Draw(t, "code")
	}
	if d.Trigger != policy.TriggerApply && rapid.Bool().Draw(t, "with an operator") {
		d.Operator = text.Draw(t, "operator")
	}
	if rapid.Bool().Draw(t, "differs") {
		d.Audit = Difference{reason.Draw(t, "audit reason"), "audited"}
	}
	return d
}

func TestLinesFollowTheSchema(t *testing.T) {
	schema := schemaOfLines(t)
	rapid.Check(t, func(t *rapid.T) {
		d := drawDecision(t)
		line := d.line(t, rapid.SampledFrom([]policy.Secret{"", testKey}).Draw(t, "key"))
		if strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "}\n") {
			t.Fatalf("not one line: %q", line)
		}
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if result := schema.Validate(object); !result.IsValid() {
			t.Fatalf("%s: %v", line, result.Errors)
		}
	})
	// The schema does refuse something.
	var broken map[string]any
	line := strings.NewReplacer("Rejected", "Refused", `"fd28`, `"XX28`).Replace(refusal.line(t, ""))
	if err := json.Unmarshal([]byte(line), &broken); err != nil {
		t.Fatal(err)
	}
	if result := schema.Validate(broken); len(result.Errors) != 3 {
		t.Errorf("%v, want verdict, audit and snapshot refused", result.Errors)
	}
}

func TestDetachChangesNoID(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDecision(t)
		detached := d
		detached.Detach()
		if diff := cmp.Diff(d, detached); diff != "" {
			t.Fatalf("(-want,+got):\n%s", diff)
		}
	})
}

// An id must not be guessed from the log of an app whose key is short.
func TestShortKeyIsRefused(t *testing.T) {
	if _, err := Hashed(testKey[:31]); err == nil || !strings.Contains(err.Error(), "openssl rand -hex 32") ||
		strings.Contains(err.Error(), "0123") {
		t.Errorf("error %v", err)
	}
}

func TestReadKeyCutsOneNewline(t *testing.T) {
	path := t.TempDir() + "/key"
	for text, want := range map[string]string{"k\n": "k", "k\r\n": "k", "k\n\n": "k\n", "k": "k", "": ""} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadKey(path); err != nil || got.Reveal() != want {
			t.Errorf("%q: %q, %v", text, got.Reveal(), err)
		}
	}
}
