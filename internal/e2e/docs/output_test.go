package docs

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// What differs from run to run is compared by its form.
var volatile = []struct {
	form  *regexp.Regexp
	known string
}{
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)`), "<time>"},
	{regexp.MustCompile(`\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{1,2}(?:, \d{4})?\b`), "<date>"},
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\d\b`), "<date>"},
	{regexp.MustCompile(`\b\d+ days? ago\b`), "<age> ago"},
	{regexp.MustCompile(`\b(?:\d+(?:\.\d+)?(?:ns|µs|us|ms|s|m|h|d|y))+\b`), "<age>"},
	{regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`), "<uid>"},
	{regexp.MustCompile(`\b[0-9a-f]*\d[0-9a-f]*[a-f][0-9a-f]{6,}\b`), "<hash>"},
	{regexp.MustCompile(`\b(\d{1,3}(?:\.\d{1,3}){3}|localhost):\d{4,5}\b`), "$1:<port>"},
	// Columns are as wide as their widest cell.
	{regexp.MustCompile(`(\S) {2,}`), "$1  "},
}

func stable(line string) string {
	line = strings.TrimRight(line, " \t\r")
	for _, v := range volatile {
		line = v.form.ReplaceAllString(line, v.known)
	}
	return line
}

// differ says how output is not what a page shows, or is empty. A line ... stands for any lines, ... in a line for any
// text.
func differ(shown []string, output string) string {
	for len(shown) > 0 && shown[len(shown)-1] == "" {
		shown = shown[:len(shown)-1]
	}
	var got strings.Builder
	for line := range strings.Lines(output) {
		got.WriteString(stable(strings.TrimSuffix(line, "\n")) + "\n")
	}
	text := strings.TrimRight(got.String(), "\n") + "\n"
	if len(shown) == 0 {
		// A page may leave out what a command prints.
		return ""
	}
	pattern := `\A`
	for i, line := range shown {
		if strings.TrimSpace(line) == "..." {
			pattern += `(?:.*\n)*?`
			continue
		}
		pattern += strings.ReplaceAll(regexp.QuoteMeta(stable(line)), `\.\.\.`, `.*`) + `\n`
		if !regexp.MustCompile(pattern).MatchString(text) {
			return fmt.Sprintf("line %d of what the page shows is not in the output:\n%s", i+1, line)
		}
	}
	if !regexp.MustCompile(pattern + `\z`).MatchString(text) {
		return "there is more output than the page shows (a line ... stands for any lines)"
	}
	return ""
}

func TestOutputIsCompared(t *testing.T) {
	for name, tc := range map[string]struct {
		shown, output string
		equal         bool
	}{
		"the same":                {"a\nb", "a\nb\n", true},
		"another line":            {"a\nb", "a\nc\n", false},
		"a line is missing":       {"a\nb", "a\n", false},
		"a line too many":         {"a", "a\nb\n", false},
		"any lines":               {"a\n...\nz", "a\nb\nc\nz\n", true},
		"any lines, none":         {"a\n...\nz", "a\nz\n", true},
		"any lines at the end":    {"a\n...", "a\nb\n", true},
		"any lines, not that":     {"a\n...\nz", "a\nb\n", false},
		"any text":                {"pod/... created", "pod/x-1 created\n", true},
		"any text, not that":      {"pod/... created", "pod/x-1 deleted\n", false},
		"not a pattern":           {"a.c", "abc\n", false},
		"ages":                    {"run  2m  x", "run     3d4h   x\n", true},
		"no age":                  {"run  2m  x", "run  two x\n", false},
		"times":                   {"at 2026-11-20T09:30:00Z.", "at 2027-01-02T00:00:00Z.\n", true},
		"dates":                   {"Jan 25, 2026 (300 days ago)", "Feb 1, 2027 (1 day ago)\n", true},
		"other numbers":           {"3 of 60", "4 of 60\n", false},
		"hashes":                  {"prod-a0deab52913ad14f-1", "prod-b1deab52913ad14e-1\n", true},
		"another number of it":    {"prod-a0deab52913ad14f-1", "prod-b1deab52913ad14e-2\n", false},
		"nothing shown, nothing":  {"", "", true},
		"nothing shown, anything": {"", "a\n", true},
		"indentation counts":      {"  a", "a\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			var shown []string
			if tc.shown != "" {
				shown = strings.Split(tc.shown, "\n")
			}
			if got := differ(shown, tc.output); (got == "") != tc.equal {
				t.Errorf("equal = %t, want %t: %s", got == "", tc.equal, got)
			}
		})
	}
}
