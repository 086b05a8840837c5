package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

const (
	root = "../../../.."
	docs = "https://github.com/groupgate/groupgate/blob/main/docs/"
)

func theDashboard(t *testing.T) *board {
	t.Helper()
	b, err := readDashboard(filepath.Join(root, "config", "prometheus", "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Every panel has data where two replicas run under all kinds of traffic, and only asks for metrics that they have.
func TestEveryPanelShowsDataOfALiveRun(t *testing.T) {
	scrapes := t.TempDir()
	record := exec.CommandContext(t.Context(), "go", "-C", root, "run", "./hack/record",
		"--dir="+scrapes, "--for=40s")
	if out, err := record.CombinedOutput(); err != nil {
		t.Fatalf("record: %v\n%s", err, out)
	}
	db, err := load(scrapes)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.close() }()
	metrics, err := db.metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	metrics = append(metrics, "ALERTS") // Prometheus' own
	b := theDashboard(t)
	panels := 0
	for i := range b.Panels {
		p := &b.Panels[i]
		if p.Type == "row" {
			continue
		}
		panels++
		if err := db.evaluate(t.Context(), p, 5*time.Second); err != nil {
			t.Error(err)
		}
		if len(p.series) == 0 {
			t.Errorf("%s: no data", p.Title)
		}
		for _, target := range p.Targets {
			for _, name := range selected(t, target.Expr) {
				if !slices.Contains(metrics, name) {
					t.Errorf("%s: no replica has %s", p.Title, name)
				}
			}
		}
	}
	if panels < 20 {
		t.Errorf("%d panels: the dashboard is not read", panels)
	}
	picture := string(draw(b, time.UnixMilli(db.from), time.UnixMilli(db.to)))
	if strings.Contains(picture, "No data") ||
		strings.Contains(picture, "NaN") || strings.Contains(picture, "%!") {
		t.Error("the picture has a panel without data")
	}
}

// selected are the names of the metrics of an expression.
func selected(t *testing.T, expr string) (names []string) {
	t.Helper()
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expand(expr, time.Minute))
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok {
			for _, matcher := range selector.LabelMatchers {
				if matcher.Name == labels.MetricName {
					names = append(names, matcher.Value)
				}
			}
		}
		return nil
	})
	return names
}

// Each panel says what it shows, and links to what to do.
func TestPanelsExplainThemselves(t *testing.T) {
	for _, p := range theDashboard(t).Panels {
		if p.Type == "row" {
			continue
		}
		if p.Description == "" || len(p.Links) == 0 {
			t.Errorf("%s has no description or no link", p.Title)
		}
		if p.Type != "table" && p.FieldConfig.Defaults.Unit == "" {
			t.Errorf("%s has no unit", p.Title)
		}
		for _, link := range p.Links {
			page, anchor, _ := strings.Cut(strings.TrimPrefix(link.URL, docs), "#")
			text, err := os.ReadFile(filepath.Join(root, "docs", filepath.FromSlash(page)))
			if err != nil {
				t.Errorf("%s: %v", p.Title, err)
				continue
			}
			if anchor != "" && !slices.Contains(anchors(string(text)), anchor) {
				t.Errorf("%s: docs/%s has no section %s", p.Title, page, anchor)
			}
		}
	}
}

// anchors are those that GitHub gives to the headings of a page.
func anchors(page string) (found []string) {
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(page, -1) {
		words := regexp.MustCompile("[^a-z0-9 _-]").ReplaceAllString(strings.ToLower(heading[1]), "")
		found = append(found, strings.ReplaceAll(words, " ", "-"))
	}
	return found
}
