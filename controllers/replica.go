package controllers

import (
	"iter"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/callbackhealth"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/replicas"
)

// Replica tells package replicas what the published snapshot of this replica contains. A nil Replica tells nothing.
type Replica struct {
	Members     *replicas.Members
	Enforcement *replicas.Enforcement
	Health      *callbackhealth.Recorder

	store *policy.Store
}

// NewReplica makes the Replica whose snapshots r builds, and whose callbacks health has seen.
func NewReplica(r *SnapshotReconciler, members *replicas.Members, health *callbackhealth.Recorder) *Replica {
	replica := &Replica{Members: members, Health: health, store: r.Store}
	replica.Enforcement = replicas.NewEnforcement(members, r.observeWatches)
	return replica
}

// observeWatches returns what the published snapshot contains by now, nil if a build is about to tell, the versions of
// the newest changes in it, and since when which watches have not been in order. Most events change no snapshot, those
// of status writes for instance, and are contained without a build.
func (r *SnapshotReconciler) observeWatches() (
	settled, changed replicas.Versions, failing map[replicas.Watch]time.Time,
) {
	failing = map[replicas.Watch]time.Time{}
	for _, state := range r.Watches.States() {
		if !state.FailingSince.IsZero() {
			failing[replicas.Watch{Kind: state.Kind, Namespace: state.Namespace}] = state.FailingSince
		}
	}
	covered := coverageOf(r.Watches)
	if !r.changed.settled() { // after the versions, which must not be newer than the changes that are counted
		return nil, nil, failing
	}
	return covered.delivered, covered.changed, failing
}

// maxReportedApps bounds a Lease. An app beyond it is judged by what the leader sees itself.
const maxReportedApps = 200

// Report returns what this replica has to say; false before the first publication.
func (r *Replica) Report() (replicas.Report, bool) {
	report := replicas.Report{
		Versions: r.Members.Versions(), Callbacks: map[types.UID]callbackhealth.Seen{}, Gap: r.Members.OwnGap(),
	}
	if report.Versions == nil {
		return report, false
	}
	for app := range r.store.Load().Apps() {
		seen := r.Health.Seen(healthID(app.Object()))
		if seen == (callbackhealth.Seen{}) {
			continue
		}
		if report.Callbacks[types.UID(app.Object().UID)] = seen; len(report.Callbacks) == maxReportedApps {
			break
		}
	}
	return report, true
}

func healthID(o policy.Object) callbackhealth.ID {
	return callbackhealth.ID{Namespace: o.Namespace, Name: o.Name, UID: o.UID}
}

// took records a change that the next publication contains.
func (r *Replica) took(change changedObject) {
	if r != nil && change.deleted {
		r.Enforcement.Forget(change.object.GetUID())
	}
}

// published records a publication that contains everything that is covered. referring are the policies of which the
// references resolve to something else than before, rotated the apps of which the Secret has changed.
func (r *Replica) published(
	covered coverage, referring iter.Seq[policy.Object], rotated []*v1alpha1.IMApp,
) {
	if r == nil {
		return
	}
	r.Members.Published(covered.delivered, covered.changed)
	for p := range referring {
		r.Enforcement.Resolved(kindPolicy, p.Namespace, p.Name, types.UID(p.UID), covered.changed)
	}
	for _, app := range rotated {
		r.Enforcement.Resolved(kindApp, app.Namespace, app.Name, app.UID, covered.changed)
	}
	r.Enforcement.ChangedHere()
}
