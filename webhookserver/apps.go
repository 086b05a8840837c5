package webhookserver

import (
	"iter"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/groupgate/groupgate/internal/callbackhealth"
	"github.com/groupgate/groupgate/internal/policy"
)

// appCounters are the counters of one app, or of the requests that are about no app. A counter of what cannot happen
// there is nil.
type appCounters struct {
	id callbackhealth.ID
	// key is the "namespace/name" of the app.
	key      string
	requests [commandCount][resultCount]prometheus.Counter
	failures [authFailures]prometheus.Counter
	// decisions are indexed by trigger, by whether the join was rejected, and by reason; nil where policy has no such
	// verdict.
	decisions [triggerCount][2][reasonCount]prometheus.Counter
	leaks     prometheus.Counter
	health    *callbackhealth.App
}

func (a *appCounters) counts(app *policy.CompiledApp) bool { return a.id.UID == app.Object().UID }

// appVectors have a label for the app: the "namespace/name" of one that is accepted, empty where the request is about
// none. They follow the published snapshot, so that the series of an app exist before its first callback, are gone with
// it, and no stranger can add any.
type appVectors struct {
	requests, failures, decisions, leaks *prometheus.CounterVec

	none *appCounters // of requests about no app
	// byID has the accepted apps by SDKAppID. A map is never changed once it is published here.
	byID atomic.Pointer[map[uint64]*appCounters]

	mu        sync.Mutex // held to replace byID
	snapshots Snapshots
	followed  *policy.Snapshot
	health    *callbackhealth.Recorder
}

// of returns the counters of an app of a snapshot. It takes a lock for an app that it sees for the first time only.
func (v *appVectors) of(snapshot *policy.Snapshot, app *policy.CompiledApp) *appCounters {
	if known := (*v.byID.Load())[app.SDKAppID()]; known != nil && known.counts(app) {
		return known
	}
	return v.follow(snapshot)[app.SDKAppID()]
}

// follow makes the counters of the snapshot's apps, and deletes those of other apps. It returns those of the snapshot,
// even if another request is about to follow another one.
func (v *appVectors) follow(snapshot *policy.Snapshot) map[uint64]*appCounters {
	v.mu.Lock()
	defer v.mu.Unlock()
	if snapshot == v.followed {
		return *v.byID.Load()
	}
	v.followed = snapshot
	before := *v.byID.Load()
	now := make(map[uint64]*appCounters, len(before))
	labels, ids := map[string]bool{}, map[callbackhealth.ID]bool{}
	for app := range snapshot.Apps() {
		counters := before[app.SDKAppID()]
		if counters == nil || !counters.counts(app) {
			counters = v.newCounters(app)
		}
		now[app.SDKAppID()] = counters
		labels[counters.key], ids[counters.id] = true, true
	}
	v.byID.Store(&now)
	for counters := range maps.Values(before) {
		if !labels[counters.key] {
			for vector := range v.all() {
				vector.DeletePartialMatch(prometheus.Labels{"app": counters.key})
			}
		}
	}
	v.health.Retain(func(id callbackhealth.ID) bool { return ids[id] })
	return now
}

func (v *appVectors) newCounters(app *policy.CompiledApp) *appCounters {
	object := app.Object()
	a := &appCounters{id: callbackhealth.ID{Namespace: object.Namespace, Name: object.Name, UID: object.UID}}
	a.health = v.health.App(a.id)
	a.key = object.Key()
	for c := range commandCount {
		for r := range resultCount {
			if !r.withoutApp() {
				a.requests[c][r] = v.requests.WithLabelValues(a.key, c.String(), resultNames[r])
			}
		}
	}
	for reason := authenticated + 1; reason < authFailures; reason++ {
		a.failures[reason] = v.failures.WithLabelValues(a.key, authFailureNames[reason])
	}
	a.leaks = v.leaks.WithLabelValues(a.key)
	for trigger := range triggerCount {
		for _, pair := range verdicts {
			rejected, verdict := verdictIndex(pair.admit)
			a.decisions[trigger][rejected][pair.reason] = v.decisions.WithLabelValues(a.key,
				policy.Trigger(trigger).String(), verdict, pair.reason.String())
		}
	}
	return a
}

func (v *appVectors) newCountersOfNone() *appCounters {
	a := new(appCounters)
	for c := range commandCount {
		for r := range resultCount {
			probe := r == resultIgnored && c == commandOther // of `groupgate check`
			if r.withoutApp() || r == resultTooLarge || r == resultBadRequest || r == resultFailed || probe {
				a.requests[c][r] = v.requests.WithLabelValues("", c.String(), resultNames[r])
			}
		}
	}
	return a
}

func (v *appVectors) all() iter.Seq[*prometheus.CounterVec] {
	return func(yield func(*prometheus.CounterVec) bool) {
		_ = yield(v.requests) && yield(v.failures) && yield(v.decisions) && yield(v.leaks)
	}
}

// Describe implements prometheus.Collector.
func (v *appVectors) Describe(to chan<- *prometheus.Desc) {
	for vector := range v.all() {
		vector.Describe(to)
	}
}

// Collect implements prometheus.Collector. It follows the published snapshot first.
func (v *appVectors) Collect(to chan<- prometheus.Metric) {
	v.published()
	for vector := range v.all() {
		vector.Collect(to)
	}
}

// published returns the counters of the apps of the published snapshot.
func (v *appVectors) published() map[uint64]*appCounters {
	v.mu.Lock()
	snapshots := v.snapshots
	v.mu.Unlock()
	if snapshots != nil {
		if snapshot := snapshots.Load(); snapshot != nil {
			return v.follow(snapshot)
		}
	}
	return nil
}

func (v *appVectors) joins() map[string]Joins {
	joins := map[string]Joins{}
	for app := range maps.Values(v.published()) {
		total := Joins{Leaked: read(app.leaks)}
		for _, verdicts := range app.decisions {
			for rejected, reasons := range verdicts {
				for _, counter := range reasons {
					switch {
					case counter == nil:
					case rejected == 0:
						total.Admitted += read(counter)
					default:
						total.Refused += read(counter)
					}
				}
			}
		}
		joins[app.key] = total
	}
	return joins
}

func read(counter prometheus.Counter) uint64 {
	var metric dto.Metric
	if counter.Write(&metric) != nil {
		return 0
	}
	return uint64(metric.GetCounter().GetValue())
}

// serve says what to follow, and what to tell about callbacks.
func (v *appVectors) serve(snapshots Snapshots, health *callbackhealth.Recorder) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.snapshots, v.health = snapshots, health
}
