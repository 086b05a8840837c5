package controllers

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/groupgate/groupgate/internal/callbackhealth"
	"github.com/groupgate/groupgate/internal/informers"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/replicas"
)

// Replica tells package replicas what the published snapshot of this replica contains. A nil Replica tells nothing.
type Replica struct {
	Watches     *informers.Watches
	Members     *replicas.Members
	Enforcement *replicas.Enforcement
	Health      *callbackhealth.Recorder

	store *policy.Store
}

// NewReplica makes the Replica whose snapshots r builds from the watches, and whose callbacks health has seen.
func NewReplica(
	r *SnapshotReconciler, watches *informers.Watches, members *replicas.Members, health *callbackhealth.Recorder,
) *Replica {
	replica := &Replica{Watches: watches, Members: members, Health: health, store: r.Store}
	replica.Enforcement = replicas.NewEnforcement(members, func() (replicas.Versions, map[replicas.Watch]time.Time) {
		versions, failing := replica.versions() // before the changes are counted
		if !r.changed.settled() {
			versions = nil
		}
		return versions, failing
	})
	return replica
}

// maxReportedApps bounds a Lease. An app beyond it is judged by what the leader sees itself.
const maxReportedApps = 200

// Report returns what this replica has to say; false before the first publication.
func (r *Replica) Report() (replicas.Report, bool) {
	report := replicas.Report{Versions: r.Members.Versions(), Callbacks: map[types.UID]callbackhealth.Seen{}}
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

// delivered returns up to which version the changed objects have every event of each watch.
func (r *Replica) delivered() replicas.Versions {
	if r == nil {
		return nil
	}
	versions, _ := r.versions()
	return versions
}

func (r *Replica) versions() (replicas.Versions, map[replicas.Watch]time.Time) {
	versions, failing := replicas.Versions{}, map[replicas.Watch]time.Time{}
	for _, state := range r.Watches.States() {
		watch := replicas.Watch{Kind: state.Kind, Namespace: state.Namespace}
		if state.Delivered != "" {
			versions[watch] = state.Delivered
		}
		if !state.FailingSince.IsZero() {
			failing[watch] = state.FailingSince
		}
	}
	return versions, failing
}

// published reports a publication that contains the changes, and everything up to the versions.
func (r *Replica) published(
	versions replicas.Versions, changes map[objectKey]changedObject, compiler *policy.Compiler,
) {
	if r == nil {
		return
	}
	r.Members.Published(versions)
	for _, change := range changes {
		if change.deleted {
			r.Enforcement.Forget(change.object.GetUID())
		}
	}
	for p := range compiler.Referring() {
		r.Enforcement.Resolved(kindPolicy, p.Namespace, p.Name, types.UID(p.UID), versions)
	}
	r.Enforcement.Changed()
}
