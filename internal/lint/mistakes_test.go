package lint

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// mistake is one of testdata/mistakes.yaml, which says what the fields mean.
type mistake struct {
	Mistake string `json:"mistake"`

	Manifest string `json:"manifest"`
	Policy   string `json:"policy"`
	Groups   string `json:"groups"`
	Join     string `json:"join"`
	Prune    string `json:"prune"`
	App      string `json:"app"`
	Run      string `json:"run"`
	List     string `json:"list"`
	Secret   string `json:"secret"`

	Refused string `json:"refused"`
	YAML    string `json:"yaml"`
	Error   string `json:"error"`
	Warning string `json:"warning"`
}

// text is the manifest with the mistake.
func (m *mistake) text() string {
	policy := func(groups, rest string) string {
		return "kind: GroupPolicy\nspec: {appRef: {name: prod}, groups: [" + groups + "], " + rest + "}"
	}
	switch {
	case m.Policy != "":
		return policy("{type: All}", m.Policy)
	case m.Groups != "":
		return policy(m.Groups, "join: {allow: {}}")
	case m.Join != "":
		return policy("{type: All}", "join: {"+m.Join+"}")
	case m.Prune != "":
		return policy("{type: All}", "whenFull: {prune: {"+m.Prune+"}}")
	case m.App != "":
		fields := "sdkAppID: 1400000001, adminAccount: administrator, credentialsSecretRef: {name: prod-im}, " + m.App
		if !strings.Contains(m.App, "region") {
			fields += ", region: Singapore"
		}
		return "kind: IMApp\nspec: {" + fields + "}"
	case m.Run != "":
		return "kind: PruneRun\nspec: {appRef: {name: prod}, groupID: lobby-1, " + m.Run + "}"
	case m.List != "":
		return "kind: AccountList\nspec: {accounts: [" + m.List + "]}"
	case m.Secret != "":
		return "{apiVersion: v1, kind: Secret, " + m.Secret + "}"
	}
	return m.Manifest
}

// complete adds what every manifest begins with.
func complete(text string) string {
	documents := strings.Split(text, "---\n")
	for i, d := range documents {
		if !strings.Contains(d, "apiVersion:") {
			d = "apiVersion: groupgate.io/v1alpha1\n" + d
		}
		if !strings.Contains(d, "metadata:") {
			d += "\nmetadata: {name: mistaken}"
		}
		documents[i] = strings.TrimSpace(d) + "\n"
	}
	return strings.Join(documents, "---\n")
}

const surroundings = app + `apiVersion: groupgate.io/v1alpha1
kind: AccountList
metadata: {name: vip-0, labels: {list: vip}}
spec: {accounts: [jared]}
---
`

func readMistakes(t *testing.T) []mistake {
	t.Helper()
	data, err := os.ReadFile("testdata/mistakes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var mistakes []mistake
	if err := yaml.UnmarshalStrict(data, &mistakes); err != nil {
		t.Fatal(err)
	}
	return mistakes
}

var update = flag.Bool("update", false, "write testdata/refused.yaml")

// TestRefusedMistakesAreSentToAnAPIServer: by a test of package v1alpha1, which reads the refused manifests from a
// file.
func TestRefusedMistakesAreSentToAnAPIServer(t *testing.T) {
	var refused []string
	for _, m := range readMistakes(t) {
		if m.Refused != "" {
			refused = append(refused, "# "+m.Mistake+"\n"+complete(m.text()))
		}
	}
	got := strings.Join(refused, "---\n")
	if *update {
		if err := os.WriteFile("testdata/refused.yaml", []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/refused.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("the refused mistakes, which -update writes (-want,+got):\n%s", diff)
	}
}

// TestMistakesAreFound goes through the mistakes that people made.
func TestMistakesAreFound(t *testing.T) {
	mistakes := readMistakes(t)
	for _, m := range mistakes {
		t.Run(m.Mistake, func(t *testing.T) {
			severity, want := Error, m.Refused+m.YAML+m.Error
			if want == "" {
				severity, want = Warning, m.Warning
			}
			r := check(t, surroundings+complete(m.text()))
			for _, p := range r.Problems {
				if p.Severity == severity && want != "" && strings.Contains(p.Message, want) {
					if severity == Warning && r.Count(Error) > 0 {
						t.Errorf("there are errors, too: %+v", r.Problems)
					}
					return
				}
			}
			t.Errorf("want %s %q, got %+v", severity, want, r.Problems)
		})
	}
	if len(mistakes) < 80 {
		t.Errorf("%d mistakes", len(mistakes))
	}
}
