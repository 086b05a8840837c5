package main

import (
	_ "embed"
	"fmt"

	"sigs.k8s.io/yaml"
)

//go:embed thresholds.yaml
var thresholdsFile []byte

// thresholds are the goals, and the limits that make a run fail.
type thresholds struct {
	Goals []goal `json:"goals"`
}

// goal is one row of the table. It may have several limits, such as one for each mode.
type goal struct {
	Figure string  `json:"figure"`
	Goal   string  `json:"goal"`
	Limits []limit `json:"limits"`
}

// limit bounds the median of one figure.
type limit struct {
	Key   string   `json:"key"`
	Label string   `json:"label,omitempty"`
	Unit  string   `json:"unit,omitempty"`
	Max   *float64 `json:"max,omitempty"`
	Min   *float64 `json:"min,omitempty"`
}

func loadThresholds() (*thresholds, error) {
	t := &thresholds{}
	if err := yaml.UnmarshalStrict(thresholdsFile, t); err != nil {
		return nil, fmt.Errorf("read thresholds.yaml: %w", err)
	}
	for _, g := range t.Goals {
		for _, l := range g.Limits {
			if l.Key == "" || (l.Max == nil && l.Min == nil) {
				return nil, fmt.Errorf("thresholds.yaml: every limit of %q needs a key, and max, min or both", g.Figure)
			}
		}
	}
	return t, nil
}

func (l *limit) exceeded(value float64) bool {
	return (l.Max != nil && value > *l.Max) || (l.Min != nil && value < *l.Min)
}

// format writes ratios with two digits after the point, and anything else as it can be read.
func (l *limit) format(value float64) string {
	if l.Unit == "" {
		return fmt.Sprintf("%.2f", value)
	}
	return fmt.Sprintf("%.4g %s", value, l.Unit)
}
