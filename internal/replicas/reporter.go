package replicas

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// reportInterval bounds the load on the API server while objects are edited all the time.
	reportInterval = time.Second
	// renewInterval is the time between two reports of a replica with nothing new to say.
	renewInterval = 10 * time.Second
	// writeTimeout bounds one write.
	writeTimeout = 5 * time.Second
	// patience is how long readiness waits for the first report. A replica that may not write Leases answers callbacks
	// as well as any other.
	patience = 10 * time.Second

	fieldOwner = client.FieldOwner("groupgate-replica")
)

// Reporter keeps the Lease of this replica: from the first publication until Leave. It is a manager.Runnable on every
// replica.
type Reporter struct {
	Client client.Client
	Pod    Pod
	// Report returns what to report; false before the first publication.
	Report func() (Report, bool)
	// Hold says why this replica must not answer callbacks yet. Until it is nil once, there is no Lease: a replica that
	// does not answer keeps nothing from being in force.
	Hold    func() error
	Members *Members
	Now     func() time.Time
	Log     logr.Logger

	mu      sync.Mutex
	started time.Time
	written time.Time // of the last report that the API server has
	report  Report    // that one
	since   time.Time // when Hold was nil
	problem error     // why the last write failed, or what Hold said
	left    bool
}

// NeedLeaderElection is false: every replica reports.
func (*Reporter) NeedLeaderElection() bool { return false }

// Start reports until ctx ends. A Lease that it finds is that of an earlier process in the same Pod, which has ended,
// and answers no callback any more; this one does not yet.
func (r *Reporter) Start(ctx context.Context) error {
	r.started = r.Now()
	r.Members.starts(r.started)
	if r.written.IsZero() { // not again after a panic
		if err := r.remove(ctx); err != nil {
			r.Log.Info("The Lease of an earlier process in this Pod could not be deleted", "reason", err.Error())
		}
	}
	tick := time.NewTicker(reportInterval)
	defer tick.Stop()
	for {
		r.renew(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// renew writes the Lease if there is something new, or it is time to.
func (r *Reporter) renew(ctx context.Context) {
	report, ok := r.Report()
	if !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.Now()
	if r.since.IsZero() {
		if r.problem = r.Hold(); r.problem != nil {
			return
		}
		r.since = now
		r.Members.expect()
	}
	if r.left || r.report.says(report) && now.Sub(r.written) < renewInterval {
		return
	}
	err := r.write(ctx, now, report)
	switch {
	case err == nil && r.problem != nil:
		r.Log.Info("The Lease of this replica is written again")
	case err != nil && r.problem == nil && ctx.Err() == nil:
		r.Log.Error(err, "The Lease of this replica could not be written: until it is, the leader takes this replica "+
			"for one that does not enforce what is new", "lease", r.Pod.Lease().String())
	}
	if r.problem = err; err == nil {
		r.written, r.report = now, report
	}
}

func (r *Reporter) write(ctx context.Context, now time.Time, report Report) error {
	lease, err := newLease(r.Pod, r.started, now, report)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return r.Client.Apply(ctx, lease, fieldOwner, client.ForceOwnership)
}

// Reported returns nil once the leader can know of this replica, and says why not until then. It is a condition of
// readiness: a replica that answers without being known could enforce old objects while Programmed says otherwise.
func (r *Reporter) Reported() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !r.written.IsZero() || !r.since.IsZero() && r.Now().Sub(r.since) >= patience:
		return nil
	case r.problem != nil && r.since.IsZero():
		return r.problem
	case r.problem != nil:
		return fmt.Errorf("waiting for the Lease %s: %w", r.Pod.Lease(), r.problem)
	}
	return fmt.Errorf("waiting for the Lease %s", r.Pod.Lease())
}

// Leave deletes the Lease: this replica answers no callback any more. Without it the Lease would go with the Pod. The
// Lease is renewed before that, since a replica that is to take over must know that this one answered until now.
func (r *Reporter) Leave(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left = true
	if r.written.IsZero() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err := errors.Join(r.write(ctx, r.Now(), r.report), r.remove(ctx))
	if err != nil {
		r.Log.Info("The Lease of this replica could not be deleted, it will go with the Pod", "reason", err.Error())
	}
}

func (r *Reporter) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	name := r.Pod.Lease()
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}}
	return client.IgnoreNotFound(r.Client.Delete(ctx, lease))
}
