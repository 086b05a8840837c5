package check

import (
	"context"
	"maps"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/replicas"
)

const (
	leader      topic = "Leader"
	replicaList topic = "Replicas"

	// agreement is how long the replicas may take to reach what one of them has reported: they report once a second.
	agreement     = 5 * time.Second
	agreementPoll = 500 * time.Millisecond
	// defaultLease is the duration of the election's Lease, if it says none.
	defaultLease = 15 * time.Second
)

// report is what a replica says of itself.
type report struct {
	name    string
	renewed time.Time
	replicas.Report
}

func (c *Checker) checkLeader(ctx context.Context) Line {
	const look = "look at the log of the manager; without a leader no status is written and no group is pruned"
	lease := &coordinationv1.Lease{}
	name := c.Election
	err := c.Client.Get(ctx, name, lease)
	switch {
	case apierrors.IsNotFound(err):
		return leader.fail(look+". Does --leader-election-namespace name its namespace?", "there is no Lease %s", name)
	case err != nil:
		return leader.notRead(err)
	case lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" || lease.Spec.RenewTime == nil:
		return leader.fail(look, "nobody holds the Lease %s", name)
	}
	life := defaultLease
	if lease.Spec.LeaseDurationSeconds != nil {
		life = time.Duration(*lease.Spec.LeaseDurationSeconds) * time.Second
	}
	age := c.Now().Sub(lease.Spec.RenewTime.Time).Round(time.Second)
	if age > life {
		return leader.fail(look, "%s was the leader, and renewed the Lease %s %s ago",
			*lease.Spec.HolderIdentity, name, age)
	}
	return leader.ok("%s renewed the Lease %s %s ago", *lease.Spec.HolderIdentity, name, max(age, 0))
}

// checkReplicas waits until all replicas have reached the newest versions that any has reported.
func (c *Checker) checkReplicas(ctx context.Context) []Line {
	if err := c.readReports(ctx); err != nil {
		return []Line{replicaList.notRead(err)}
	}
	if len(c.reports) == 0 {
		return []Line{replicaList.warn("nothing, if the manager runs outside of Pods; otherwise look at its Pods",
			"no replica reports what it enforces in namespace %s", c.Election.Namespace)}
	}
	newest := newestVersions(c.reports)
	deadline := time.NewTimer(agreement)
	defer deadline.Stop()
	tick := time.NewTicker(agreementPoll)
	defer tick.Stop()
	for {
		lines := c.lateReplicas(newest)
		if len(lines) == 0 {
			return []Line{replicaList.ok("%d agree on what they enforce", len(c.reports))}
		}
		select {
		case <-ctx.Done():
			return lines
		case <-deadline.C:
			return lines
		case <-tick.C:
			if err := c.readReports(ctx); err != nil {
				return []Line{replicaList.notRead(err)}
			}
		}
	}
}

func (c *Checker) readReports(ctx context.Context) error {
	leases := &coordinationv1.LeaseList{}
	err := c.Client.List(ctx, leases, client.InNamespace(c.Election.Namespace),
		client.MatchingLabels{v1alpha1.LabelReplica: "true"})
	if err != nil {
		return err
	}
	c.reports = nil
	for i := range leases.Items {
		name, renewed, said := replicas.ReadLease(&leases.Items[i])
		c.reports = append(c.reports, report{name, renewed, said})
	}
	return nil
}

func newestVersions(reports []report) replicas.Versions {
	newest := replicas.Versions{}
	for _, r := range reports {
		for watch, version := range r.Versions {
			if !reaches(newest[watch], version) {
				newest[watch] = version
			}
		}
	}
	return newest
}

// lateReplicas has a line for each replica that is not heard of, or has not reached these versions.
func (c *Checker) lateReplicas(newest replicas.Versions) []Line {
	const look = "look at its Pod; it may be answering callbacks from what it knew then"
	var lines []Line
	for _, r := range c.reports {
		if age := c.Now().Sub(r.renewed).Round(time.Second); age > replicas.LiveFor {
			lines = append(lines, replicaList.fail(look, "%s was last heard of %s ago", r.name, age))
			continue
		}
		for _, watch := range slices.SortedFunc(maps.Keys(newest), func(a, b replicas.Watch) int {
			return slices.Compare([]string{a.Kind, a.Namespace}, []string{b.Kind, b.Namespace})
		}) {
			if !reaches(r.Versions[watch], newest[watch]) {
				lines = append(lines, replicaList.fail(look, "%s is behind with the %s", r.name, watch))
				break
			}
		}
	}
	return lines
}

// reaches reports whether version is at least as new as required.
func reaches(version, required string) bool {
	order, err := resourceversion.CompareResourceVersion(version, required)
	return err == nil && order >= 0
}
