package pruning

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/policy"
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
// A policy whose watch is a moment behind may be the one that governs: one that only previews, one that protects more,
// or the one that was applied together with the run. So the policies of the namespace are listed live: what matters is
// in the metadata, read page by page, since policies may be many and long. Edits of policies that have nothing to do
// with the group hold up nothing, however many come.
func (j *job) ruleInForce(
	ctx context.Context, f *facts, groupType policy.GroupType,
) (rule policy.GoverningRule, governed bool, _ error) {
	rule, governed = f.compiled.GoverningRule(j.key.Group, groupType)
	found := !governed // nothing to find
	var unseen []string
	for next := ""; ; {
		var page metav1.PartialObjectMetadataList
		page.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("GroupPolicyList"))
		err := j.Live.List(ctx, &page,
			client.InNamespace(j.key.Namespace), client.Limit(objectsPerPage), client.Continue(next))
		if err != nil {
			return policy.GoverningRule{}, false, fmt.Errorf("list the policies live: %w", err)
		}
		for i := range page.Items {
			live := &page.Items[i]
			verdict, seen := f.snapshot.PolicyVerdict(live.Namespace, live.Name, string(live.UID))
			switch {
			case !seen || verdict.Generation != live.Generation:
				unseen = append(unseen, live.Name)
			case verdict.UID == rule.Policy.UID:
				found = true
			}
		}
		if next = page.Continue; next == "" {
			break
		}
	}
	if !found || len(unseen) > maxUnseenPolicies {
		return policy.GoverningRule{}, false, errBehind
	}
	for _, name := range unseen {
		governs, err := j.livePolicyGoverns(ctx, f, name, groupType)
		if err != nil {
			return policy.GoverningRule{}, false, err
		}
		if governs {
			return policy.GoverningRule{}, false, errBehind
		}
	}
	return rule, governed, nil
}

// protectionInForce requires the lists that protect members to be those that the API server has. A watch of lists may
// be behind while the others are not: it lists anew what may be hundreds of megabytes.
func protectionInForce(ctx context.Context, j *job, f *facts) error {
	for _, use := range f.rule.Lists {
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

// livePolicyGoverns reports whether the policy of that name, as it is live, may govern the group.
func (j *job) livePolicyGoverns(
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
	_, governs := app.GoverningRule(j.key.Group, groupType)
	return governs, nil
}

// plannedBy reports whether the plan was made by the rule of this very policy, whatever else of the policy was edited
// since. The generation is enough as well: an older version recorded no hash, or computed it differently.
func plannedBy(record *v1alpha1.PrunePolicyRecord, rule *policy.GoverningRule) bool {
	return types.UID(rule.Policy.UID) == record.UID &&
		(rule.RuleHash() == record.RuleHash || rule.Policy.Generation == record.Generation)
}

// governedAsPlanned reports whether app still prunes the group by the policy that the plan of run was made by.
func governedAsPlanned(app *policy.CompiledApp, run *v1alpha1.PruneRun) bool {
	if run.Status.Group == nil || run.Status.Policy == nil {
		return false
	}
	rule, ok := app.GoverningRule(run.Spec.GroupID, policy.ParseGroupType(string(run.Status.Group.Type)))
	return ok && plannedBy(run.Status.Policy, &rule)
}

// standsIn reports whether snapshot leaves the plan of a waiting run as valid as before.
func standsIn(snapshot *policy.Snapshot, run *v1alpha1.PruneRun) bool {
	app := snapshot.AppNamed(run.Namespace, run.Spec.AppRef.Name)
	return app != nil && !app.PruningSuspended() && governedAsPlanned(app, run)
}
