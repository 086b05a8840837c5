package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// alertTest is a test of promtool.
type alertTest struct {
	Name        string
	InputSeries []struct{ Series string } `json:"input_series"`
	Expressions []struct {
		Expr    string
		Samples []struct{ Labels string } `json:"exp_samples"`
	} `json:"promql_expr_test"`
}

// fires counts the times at which an alert fires, and those at which it does not though its metrics are there.
func (a alertTest) fires(alert string, metrics []string) (fires, quiet int) {
	related := false
	for _, input := range a.InputSeries {
		for _, metric := range metrics {
			related = related || strings.HasPrefix(input.Series, metric)
		}
	}
	for _, at := range a.Expressions {
		firing := false
		for _, sample := range at.Samples {
			firing = firing || strings.Contains(sample.Labels, `"`+alert+`"`)
		}
		switch {
		case !strings.Contains(at.Expr, "ALERTS"):
		case firing:
			fires++
		case related:
			quiet++
		}
	}
	return fires, quiet
}

// An alert that never fires in a test may be unable to; one that always does may be unable not to.
func TestEveryAlertHasATestThatFiresItAndOneThatDoesNot(t *testing.T) {
	var rule struct {
		Spec struct {
			Groups []struct {
				Rules []struct{ Alert, Expr string }
			}
		}
	}
	var file struct{ Tests []alertTest }
	for name, into := range map[string]any{"alerts.yaml": &rule, "alerts_test.yaml": &file} {
		text, err := os.ReadFile(filepath.Join("config", "prometheus", name))
		if err == nil {
			err = yaml.Unmarshal(text, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	metric := regexp.MustCompile(`(?:groupgate|controller_runtime)_[a-z_]+`)
	for _, alert := range rule.Spec.Groups[0].Rules {
		fires, quiet := 0, 0
		for _, test := range file.Tests {
			f, q := test.fires(alert.Alert, metric.FindAllString(alert.Expr, -1))
			fires, quiet = fires+f, quiet+q
		}
		if fires == 0 || quiet == 0 {
			t.Errorf("%s: %d tests fire it, %d with its metrics do not; want one of each", alert.Alert, fires, quiet)
		}
	}
}

// Each runbook begins with a command, and says when the alert ends.
func TestRunbooksCanBeFollowed(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("docs", "alerts.md"))
	if err != nil {
		t.Fatal(err)
	}
	sections := strings.Split(string(page), "\n## ")[1:]
	for _, section := range sections {
		name, text, _ := strings.Cut(section, "\n")
		if !strings.Contains(text, "**First**") && !strings.Contains(text, "1. `kubectl") {
			t.Errorf("%s does not say what to look at first", name)
		}
		if !strings.Contains(text, "**Ends**") {
			t.Errorf("%s does not say when the alert ends", name)
		}
	}
	if len(sections) < 20 {
		t.Errorf("%d sections: the page is not read", len(sections))
	}
}
