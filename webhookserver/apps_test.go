package webhookserver

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/groupgate/groupgate/internal/callbackhealth"
	"github.com/groupgate/groupgate/internal/policy"
)

// apps is an input with apps of these names, each with the token and an SDKAppID of its own.
func apps(names ...string) *policy.Input {
	var input policy.Input
	for i, name := range names {
		app := theApp()
		app.Object, app.SDKAppID = object(name), appID+uint64(i)
		input.Apps = append(input.Apps, app)
	}
	return &input
}

func of(app int, query string) string {
	return strings.Replace(query, "SdkAppid=1400000000", fmt.Sprint("SdkAppid=", appID+app), 1)
}

// TestSeriesOfAnAppFollowTheSnapshot: the series of an app begin with 0 before its first callback, and end with it.
func TestSeriesOfAnAppFollowTheSnapshot(t *testing.T) {
	g := startGate(t, apps("prod", "test"))
	byApp := func(metric string) map[string]bool {
		families, err := g.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]bool{}
		for _, family := range families {
			if family.GetName() != metric {
				continue
			}
			for _, series := range family.GetMetric() {
				found[series.GetLabel()[0].GetValue()] = true
			}
		}
		return found
	}
	both := map[string]bool{"chat/prod": true, "chat/test": true}
	withNone := map[string]bool{"": true, "chat/prod": true, "chat/test": true}
	for metric, want := range map[string]map[string]bool{
		"groupgate_callback_requests_total":      withNone,
		"groupgate_callback_auth_failures_total": both,
		"groupgate_join_decisions_total":         both,
	} {
		if diff := cmp.Diff(want, byApp(metric)); diff != "" {
			t.Errorf("%s before the first callback (-want,+got):\n%s", metric, diff)
		}
	}
	g.store.Publish(policy.Compile(*apps("prod")))
	for metric, want := range map[string]map[string]bool{
		"groupgate_callback_requests_total":      {"": true, "chat/prod": true},
		"groupgate_callback_auth_failures_total": {"chat/prod": true},
		"groupgate_join_decisions_total":         {"chat/prod": true},
	} {
		if diff := cmp.Diff(want, byApp(metric)); diff != "" {
			t.Errorf("%s after the app is gone (-want,+got):\n%s", metric, diff)
		}
	}
}

func TestCallbacksAreCountedByApp(t *testing.T) {
	g := startGate(t, apps("prod", "test"))
	g.post(t, signed(of(0, query(applyCommand))), applyBody("jared"))
	g.post(t, signed(of(1, query(applyCommand))), applyBody("jared"))
	g.post(t, of(1, query(applyCommand)), applyBody("jared"))
	g.post(t, signed(of(7, query(applyCommand))), applyBody("jared"))
	g.post(t, "", applyBody("jared"))
	vectors := g.server.Metrics.apps
	requests := func(labels ...string) float64 {
		return testutil.ToFloat64(vectors.requests.WithLabelValues(labels...))
	}
	for series, got := range map[string]float64{
		"prod admitted": requests("chat/prod", applyCommand, "admitted"),
		"test admitted": requests("chat/test", applyCommand, "admitted"),
		"test 401":      requests("chat/test", applyCommand, "unauthorized"),
		"unknown":       requests("", applyCommand, "unknown_app"),
		"missing":       requests("", "other", "missing_app"),
		"test missing":  testutil.ToFloat64(vectors.failures.WithLabelValues("chat/test", "missing")),
		"test decided": testutil.ToFloat64(
			vectors.decisions.WithLabelValues("chat/test", "Apply", "admitted", "Unmatched")),
	} {
		if got != 1 {
			t.Errorf("%s: %v, want 1", series, got)
		}
	}
}

// TestCountersSurviveASnapshot: a rate must not lose what was counted before an edit.
func TestCountersSurviveASnapshot(t *testing.T) {
	g := startGate(t, members("jared"))
	for range 3 {
		g.post(t, signed(query(applyCommand)), applyBody("jared"))
		g.store.Publish(policy.Compile(*members("jared")))
	}
	if got := g.count(t, "callback_requests_total", applyCommand, "admitted"); got != 3 {
		t.Errorf("counted %v, want 3", got)
	}
}

func TestHealthOfCallbacks(t *testing.T) {
	now := wallClock
	health := new(callbackhealth.Recorder)
	g := startGate(t, apps("prod", "test"), func(s *Server) {
		s.Now, s.Health = func() time.Time { return now }, health
	})
	at := func(second int) time.Time { return wallClock.Add(time.Duration(second) * time.Second) }
	for second, query := range []string{
		signedBy(token, wallClock, query(applyCommand)),
		signedBy("another", wallClock, query(applyCommand)),
		query(applyCommand),
		signedBy(token, wallClock.Add(-time.Hour), query(applyCommand)),
	} {
		now = at(second)
		g.post(t, query, applyBody("jared"))
	}
	id := callbackhealth.ID{Namespace: "chat", Name: "prod", UID: "uid-prod"}
	want := callbackhealth.Seen{
		Right: at(0), Wrong: at(1), Unsigned: at(2), Skewed: at(3), Skew: time.Hour + 3*time.Second,
	}
	if diff := cmp.Diff(want, health.Seen(id)); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
	other := callbackhealth.ID{Namespace: "chat", Name: "test", UID: "uid-test"}
	if got := health.Seen(other); got != (callbackhealth.Seen{}) {
		t.Errorf("another app: %v", got)
	}
	g.store.Publish(policy.Compile(policy.Input{}))
	g.series(t, "callback_requests_total")
	if got := health.Seen(id); got != (callbackhealth.Seen{}) {
		t.Errorf("after the app is gone: %v", got)
	}
}

// TestCountingWhileSnapshotsChange: a request and a scrape may follow two snapshots, in either order.
func TestCountingWhileSnapshotsChange(t *testing.T) {
	g := startGate(t, apps("prod"))
	var both sync.WaitGroup
	both.Go(func() {
		for i := range 200 {
			if i%2 == 0 {
				g.store.Publish(policy.Compile(policy.Input{}))
			} else {
				g.store.Publish(policy.Compile(*apps("prod")))
			}
			g.series(t, "callback_requests_total")
		}
	})
	both.Go(func() {
		for range 200 {
			got := g.post(t, signed(query(applyCommand)), applyBody("jared"))
			if shape := got.shape(); shape != "200 OK 0" && shape != "403 FAIL 1" {
				t.Errorf("got %s", shape)
			}
		}
	})
	both.Wait()
}
