package pruning

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
)

const (
	// objectsPerPage bounds what one page of policies or lists takes in memory.
	objectsPerPage = 500
	// maxUnseenPolicies is how many policies that the snapshot lacks are read one by one; if there are more, it is
	// better to wait for the snapshot.
	maxUnseenPolicies = 20
)

// ruleInForce returns the rule that governs a group of this type by the snapshot, after making sure that the API server
// has nothing newer that would say otherwise; while it has, the error is errBehind.
//
// A policy whose watch is a moment behind may be the one that governs: one that only previews, one that protects or
// admits more, or the one that was applied together with the run. So the policies of the namespace are listed live:
// what matters is in the metadata, read page by page, since policies may be many and long. Edits of policies that have
// nothing to do with the group hold up nothing, however many come.
func (j *job) ruleInForce(ctx context.Context, f *facts, groupType policy.GroupType) (r rule, governed bool, _ error) {
	r, governed = j.governing(f.compiled, groupType)
	var needed []policy.Object
	if governed {
		needed = append(slices.Clone(r.policies), r.policy)
	}
	if err := j.policiesInForce(ctx, f, groupType, needed); err != nil {
		return rule{}, false, err
	}
	return r, governed, nil
}

// policiesInForce returns errBehind unless the API server has all of these policies, and no policy that the snapshot
// lacks and that matters to the run.
func (j *job) policiesInForce(
	ctx context.Context, f *facts, groupType policy.GroupType, needed []policy.Object,
) error {
	missing := make(map[string]struct{}, len(needed))
	for i := range needed {
		missing[needed[i].UID] = struct{}{}
	}
	var unseen []string
	for next := ""; ; {
		var page metav1.PartialObjectMetadataList
		page.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("GroupPolicyList"))
		err := j.Live.List(ctx, &page,
			client.InNamespace(j.key.Namespace), client.Limit(objectsPerPage), client.Continue(next))
		if err != nil {
			return fmt.Errorf("list the policies live: %w", err)
		}
		for i := range page.Items {
			live := &page.Items[i]
			verdict, seen := f.snapshot.PolicyVerdict(live.Namespace, live.Name, string(live.UID))
			if !seen || verdict.Generation != live.Generation {
				unseen = append(unseen, live.Name)
				continue
			}
			delete(missing, verdict.UID)
		}
		if next = page.Continue; next == "" {
			break
		}
	}
	if len(missing) > 0 || len(unseen) > maxUnseenPolicies {
		return errBehind
	}
	for _, name := range unseen {
		matters, err := j.livePolicyMatters(ctx, f, name, groupType)
		if err != nil {
			return err
		}
		if matters {
			return errBehind
		}
	}
	return nil
}

// listsInForce requires the lists that protect members, or that the gate goes by, to be those that the API server has.
func listsInForce(ctx context.Context, j *job, f *facts) error { return j.listsAre(ctx, f.rule.lists) }

// listsAre returns errBehind unless the API server has these lists. A watch of lists may be behind while the others are
// not: it lists anew what may be hundreds of megabytes.
func (j *job) listsAre(ctx context.Context, uses []policy.ListUse) error {
	for _, use := range uses {
		live, err := j.liveVersions(ctx, use)
		if err != nil {
			return err
		}
		if live != use.Versions {
			return errBehind
		}
	}
	return nil
}

// liveVersions reads which lists a reference leads to: their metadata, page by page.
func (j *job) liveVersions(ctx context.Context, use policy.ListUse) (policy.ListVersions, error) {
	var versions policy.ListVersions
	selector, err := labels.Parse(use.Selector)
	if err != nil {
		return versions, fmt.Errorf("parse a selector of account lists: %w", err)
	}
	options := []client.ListOption{
		client.InNamespace(j.key.Namespace), client.Limit(objectsPerPage),
		client.MatchingLabelsSelector{Selector: selector},
	}
	if use.Name != "" {
		options = append(options, client.MatchingFields{"metadata.name": use.Name})
	}
	for next := ""; ; {
		var page metav1.PartialObjectMetadataList
		page.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("AccountListList"))
		if err := j.Live.List(ctx, &page, append(options, client.Continue(next))...); err != nil {
			return versions, fmt.Errorf("list the account lists live: %w", err)
		}
		for i := range page.Items {
			live := &page.Items[i]
			versions.Add(live.Name, string(live.UID), live.Generation)
		}
		if next = page.Continue; next == "" {
			return versions, nil
		}
	}
}

// livePolicyMatters reports whether the policy of that name, as it is live, may have a say in the run.
func (j *job) livePolicyMatters(
	ctx context.Context, f *facts, name string, groupType policy.GroupType,
) (bool, error) {
	live := &v1alpha1.GroupPolicy{}
	err := j.Live.Get(ctx, client.ObjectKey{Namespace: j.key.Namespace, Name: name}, live)
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read a policy live: %w", err)
	}
	// By itself it compiles to a snapshot without lists, which is enough to tell which groups it governs.
	alone := policy.Compile(policy.Input{
		Apps: []policy.App{convert.App(f.app, nil)}, Policies: []policy.Policy{convert.Policy(live)},
	})
	app := alone.AppNamed(j.key.Namespace, j.key.App)
	if app == nil {
		return true, nil
	}
	r, governs := j.governing(app, groupType)
	// A gate judges members, even if the rule is that of another policy; one that is invalid, nobody knows whom.
	judges := r.eviction != nil && len(r.eviction.Gates)+len(r.eviction.Unresolved) > 0
	return governs || judges, nil
}

// governedAsPlanned reports whether app still has the rule that the plan of run was made by.
func governedAsPlanned(app *policy.CompiledApp, run *v1alpha1.PruneRun) bool {
	if run.Status.Group == nil || run.Status.Policy == nil {
		return false
	}
	groupType := policy.ParseGroupType(string(run.Status.Group.Type))
	r, ok := governing(app, prunerun.PurposeOf(run), run.Spec.GroupID, groupType)
	return ok && r.planned(run.Status.Policy)
}

// standsIn reports whether snapshot leaves the plan of a waiting run as valid as before.
func standsIn(snapshot *policy.Snapshot, run *v1alpha1.PruneRun) bool {
	app := snapshot.AppNamed(run.Namespace, run.Spec.AppRef.Name)
	return app != nil && !app.PruningSuspended() && governedAsPlanned(app, run)
}
