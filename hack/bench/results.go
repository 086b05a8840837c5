package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/groupgate/groupgate/internal/lab"
)

// results are the findings of a run.
type results struct {
	Date    string `json:"date"`
	Commit  string `json:"commit"`
	Machine string `json:"machine"`
	Rounds  int    `json:"rounds"`
	// Figures has all samples of each figure; its value is their median.
	Figures map[string][]float64 `json:"figures"`
	Tables  []*table             `json:"tables"`
	LeftOut map[string]string    `json:"leftOut"`
}

// table is one of Markdown.
type table struct {
	Title string   `json:"title"`
	Head  []string `json:"head"`
	Rows  [][]any  `json:"rows"`
}

func (t *table) add(cells ...any) { t.Rows = append(t.Rows, cells) }

// String writes numbers that are not whole with four digits.
func (t *table) String() string {
	var b strings.Builder
	if t.Title != "" {
		fmt.Fprintf(&b, "\n%s\n", t.Title)
	}
	fmt.Fprintf(&b, "\n| %s |\n|%s\n", strings.Join(t.Head, " | "), strings.Repeat("---|", len(t.Head)))
	for _, row := range t.Rows {
		b.WriteByte('|')
		for _, cell := range row {
			if number, ok := cell.(float64); ok {
				cell = fmt.Sprintf("%.4g", number)
			}
			fmt.Fprintf(&b, " %v |", cell)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// table returns the table with that head, made if need be.
func (r *results) table(title string, head ...string) *table {
	for _, t := range r.Tables {
		if t.Title == title && slices.Equal(t.Head, head) {
			return t
		}
	}
	t := &table{Title: title, Head: head}
	r.Tables = append(r.Tables, t)
	return t
}

func newResults(ctx context.Context, b *bench) *results {
	return &results{
		Date: time.Now().
			UTC().
			Format(time.DateTime) +
			" UTC", Commit: commit(ctx), Machine: machine(), Rounds: b.rounds,
		Figures: map[string][]float64{}, LeftOut: map[string]string{},
	}
}

func commit(ctx context.Context) string {
	cmd := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--abbrev=12")
	cmd.Dir = lab.Root()
	out, err := cmd.Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// machine describes the hardware and how busy it was before the run: a reader should know how far to trust the figures.
func machine() string {
	model := "unknown CPU"
	for line := range strings.Lines(read("/proc/cpuinfo")) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	about := fmt.Sprintf("%d x %s, Linux %s, %s, load %s before",
		runtime.NumCPU(), model, strings.TrimSpace(read("/proc/sys/kernel/osrelease")), runtime.Version(), loadAverage())
	// The system call answers with 20 minus the niceness.
	if priority, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err == nil && priority != 20 {
		about += fmt.Sprintf(", nice %d", 20-priority)
	}
	return about
}

// loadAverage is that of the last minute.
func loadAverage() string {
	load, _, _ := strings.Cut(read("/proc/loadavg"), " ")
	return load
}

func read(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	return string(text)
}

func (r *results) add(figure string, samples ...float64) {
	r.Figures[figure] = append(r.Figures[figure], samples...)
}

func (r *results) writeJSON(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write the results: %w", err)
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// markdown is what is printed, and how many limits are exceeded.
func (r *results) markdown(t *thresholds) (text string, exceeded int) {
	goals := table{Head: []string{"figure", "goal", "measured", ""}}
	hasGoal := map[string]bool{}
	for _, g := range t.Goals {
		figure, goal := g.Figure, g.Goal
		for _, l := range g.Limits {
			hasGoal[l.Key] = true
			measured, verdict := "-", "not measured"
			if samples, ok := r.Figures[l.Key]; ok {
				value := median(samples)
				measured, verdict = l.format(value), "met"
				if l.exceeded(value) {
					verdict = "**missed**"
					exceeded++
				}
			}
			if l.Label != "" {
				measured += " (" + l.Label + ")"
			}
			goals.add(figure, goal, measured, verdict)
			figure, goal = "", "" // in the first row only
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, commit %s, %s; medians of %d interleaved rounds.\n", r.Date, r.Commit, r.Machine, r.Rounds)
	b.WriteString(goals.String())
	for _, t := range r.Tables {
		b.WriteString(t.String())
	}
	for _, title := range slices.Sorted(maps.Keys(r.LeftOut)) {
		fmt.Fprintf(&b, "\nLeft out: %s: %s\n", title, r.LeftOut[title])
	}
	others := table{Head: []string{"without a goal", "measured"}}
	for _, key := range slices.Sorted(maps.Keys(r.Figures)) {
		if !hasGoal[key] {
			others.add(key, median(r.Figures[key]))
		}
	}
	if len(others.Rows) > 0 {
		b.WriteString(others.String())
	}
	return b.String(), exceeded
}

// The results stand between these in docs/performance.md.
const docsBegin, docsEnd = "<!-- table: begin -->\n", "<!-- table: end -->\n"

func writeDocs(text string) error {
	path := filepath.Join(lab.Root(), "docs", "performance.md")
	page, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the page: %w", err)
	}
	changed, err := replaceResults(string(page), text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(changed), 0o644)
}

func replaceResults(page, text string) (string, error) {
	before, rest, found := strings.Cut(page, docsBegin)
	_, after, closed := strings.Cut(rest, docsEnd)
	if !found || !closed {
		return "", errors.New("the marks of the table are missing")
	}
	return before + docsBegin + "\n" + text + "\n" + docsEnd + after, nil
}

// median is that of a copy; of an even number of samples the mean of the middle two.
func median(samples []float64) float64 {
	sorted := slices.Sorted(slices.Values(samples))
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// ratios are those of each round: only samples of the same round were measured side by side.
func ratios(over, under []float64) []float64 {
	out := make([]float64, min(len(over), len(under)))
	for i := range out {
		out[i] = over[i] / under[i]
	}
	return out
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
