package page

import (
	"context"

	"k8s.io/apimachinery/pkg/types"

	"github.com/groupgate/groupgate/internal/refusals"
	"github.com/groupgate/groupgate/internal/refusals/replicaclient"
)

// Replicas answer one viewer for what they remember of an app: refusals, and how many joins were admitted and refused.
type Replicas interface {
	Refusals(
		ctx context.Context, app types.NamespacedName, filter refusals.Filter,
	) replicaclient.Answer[refusals.Refusals]
	Activity(ctx context.Context, app types.NamespacedName) replicaclient.Answer[refusals.Activity]
}

// replicas are those that answer the viewer of the visit.
func (v *visit) replicas() Replicas {
	if v.server.Replicas == nil {
		return silent(v.server.NoReplicas)
	}
	return v.server.Replicas(v.Viewer)
}

// silent says why no replica can be asked.
type silent string

// Refusals implements Replicas.
func (s silent) Refusals(
	context.Context, types.NamespacedName, refusals.Filter,
) replicaclient.Answer[refusals.Refusals] {
	return replicaclient.Answer[refusals.Refusals]{Problems: []replicaclient.Problem{{Message: string(s)}}}
}

// Activity implements Replicas.
func (s silent) Activity(context.Context, types.NamespacedName) replicaclient.Answer[refusals.Activity] {
	return replicaclient.Answer[refusals.Activity]{Problems: []replicaclient.Problem{{Message: string(s)}}}
}
