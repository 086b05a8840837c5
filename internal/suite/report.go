package suite

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/groupgate/groupgate/internal/lint"
	"github.com/groupgate/groupgate/internal/terminal"
)

// Report is the outcome of all paths. Its JSON is the output of `groupgate test -o json`.
type Report struct {
	Passed  int `json:"passed"`
	Failed  int `json:"failed"`
	Skipped int `json:"skipped"`
	// Manifests counts the documents that were checked, Errors and Warnings what is wrong with them.
	Manifests int    `json:"manifests"`
	Errors    int    `json:"errors"`
	Warnings  int    `json:"warnings"`
	Files     []File `json:"files"`
}

// File is a file of tests with its manifests, or a path with those that no file of tests names.
type File struct {
	Name      string         `json:"file"`
	Manifests int            `json:"manifests"`
	Problems  []lint.Problem `json:"problems"`
	Cases     []Result       `json:"cases"`
}

// The results of a case.
const (
	Passed  = "passed"
	Failed  = "failed"
	Skipped = "skipped"
)

// Result is the outcome of a case.
type Result struct {
	Name string `json:"name"`
	Line int    `json:"line"`
	// Result is passed, failed or, while a manifest is not valid, skipped.
	Result  string  `json:"result"`
	Seconds float64 `json:"seconds"`
	// Differences say how the answer differs, as "verdict: want Admitted, got Rejected".
	Differences []string `json:"differences,omitempty"`
	// Explanation is the answer of a failed case, as `groupgate explain -o json` prints it.
	Explanation Explanation `json:"explanation,omitempty"`
}

// Explanation is why an answer is what it is.
type Explanation interface {
	Sentence() string
	Table() [][]string
	Advice() []string
}

// Cases counts the cases.
func (r *Report) Cases() int { return r.Passed + r.Failed + r.Skipped }

// WriteText writes the report for people.
func (r *Report) WriteText(out io.Writer) error {
	var text strings.Builder
	for i := range r.Files {
		r.Files[i].write(&text)
	}
	fmt.Fprintf(&text, "%d passed, %d failed", r.Passed, r.Failed)
	if r.Skipped > 0 {
		fmt.Fprintf(&text, ", %d skipped until the manifests are valid", r.Skipped)
	}
	fmt.Fprintf(&text, "; %s: %s, %s\n",
		count(r.Manifests, "manifest"), count(r.Errors, "error"), count(r.Warnings, "warning"))
	_, err := io.WriteString(out, terminal.Visible(text.String(), '\n'))
	return err
}

// oneLine is a text that must not look like several lines of a report.
func oneLine(text string) string { return strings.ReplaceAll(text, "\n", `\n`) }

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (f *File) write(text *strings.Builder) {
	fmt.Fprintf(text, "%s\n", f.Name)
	for i := range f.Problems {
		p := &f.Problems[i]
		mark := "warn"
		if p.Severity == lint.Error {
			mark = "FAIL"
		}
		fmt.Fprintf(text, "  %s  %s: ", mark, p.Where())
		if p.Object != "" {
			text.WriteString(p.Object + ": ")
		}
		fmt.Fprintf(text, "%s\n", indented(p.Message))
	}
	for i := range f.Cases {
		c := &f.Cases[i]
		mark := map[string]string{Passed: "ok  ", Failed: "FAIL", Skipped: "skip"}[c.Result]
		fmt.Fprintf(text, "  %s  %s\n", mark, oneLine(c.Name))
		for _, difference := range c.Differences {
			fmt.Fprintf(text, "        %s\n", oneLine(difference))
		}
		if c.Explanation != nil {
			fmt.Fprintf(text, "\n%s\n", explained(c.Explanation))
		}
	}
}

// indented puts the further lines of a message below its first one.
func indented(message string) string {
	return strings.ReplaceAll(strings.TrimSpace(message), "\n", "\n        ")
}

// explained is an explanation as groupgate explain prints it, indented.
func explained(e Explanation) string {
	var text strings.Builder
	text.WriteString(e.Sentence())
	table := tabwriter.NewWriter(&text, 0, 0, 3, ' ', 0)
	for _, row := range e.Table() {
		_, _ = fmt.Fprintln(table, strings.Join(row, "\t")) // to memory
	}
	_ = table.Flush()
	for _, hint := range e.Advice() {
		text.WriteString("Hint: " + hint + "\n")
	}
	var lines strings.Builder
	for line := range strings.Lines(text.String()) {
		lines.WriteString("        " + line)
	}
	return lines.String()
}
