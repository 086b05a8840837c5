package page

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/groupgate/groupgate/internal/lab"
)

// constants are the values of the constants of a file of the API whose names begin so.
func constants(t *testing.T, file, prefix string) []string {
	t.Helper()
	path := filepath.Join(lab.Root(), "api", "v1alpha1", file)
	parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	ast.Inspect(parsed, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, prefix) || len(spec.Values) != 1 {
			return true
		}
		if literal, ok := spec.Values[0].(*ast.BasicLit); ok {
			value, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, value)
		}
		return true
	})
	if len(values) == 0 {
		t.Fatalf("%s has no constant %s...", file, prefix)
	}
	return values
}

// notOfRuns are the reasons that no run has: those of other kinds, and of events.
var notOfRuns = []string{
	"Accepted", "Leaked", "Ready", "TargetNotFound", "AppNotReady", "NotAuthenticated", "NoGate", "LiteralAsterisk",
	"SuspiciousCharacters", "SmallerBudget", "ResolvedRefs", "TokenMissing", "ListNotFound", "Overridden", "RateTooLow",
	"Programmed", "ReplicasBehind", "NeverSeen", "Verified", "WrongToken", "Reachable", "Throttled", "Unauthorized",
	"Unreachable", "Invalid",
}

func TestEveryReasonIsShownInWords(t *testing.T) {
	for _, reason := range constants(t, "conditions.go", "Reason") {
		if resultWords[reason] == "" && !slices.Contains(notOfRuns, reason) {
			t.Errorf("the reason %s has no words", reason)
		}
	}
	for _, set := range []struct {
		prefix string
		words  map[string]string
	}{
		{"PrunePurpose", purposeWords}, {"PruneTrigger", triggerWords}, {"KeptReason", keptWords},
		{"RestoreResult", restoredWords},
	} {
		for _, value := range constants(t, "prunerun_types.go", set.prefix) {
			if set.words[value] == "" {
				t.Errorf("the %s %s has no words", set.prefix, value)
			}
		}
	}
}
