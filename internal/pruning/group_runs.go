package pruning

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// identitiesPerPage bounds what one page of the metadata of runs takes in memory.
const identitiesPerPage = 200

// groupRuns returns the runs of the group as the API server has them. A run with 1,000 removals takes 100 KB and more,
// and a group may have hundreds: so only metadata are listed, page by page, and a run that the cache has in the live
// version is taken from there, without its accounts (see convert.PackRun). The others are read one by one.
func (j *job) groupRuns(ctx context.Context) ([]v1alpha1.PruneRun, error) {
	var runs []v1alpha1.PruneRun
	for next := ""; ; {
		var page metav1.PartialObjectMetadataList
		page.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("PruneRunList"))
		err := j.Live.List(ctx, &page, client.InNamespace(j.key.Namespace),
			client.MatchingFields{"spec.appRef.name": j.key.App, "spec.groupID": j.key.Group},
			client.Limit(identitiesPerPage), client.Continue(next))
		if err != nil {
			return nil, fmt.Errorf("list the prune runs of the group live: %w", err)
		}
		for i := range page.Items {
			run, err := j.runOf(ctx, &page.Items[i])
			switch {
			case apierrors.IsNotFound(err): // deleted meanwhile
			case err != nil:
				return nil, fmt.Errorf("read a prune run of the group live: %w", err)
			default:
				runs = append(runs, *run)
			}
		}
		if next = page.Continue; next == "" {
			return runs, nil
		}
	}
}

// runOf returns the run with this metadata.
func (j *job) runOf(ctx context.Context, live *metav1.PartialObjectMetadata) (*v1alpha1.PruneRun, error) {
	is := func(run *v1alpha1.PruneRun) bool {
		return run.UID == live.UID && run.ResourceVersion == live.ResourceVersion
	}
	if is(j.run) {
		return j.run, nil
	}
	var run v1alpha1.PruneRun
	name := client.ObjectKeyFromObject(live)
	if j.Cache != nil && j.Cache.Get(ctx, name, &run) == nil && is(&run) {
		return &run, nil
	}
	run = v1alpha1.PruneRun{}
	return &run, j.Live.Get(ctx, name, &run)
}
