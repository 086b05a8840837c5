package pages_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/pages"
)

// GitHub shows an error instead of a picture if it cannot parse a diagram.
func TestDiagramsAreParsed(t *testing.T) {
	_, all := readAll(t)
	diagrams := 0
	for _, page := range all {
		for _, block := range page.Blocks {
			if block.Language != "mermaid" {
				continue
			}
			diagrams++
			if _, err := pages.Mermaid(block.Lines); err != nil {
				t.Errorf("%s:%d: %v", page.Path, block.Line, err)
			}
		}
	}
	t.Logf("%d diagrams", diagrams)
	if diagrams == 0 {
		t.Error("no diagram is found")
	}
}

// mermaid 11 refuses all of these, too, but for the last two.
var wrongDiagrams = map[string]string{
	"an unknown kind":                     "flowcharts LR\na --> b",
	"a direction that there is not":       "flowchart XY\na --> b",
	"no kind":                             "a --> b",
	"a bracket that is open":              "flowchart LR\na[\"text --> b",
	"brackets that do not match":          "flowchart LR\na[\"text\") --> b",
	"parentheses in a plain text":         "flowchart LR\na[calls f(x)] --> b",
	"quotes in a text":                    "flowchart LR\na[\"a \"b\" c\"] --> b",
	"an arrow that leads nowhere":         "flowchart LR\na -->",
	"an arrow that there is not":          "flowchart LR\na ->> b",
	"a label that is open":                "flowchart LR\na -->|yes b",
	"a parenthesis in a label":            "flowchart LR\na -->|yes (2 s)| b",
	"the id end":                          "flowchart LR\na --> end",
	"a subgraph that does not end":        "flowchart LR\nsubgraph s\na --> b",
	"an end too many":                     "flowchart LR\na --> b\nend",
	"a statement of another kind":         "flowchart LR\nparticipant a",
	"a message without text":              "sequenceDiagram\na->>b",
	"an arrow of flowcharts":              "sequenceDiagram\na --> b",
	"an alt that does not end":            "sequenceDiagram\nalt x\na->>b: c",
	"an else outside of alt":              "sequenceDiagram\na->>b: c\nelse d",
	"an end too many in a sequence":       "sequenceDiagram\na->>b: c\nend",
	"a note nowhere":                      "sequenceDiagram\nNote a: b",
	"a note over three":                   "sequenceDiagram\nNote over a,b,c: d",
	"a participant without a name":        "sequenceDiagram\nparticipant",
	"a transition with another arrow":     "stateDiagram-v2\na ->> b",
	"a transition that leads nowhere":     "stateDiagram-v2\na -->",
	"a composite state that does not end": "stateDiagram-v2\nstate a {\nb --> c",
	"a brace too many":                    "stateDiagram-v2\na --> b\n}",
	"a start without brackets":            "stateDiagram-v2\n* --> a",
}

func TestDiagramsThatAreWrong(t *testing.T) {
	for name, text := range wrongDiagrams {
		if _, err := pages.Mermaid(strings.Split(text, "\n")); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// rightDiagrams have every statement that the grammar knows, and their shapes.
var rightDiagrams = map[string][2]string{
	"a flowchart": {
		"flowchart TD\n%% a comment\n  a[\"text (x), y\"] -->|yes| b{\"ok?\"}\n  b -.-> c(round) & d([stadium])\n" +
			"  subgraph s[\"a group\"]\n    direction LR\n    e[(store)] ==> f((circle))\n  end\n  a --- g[[sub]]\n" +
			"  g <--> h{{hexagon}}\n  i",
		"flowchart TD\na[\"...\"] -->|...| b{\"...\"}\nb -.-> c(...) & d([...])\nsubgraph s[\"...\"]\ndirection LR\n" +
			"e[(...)] ==> f((...))\nend\na --- g[[...]]\ng <--> h{{...}}\ni",
	},
	"a sequence": {
		"sequenceDiagram\nautonumber\nparticipant a as The vendor\nactor b\na->>+b: text, more: text\nb-->>-a: text\n" +
			"activate a\ndeactivate a\nNote over a,b: text\nNote right of a: text\nalt x\na-xb: y\n" +
			"else\na-)b: y\nend\n" +
			"loop x\na->b: y\nend\npar x\na->>b: y\nand z\na->>b: y\nend\nopt x\na-->b: y\nend",
		"sequenceDiagram\nautonumber\nparticipant a as ...\nactor b\na->>+b: ...\nb-->>-a: ...\n" +
			"activate a\ndeactivate a\nNote over a,b: ...\nNote right of a: ...\nalt ...\na-xb: ...\n" +
			"else\na-)b: ...\nend\n" +
			"loop ...\na->b: ...\nend\npar ...\na->>b: ...\nand ...\na->>b: ...\nend\nopt ...\na-->b: ...\nend",
	},
	"states": {
		"stateDiagram-v2\ndirection LR\n[*] --> a: text\na --> b\nstate \"a text\" as b\nstate c <<choice>>\n" +
			"state d {\ne --> f\n}\ng: text\nnote right of a: text\nb --> [*]",
		"stateDiagram-v2\ndirection LR\n[*] --> a: ...\na --> b\nstate \"...\" as b\nstate c <<choice>>\n" +
			"state d {\ne --> f\n}\ng: ...\nnote right of a: ...\nb --> [*]",
	},
}

func TestShapesOfDiagrams(t *testing.T) {
	for name, diagram := range rightDiagrams {
		got, err := pages.Mermaid(strings.Split(diagram[0], "\n"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(strings.Split(diagram[1], "\n"), got); diff != "" {
			t.Errorf("%s (-want,+got)\n%s", name, diff)
		}
	}
}
