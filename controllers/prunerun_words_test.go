package controllers

import (
	"errors"
	"testing"
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/policy"
)

func TestPlanMessage(t *testing.T) {
	tests := map[string]struct {
		candidates, removals int
		inactiveFor          time.Duration
		want                 string
	}{
		"several":  {4, 3, 90 * 24 * time.Hour, "3 of 4 inactive members are to go; inactive is who neither joined nor spoke for 90d."},
		"one":      {4, 1, 36 * time.Hour, "1 of 4 inactive members is to go; inactive is who neither joined nor spoke for 1d12h."},
		"the only": {1, 1, 24 * time.Hour, "1 of 1 inactive member is to go; inactive is who neither joined nor spoke for 1d."},
		"none":     {0, 0, 24 * time.Hour, "No member that may go is inactive; inactive is who neither joined nor spoke for 1d."},
		"no need":  {6, 0, 48 * time.Hour, "Enough seats are free, so that none of 6 inactive members is to go; inactive is who neither joined nor spoke for 2d."},
		"in hours": {2, 2, 23 * time.Hour, "2 of 2 inactive members are to go; inactive is who neither joined nor spoke for 23h."},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			plan := policy.Plan{Candidates: tc.candidates, Removals: make([]policy.Removal, tc.removals)}
			if got := planMessage(plan, &policy.PruneRule{InactiveFor: tc.inactiveFor}); got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

func TestRemovedAndKept(t *testing.T) {
	for want, status := range map[string]v1alpha1.PruneRunStatus{
		"2 members were removed.":                  {Removed: 2},
		"1 member was removed, and 1 was kept.":    {Removed: 1, Kept: make([]v1alpha1.KeptAccount, 1)},
		"9 members were removed, and 3 were kept.": {Removed: 9, Kept: make([]v1alpha1.KeptAccount, 3)},
	} {
		if got := removedAndKept(&status); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestVendorsWordsEndInOneFullStop(t *testing.T) {
	for _, words := range []string{"it is closed", "it is closed.", "it is closed... "} {
		if got, want := couldNot("read the group", errors.New(words)), "Could not read the group: it is closed."; got != want {
			t.Errorf("%q: got %q, want %q", words, got, want)
		}
	}
}
