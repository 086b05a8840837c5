package webhookserver

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/groupgate/groupgate/internal/policy"
)

// TestMetrics pins the names and label values, which are API, and that all series exist from the start.
func TestMetrics(t *testing.T) {
	g := newGate(t, members("jared"))
	commands := []string{applyCommand, inviteCommand, fullCommand, joinedCommand, createdCommand, "other"}
	results := []string{"admitted", "rejected", "partial", "unreadable", "ignored", "leaked", "unverified",
		"unauthorized", "unknown_app", "missing_app", "too_large", "not_ready", "bad_request", "failed"}
	want := map[string][]string{
		"callback_requests_total":            cross(commands, results),
		"callback_duration_seconds":          commands,
		"callback_auth_failures_total":       {"no_token", "repeated", "missing", "malformed", "wrong", "expired"},
		"callback_auth_token_total":          {"current", "previous"},
		"callback_clock_skew_seconds":        {""},
		"callback_connections":               {"verified", "unverified"},
		"callback_connections_evicted_total": {"verified", "unverified"},
		"callback_unknown_words_total":       {"group_type", "query_command"},
		"join_audit_differences_total":       {""},
		"leaks_total":                        {""},
	}
	for _, trigger := range []string{"Apply", "Invite", "RESTAPI"} {
		for _, v := range []string{"Allowed %s admitted", "NotGated %s admitted", "Unmatched %s admitted",
			"Denied %s rejected", "NotListed %s rejected", "Unmatched %s rejected", "Pruned %s rejected",
			"Restored %s admitted"} {
			want["join_decisions_total"] = append(want["join_decisions_total"],
				v[:len(v)-len("%s admitted")]+trigger+v[len(v)-len(" admitted"):])
		}
	}
	for name, series := range want {
		var got []string
		for labels, value := range g.series(t, name) {
			got = append(got, labels)
			if value != 0 {
				t.Errorf("%s{%s} begins at %v", name, labels, value)
			}
		}
		slices.Sort(got)
		slices.Sort(series)
		if diff := cmp.Diff(series, got); diff != "" {
			t.Errorf("%s (-want,+got):\n%s", name, diff)
		}
	}
	families, err := g.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if len(families) != len(want) {
		t.Errorf("%d metrics, want %d", len(families), len(want))
	}
	problems, err := testutil.GatherAndLint(g.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Errorf("%s: %s", problem.Metric, problem.Text)
	}
}

func cross(a, b []string) (pairs []string) {
	for _, left := range a {
		for _, right := range b {
			pairs = append(pairs, left+" "+right)
		}
	}
	return pairs
}

// TestEveryVerdictIsCounted fails for a reason of package policy without a series.
func TestEveryVerdictIsCounted(t *testing.T) {
	for v := range int(policy.ReasonRestored) {
		reason := policy.Reason(v + 1)
		if !slices.ContainsFunc(verdicts, func(pair struct {
			admit  bool
			reason policy.Reason
		}) bool {
			return pair.reason == reason
		}) {
			t.Errorf("verdicts with reason %s are not counted", reason)
		}
	}
	if next := policy.ReasonRestored + 1; next.String() != policy.Reason(0).String() {
		t.Errorf("reason %s came after the last one that is counted", next)
	}
}

// TestDurationsHaveAnEdgeAtTheVendorsTimeout: the number of late callbacks must be a difference of buckets.
func TestDurationsHaveAnEdgeAtTheVendorsTimeout(t *testing.T) {
	if !slices.Contains(durationBuckets, 2.0) {
		t.Errorf("no edge at 2 s: %v", durationBuckets)
	}
	i := slices.Index(durationBuckets, 2.0)
	if below, above := durationBuckets[i-1], durationBuckets[i+1]; below < 1 || above > 3 {
		t.Errorf("edges around 2 s are %v and %v", below, above)
	}
}

func TestNewMetricsWithoutARegistry(t *testing.T) {
	NewMetrics(nil)
	NewMetrics(nil)
	registry := prometheus.NewRegistry()
	NewMetrics(registry)
	defer func() {
		if recover() == nil {
			t.Error("two servers share one registry in silence")
		}
	}()
	NewMetrics(registry)
}
