package term

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

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
		text := "# HELP groupgate_watch_age_seconds Age of the election Lease's last renewal as this replica's own " +
			"watch saw it; since the start of the process if it saw none.\n" +
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
	age.observe(lease(began.Add(28 * time.Second)))
	scrape("2")
	if age.Silent() {
		t.Error("silent 2 s after a renewal")
	}
	now = began.Add(60 * time.Second)
	scrape("32")
	if !age.Silent() {
		t.Error("a Lease of 15 s was not renewed for 32 s, or its watch is silent")
	}
	age.observe(&coordinationv1.Lease{})
	scrape("32")
	age.observe(lease(began.Add(61 * time.Second)))
	scrape("0")
}
