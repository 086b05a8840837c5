package explain

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/manifests"
	"github.com/groupgate/groupgate/internal/policy"
)

var update = flag.Bool("update", false, "write the answers into testdata")

func objects(t *testing.T) *manifests.Objects { return read(t, "chat.yaml") }

func read(t *testing.T, file string) *manifests.Objects {
	t.Helper()
	read, err := manifests.Read([]string{filepath.Join("testdata", file)}, "chat", nil)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

var at = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// TestAnswers compares whole answers with testdata/*.txt. Each has been read by a person.
func TestAnswers(t *testing.T) {
	tests := map[string]Question{
		"denied":            {Group: "vip-berlin", Account: "mallory"},
		"allowed":           {Group: "vip-berlin", Account: "jared"},
		"allowed-by-prefix": {Group: "vip-berlin", Account: "staff-bo", Trigger: policy.TriggerInvite},
		"not-listed":        {Group: "vip-berlin", Account: "Trudy"},
		"nobody-speaks": {
			Group: "vip-berlin", Account: "bob", Trigger: policy.TriggerRESTAPI, Type: policy.TypePublic,
		},
		"another-type":       {Group: "vip-berlin", Account: "bob", Type: policy.TypeWork},
		"removed":            {Group: "vip-oslo", Account: "jared"},
		"near-matchers":      {Group: "Vip-berlin", Account: "bob"},
		"governs":            {Group: "vip-berlin"},
		"governs-one-type":   {Group: "vip-berlin", Type: policy.TypeWork},
		"governs-almost-all": {Group: "lobby"},
	}
	for name, q := range tests {
		t.Run(name, func(t *testing.T) {
			q.At = at
			var answer answer
			var err error
			if q.Account == "" {
				answer, err = AskGoverns(objects(t), q)
			} else {
				answer, err = AskJoin(objects(t), q)
			}
			if err != nil {
				t.Fatal(err)
			}
			compare(t, name, answer)
		})
	}
}

type answer interface {
	Sentence() string
	Table() [][]string
	Advice() []string
}

// compare compares all of an answer with a file.
func compare(t *testing.T, name string, answer answer) {
	t.Helper()
	var text strings.Builder
	text.WriteString(answer.Sentence())
	table := tabwriter.NewWriter(&text, 0, 0, 3, ' ', 0)
	for _, row := range answer.Table() {
		_, _ = table.Write([]byte(strings.Join(row, "\t") + "\n"))
	}
	_ = table.Flush()
	for _, hint := range answer.Advice() {
		text.WriteString("Hint: " + hint + "\n")
	}
	asJSON, err := json.MarshalIndent(answer, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got := text.String() + string(asJSON) + "\n"
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("the answer (-want,+got):\n%s", diff)
	}
}

func TestAnAppThatRefusesCallbacksIsSaidFirst(t *testing.T) {
	o := objects(t)
	o.Apps[0].Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.ConditionResolvedRefs, Status: metav1.ConditionFalse,
		Reason: v1alpha1.ReasonSecretNotFound, Message: "Secret prod-im was not found.",
	}}
	j, err := AskJoin(o, Question{Group: "vip-berlin", Account: "mallory", At: at})
	if err != nil {
		t.Fatal(err)
	}
	const want = "Nothing is asked: IMApp prod refuses every callback"
	got := j.Sentence()
	if !strings.HasPrefix(got, want) || !strings.Contains(got, "Secret prod-im was not found. What") {
		t.Errorf("the sentence is %q, want %q first", got, want)
	}
}

// An app that lacks the current token answers callbacks that are signed with the previous one, and one without
// authentication needs none.
func TestAnAppThatAnswersCallbacksIsAsked(t *testing.T) {
	for name, change := range map[string]func(*v1alpha1.IMApp){
		"by the previous token": func(a *v1alpha1.IMApp) {
			a.Status.Conditions[0].Reason = v1alpha1.ReasonTokenMissing
			a.Status.Conditions[0].Message = "Secret prod-im in namespace chat has no callbackToken: add it. " +
				"Until then only callbacks that are signed with previousCallbackToken are accepted."
		},
		"without authentication": func(a *v1alpha1.IMApp) {
			a.Spec.CallbackAuthentication = v1alpha1.CallbackAuthenticationNone
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := objects(t)
			o.Apps[0].Status.Conditions = []metav1.Condition{{
				Type: v1alpha1.ConditionResolvedRefs, Status: metav1.ConditionFalse,
				Reason: v1alpha1.ReasonSecretNotFound, Message: "Secret prod-im was not found.",
			}}
			change(&o.Apps[0])
			j, err := AskJoin(o, Question{Group: "vip-berlin", Account: "mallory", At: at})
			if err != nil {
				t.Fatal(err)
			}
			if j.NotAsked != "" {
				t.Errorf("the app is said not to be asked: %s", j.NotAsked)
			}
		})
	}
}

