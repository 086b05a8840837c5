package term

import (
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
)

func TestElectionValidate(t *testing.T) {
	cases := map[string]struct {
		change func(*Election)
		want   string // a part of the error, empty for none
	}{
		"Defaults":    {func(*Election) {}, ""},
		"Disabled":    {func(c *Election) { *c = Election{} }, ""},
		"NoNamespace": {func(c *Election) { c.Namespace = "" }, "--leader-election-namespace"},
		"NoID":        {func(c *Election) { c.ID = "" }, "--leader-election-id"},
		"DeadlineNotLess": {
			func(c *Election) { c.RenewDeadline = c.LeaseDuration },
			"--leader-election-renew-deadline (15s) must be less",
		},
		"DeadlineTooShort": {
			func(c *Election) { c.RenewDeadline = 2400 * time.Millisecond },
			"more than 1.2 times --leader-election-retry-period",
		},
		"NoRetryPeriod": {func(c *Election) { c.RetryPeriod = 0 }, "--leader-election-retry-period"},
		"HalfSeconds":   {func(c *Election) { c.LeaseDuration = 15500 * time.Millisecond }, "whole seconds"},
		"NegativeDurations": {
			func(c *Election) { c.LeaseDuration = -time.Second },
			"--leader-election-lease-duration",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := Election{
				Enabled: true, ID: "groupgate-manager", Namespace: "groupgate-system",
				LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
			}
			tc.change(&c)
			err := c.Validate()
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("Validate() = %v, want %q", err, tc.want)
			}
			term, err := New(&rest.Config{}, c, nil, logr.Discard())
			if err != nil {
				t.Fatal(err)
			}
			if (term.Lock != nil) != c.Enabled {
				t.Errorf("enabled %t, lock %v", c.Enabled, term.Lock)
			}
		})
	}
}
