package controllers

import (
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestElectionConfigValidate(t *testing.T) {
	cases := map[string]struct {
		change func(*ElectionConfig)
		want   string // a part of the error, empty for none
	}{
		"Defaults":          {func(*ElectionConfig) {}, ""},
		"Disabled":          {func(c *ElectionConfig) { *c = ElectionConfig{} }, ""},
		"NoNamespace":       {func(c *ElectionConfig) { c.Namespace = "" }, "--leader-election-namespace"},
		"NoID":              {func(c *ElectionConfig) { c.ID = "" }, "--leader-election-id"},
		"DeadlineNotLess":   {func(c *ElectionConfig) { c.RenewDeadline = c.LeaseDuration }, "--leader-election-renew-deadline (15s) must be less"},
		"DeadlineTooShort":  {func(c *ElectionConfig) { c.RenewDeadline = 2400 * time.Millisecond }, "more than 1.2 times --leader-election-retry-period"},
		"NoRetryPeriod":     {func(c *ElectionConfig) { c.RetryPeriod = 0 }, "--leader-election-retry-period"},
		"HalfSeconds":       {func(c *ElectionConfig) { c.LeaseDuration = 15500 * time.Millisecond }, "whole seconds"},
		"NegativeDurations": {func(c *ElectionConfig) { c.LeaseDuration = -time.Second }, "--leader-election-lease-duration"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := ElectionConfig{
				Enabled: true, ID: "groupgate-manager", Namespace: "groupgate-system",
				LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
			}
			tc.change(&c)
			err := c.Validate()
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("Validate() = %v, want %q", err, tc.want)
			}
			term, termErr := NewTerm(apiServer, c, nil, logr.Discard())
			must(t, termErr)
			if (term.Lock != nil) != c.Enabled {
				t.Errorf("enabled %t, lock %v", c.Enabled, term.Lock)
			}
		})
	}
}

func TestWatchAge(t *testing.T) {
	began := time.Unix(1700000000, 0)
	now := began
	registry := prometheus.NewRegistry()
	age := NewWatchAge(nil, 15*time.Second, func() time.Time { return now }, registry)
	lease := func(renewed time.Time) *coordinationv1.Lease {
		return &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{RenewTime: &metav1.MicroTime{Time: renewed}}}
	}
	scrape := func(want string) {
		t.Helper()
		text := "# HELP groupgate_watch_age_seconds Age of the election Lease's last renewal as this replica's own watch saw it; since the start of the process if it saw none.\n" +
			"# TYPE groupgate_watch_age_seconds gauge\ngroupgate_watch_age_seconds " + want + "\n"
		if err := testutil.GatherAndCompare(registry, strings.NewReader(text)); err != nil {
			t.Error(err)
		}
	}
	scrape("0")
	now = began.Add(30 * time.Second)
	scrape("30") // a watch that never came up is as dead as one that went silent
	if !age.Silent() {
		t.Error("it says nothing of a watch that never came up")
	}
	age.saw(lease(began.Add(28 * time.Second)))
	scrape("2")
	if age.Silent() {
		t.Error("silent 2 s after a renewal")
	}
	now = began.Add(60 * time.Second)
	scrape("32")
	if !age.Silent() {
		t.Error("a Lease of 15 s was not renewed for 32 s, or its watch is silent")
	}
	age.saw(&coordinationv1.Lease{})
	scrape("32")
	age.saw(lease(began.Add(61 * time.Second)))
	scrape("0")
}
