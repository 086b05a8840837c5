package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/groupgate/groupgate/internal/lab"
)

// results are what a run has found out.
type results struct {
	Date    string `json:"date"`
	Commit  string `json:"commit"`
	Machine string `json:"machine"`
	Rounds  int    `json:"rounds"`
	// Figures has all samples of each figure; its value is their median.
	Figures map[string][]float64 `json:"figures"`
	Costs   []contenderCost      `json:"costs"`
	Curves  []curve              `json:"curves"`
	LeftOut map[string]string    `json:"leftOut"`
}

// contenderCost is a row of the table of contenders.
type contenderCost struct {
	Contender        string  `json:"contender"`
	Mode             string  `json:"mode"`
	MicrosecondsEach float64 `json:"microsecondsEach"`
	PerSecond        float64 `json:"perSecond"`
}

func newResults(ctx context.Context, b *bench) *results {
	return &results{
		Date: time.Now().UTC().Format(time.DateTime) + " UTC", Commit: commit(ctx), Machine: machine(), Rounds: b.rounds,
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

func machine() string {
	model := "unknown CPU"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		kernel = []byte("unknown")
	}
	return fmt.Sprintf("%d x %s, Linux %s, %s, %s", runtime.NumCPU(), model, strings.TrimSpace(string(kernel)), runtime.Version(), company())
}

// company says what else the machine was doing when the run began: a reader should know how far to trust it.
func company() string {
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "load unknown"
	}
	minute, _, _ := strings.Cut(string(load), " ")
	company := "load " + minute + " before"
	if priority, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err == nil && priority != 20 {
		company += fmt.Sprintf(", nice %d", 20-priority) // the system call answers with 20 minus the value
	}
	return company
}

func (r *results) add(figure string, samples ...float64) {
	r.Figures[figure] = append(r.Figures[figure], samples...)
}

func (r *results) addCost(c contenderCost) { r.Costs = append(r.Costs, c) }

func (r *results) leaveOut(title string, err error) { r.LeftOut[title] = err.Error() }
func (r *results) leftOut(title string) string      { return r.LeftOut[title] }

func (r *results) writeJSON(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write the results: %w", err)
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// table is what is printed, in Markdown, and how many limits are exceeded.
func (r *results) table(t *thresholds) (table string, exceeded int) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, commit %s, %s; medians of %d interleaved rounds.\n\n", r.Date, r.Commit, r.Machine, r.Rounds)
	fmt.Fprintln(&b, "| figure | goal | measured | |\n|---|---|---|---|")
	for _, g := range t.Goals {
		figure, goal := g.Figure, g.Goal
		for _, l := range g.Limits {
			samples, ok := r.Figures[l.Key]
			measured, verdict := "-", "not measured"
			if ok {
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
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", figure, goal, measured, verdict)
			figure, goal = "", "" // said once
		}
	}
	if len(r.Costs) > 0 {
		fmt.Fprintln(&b, "\n| contender | mode | CPU per callback | callbacks per second |\n|---|---|---|---|")
		for _, c := range r.Costs {
			fmt.Fprintf(&b, "| %s | %s | %.1f us | %.0f |\n", c.Contender, c.Mode, c.MicrosecondsEach, c.PerSecond)
		}
	}
	for _, title := range slices.Sorted(maps.Keys(r.LeftOut)) {
		fmt.Fprintf(&b, "\nLeft out: %s: %s\n", title, r.LeftOut[title])
	}
	known := t.keys()
	var more []string
	for _, key := range slices.Sorted(maps.Keys(r.Figures)) {
		if !known[key] {
			more = append(more, fmt.Sprintf("| %s | %.4g |", key, median(r.Figures[key])))
		}
	}
	if len(more) > 0 {
		fmt.Fprintf(&b, "\n| without a goal | measured |\n|---|---|\n%s\n", strings.Join(more, "\n"))
	}
	return b.String(), exceeded
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

// ratios are those of the rounds: what was measured side by side is compared.
func ratios(over, under []float64) []float64 {
	out := make([]float64, min(len(over), len(under)))
	for i := range out {
		out[i] = over[i] / under[i]
	}
	return out
}
