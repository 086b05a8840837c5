package controllers

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

func TestAgeOfTheRoundGrowsUntilTheNextIsComplete(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	registry := prometheus.NewRegistry()
	m := NewEvictMetrics(registry, func() time.Time { return now })
	m.round("chat/prod", now.Add(-time.Minute), 24*time.Hour)
	m.round("chat/new", time.Time{}, time.Hour)
	m.round("chat/gone", now, time.Hour)
	m.noRound("chat/gone")
	now = now.Add(time.Hour)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetName() == "app" {
					got[family.GetName()+" "+label.GetValue()] = metric.GetGauge().GetValue()
				}
			}
		}
	}
	want := map[string]float64{
		"groupgate_evict_round_seconds chat/prod":          3660,
		"groupgate_evict_round_interval_seconds chat/prod": 86400,
		"groupgate_evict_round_interval_seconds chat/new":  3600,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
}
