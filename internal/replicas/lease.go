package replicas

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	coordination "k8s.io/client-go/applyconfigurations/coordination/v1"
	metaapply "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/callbackhealth"
)

// Report is what a replica says of itself.
type Report struct {
	// Versions is what its published snapshot contains.
	Versions Versions `json:"versions"`
	// Callbacks is what the callbacks of IMApps looked like, by their UIDs; apps without a callback are left out.
	Callbacks map[types.UID]callbackhealth.Seen `json:"callbacks,omitempty"`
	// Gap is when the replica became ready, if none was until then.
	Gap time.Time `json:"gap,omitzero"`
}

// says reports whether r says the same as other, so that it need not be written before it is time to. What is told of
// callbacks is their verdict: their times change all the time.
func (r Report) says(other Report) bool {
	return r.Gap.Equal(other.Gap) && maps.Equal(r.Versions, other.Versions) &&
		maps.EqualFunc(r.Callbacks, other.Callbacks,
			func(a, b callbackhealth.Seen) bool { return a.Verdict() == b.Verdict() })
}

// Pod is the Pod that a replica runs in. Its zero value is a process outside of a Pod, which keeps no Lease.
type Pod struct{ Namespace, Name, UID string }

// leasePrefix keeps the Lease of a Pod apart from that of the election.
const leasePrefix = "replica-"

// Lease returns the name of the Pod's Lease.
func (p Pod) Lease() types.NamespacedName {
	return types.NamespacedName{Namespace: p.Namespace, Name: leasePrefix + p.Name}
}

// newLease is the Lease of a replica that reports at now.
func newLease(pod Pod, started, now time.Time, report Report) (*coordination.LeaseApplyConfiguration, error) {
	encoded, err := json.Marshal(report)
	if err != nil {
		return nil, fmt.Errorf("encode the report: %w", err)
	}
	name := pod.Lease()
	return coordination.Lease(name.Name, name.Namespace).
		WithLabels(map[string]string{v1alpha1.LabelReplica: "true"}).
		WithAnnotations(map[string]string{v1alpha1.AnnotationReport: string(encoded)}).
		// Without blockOwnerDeletion, which would need the right to update finalizers of the Pod.
		WithOwnerReferences(metaapply.OwnerReference().
			WithAPIVersion("v1").WithKind("Pod").WithName(pod.Name).WithUID(types.UID(pod.UID))).
		WithSpec(coordination.LeaseSpec().
			WithHolderIdentity(pod.Name).
			WithLeaseDurationSeconds(int32(liveFor.Seconds())).
			WithAcquireTime(metav1.NewMicroTime(started)).
			WithRenewTime(metav1.NewMicroTime(now))), nil
}

// leased is what a Lease says.
type leased struct {
	name             string
	started, renewed time.Time
	report           Report
}

// readLease reads the Lease of a replica. One whose report cannot be read, that of a later release perhaps, is of a
// replica of which nothing is known.
func readLease(lease *coordinationv1.Lease) leased {
	l := leased{name: lease.Name}
	if lease.Spec.HolderIdentity != nil {
		l.name = *lease.Spec.HolderIdentity
	}
	if lease.Spec.AcquireTime != nil {
		l.started = lease.Spec.AcquireTime.Time
	}
	if lease.Spec.RenewTime != nil {
		l.renewed = lease.Spec.RenewTime.Time
	}
	if err := json.Unmarshal([]byte(lease.Annotations[v1alpha1.AnnotationReport]), &l.report); err != nil {
		l.report = Report{}
	}
	return l
}

// ReadLease returns the name of a replica, when it was last heard of and what it reported. The report of a replica of
// another release may be empty.
func ReadLease(lease *coordinationv1.Lease) (name string, renewed time.Time, report Report) {
	l := readLease(lease)
	return l.name, l.renewed, l.report
}
