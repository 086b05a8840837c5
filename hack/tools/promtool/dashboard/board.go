package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

// board is the part of a Grafana dashboard that says what is shown.
type board struct {
	Title  string  `json:"title"`
	Panels []panel `json:"panels"`
}

type panel struct {
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Links                    []struct{ Title, URL string }
	Targets                  []struct {
		Expr, LegendFormat string
		Instant            bool
	}
	FieldConfig struct {
		Defaults struct {
			Unit       string
			Decimals   *int
			Min        *float64
			Thresholds struct{ Steps []threshold }
			Mappings   []struct {
				Options map[string]struct{ Text string }
			}
			Custom struct {
				Stacking          struct{ Mode string }
				ScaleDistribution struct{ Type string }
				ThresholdsStyle   struct{ Mode string }
			}
		}
		Overrides []struct {
			Matcher    struct{ Options string }
			Properties []struct {
				ID    string
				Value struct{ FixedColor string }
			}
		}
	}

	series []series
}

type threshold struct {
	Color string
	Value *float64 // the first one has none
}

// series is what one line of a panel shows.
type series struct {
	legend string
	labels map[string]string
	points []point
}

type point struct {
	at    int64 // milliseconds of Unix time
	value float64
}

func readDashboard(file string) (*board, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the dashboard: %w", err)
	}
	b := &board{}
	if err := json.Unmarshal(text, b); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return b, nil
}

// expand replaces the variables as Grafana does where All is chosen.
func expand(expr string, rateInterval time.Duration) string {
	return strings.NewReplacer(
		"$namespace", ".*", "$app", ".*", "$__rate_interval", fmt.Sprintf("%ds", int(rateInterval.Seconds())),
	).Replace(expr)
}

// legend fills in the labels of a series.
func legend(format string, labels map[string]string) string {
	for name, value := range labels {
		format = strings.ReplaceAll(format, "{{"+name+"}}", value)
	}
	return format
}
