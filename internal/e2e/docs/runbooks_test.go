package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/groupgate/groupgate/internal/lab"
)

// The commands that stand within the text of runbooks work as they are copied. Those with a name to fill in, and of
// what is not in this cluster, are left out; what follows a pipe only searches.
func TestCommandsOfRunbooks(t *testing.T) {
	const page = "docs/alerts.md"
	text, err := os.ReadFile(filepath.Join(lab.Root(), filepath.FromSlash(page)))
	if err != nil {
		t.Fatal(err)
	}
	j, err := newJanitor(t.Context(), cluster)
	if err != nil {
		t.Fatal(err)
	}
	p := newPlace(t, j, "samples")
	absent := regexp.MustCompile(`\b(NAMESPACE|POD|kubectl top|certificate|kubectl logs)\b`)
	ran := 0
	for _, span := range regexp.MustCompile("`(kubectl [^`]+)`").FindAllSubmatchIndex(text, -1) {
		command := strings.Join(strings.Fields(string(text[span[2]:span[3]])), " ")
		if absent.MatchString(command) {
			continue
		}
		command, _, _ = strings.Cut(command, " | ")
		line := 1 + strings.Count(string(text[:span[2]]), "\n")
		out, exit, err := p.shell.run(t.Context(), page, line, command, "any", os.DevNull)
		if err != nil || exit != 0 && !strings.Contains(out, "Error from server (NotFound)") {
			t.Errorf("%s:%d: %s: exit code %d, %v\n%s", page, line, command, exit, err, out)
		}
		ran++
	}
	if ran < 10 {
		t.Errorf("%d commands: the page is not read", ran)
	}
}