// The IMApp that holds the SDKAppID may be in a namespace that is not read.
func TestAnAppThatIsNotAcceptedHasNoAnswer(t *testing.T) {
	o := objects(t)
	o.Apps[0].Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonConflicted,
		Message: "The older IMApp other/prod holds this sdkAppID until it is deleted: delete one of the two.",
	}}
	const want = "IMApp chat/prod is not accepted: The older IMApp other/prod holds this sdkAppID"
	if _, err := AskJoin(o, Question{Group: "vip-berlin", Account: "mallory"}); err == nil ||
		!strings.Contains(err.Error(), want) {
		t.Errorf("AskJoin: %v, want %q", err, want)
	}
	if _, err := AskGoverns(o, Question{Group: "vip-berlin"}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("AskGoverns: %v, want %q", err, want)
	}
}

// An invalid policy admits no account, also one that its allow names, and has a gate even without an allow.
func TestAnInvalidPolicyIsWhyNobodyIsAllowed(t *testing.T) {
	o := objects(t)
	for i := range o.Policies {
		if p := &o.Policies[i]; p.Name == "vip" {
			p.Spec.Join.Allow.AccountPrefixes = []string{""}
		}
	}
	j, err := AskJoin(o, Question{Group: "vip-berlin", Account: "jared", At: at})
	if err != nil {
		t.Fatal(err)
	}
	const want = "policy vip is not valid, so that it allows no account, and no other policy allows this one"
	if got := j.Sentence(); !strings.Contains(got, want) {
		t.Errorf("the sentence is %q, want %q", got, want)
	}
	because := []string{"the policy is not valid, so that it allows no account"}
	for _, o := range j.Policies {
		if o.Policy == "vip" && !slices.Equal(o.Because, because) {
			t.Errorf("vip says %s because of %q", o.Says, o.Because)
		}
	}
}

func TestLiveRoomsAreNotPruned(t *testing.T) {
	o := objects(t)
	for i := range o.Policies {
		o.Policies[i].Spec.GroupTypes = nil
	}
	g, err := AskGoverns(o, Question{Group: "vip-oslo", Type: policy.TypeAVChatRoom})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := g.Sentence(), "as AVChatRoom: nobody is removed"; !strings.Contains(got, want) {
		t.Errorf("the sentence is %q, want %q", got, want)
	}
}

func TestIdsThatLookAlike(t *testing.T) {
	tests := map[string]struct{ a, b, want string }{
		"equal":        {"bob", "bob", ""},
		"others":       {"bob", "rob", ""},
		"case":         {"Bob", "bob", "case"},
		"a blank":      {"bob ", "bob", "blanks or characters that cannot be seen"},
		"zero width":   {"b\u200bob", "bob", "blanks or characters that cannot be seen"},
		"Unicode form": {"Jose\u0301", "Jos\u00e9", "Unicode form"},
		"two of them":  {"Bob ", "bob", "blanks or characters that cannot be seen and case"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := difference(tc.a, tc.b); got != tc.want {
				t.Errorf("difference(%q, %q) = %q, want %q", tc.a, tc.b, got, tc.want)
			}
		})
	}
}

func TestTheAppThatIsMeant(t *testing.T) {
	compiled := objects(t).Compile()
	for name, want := range map[string]string{"": "", "prod": "", "chat/prod": "", "other": `there is no IMApp "other"`} {
		app, err := compiled.App(name)
		switch {
		case want == "" && (err != nil || app.Object().Key() != "chat/prod"):
			t.Errorf("App(%q): %v", name, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("App(%q): %v, want %q", name, err, want)
		}
	}
}
