package controllers

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/policy"
)

const (
	// policiesPerPage bounds what one page of policies takes in memory.
	policiesPerPage = 500
	// maxUnseenPolicies is how many policies that the snapshot lacks are read one by one; where there are more, it is better to wait for it.
	maxUnseenPolicies = 20
)

// governing returns the rule that governs a group of this type by the snapshot, after making sure that the API server has nothing newer
// that would say otherwise; while it has, the error is errBehind.
//
// The policy whose watch is a moment behind may be the one that governs: one that only previews, one that protects more, or the one
// that was applied together with the run. So the policies of the namespace are listed live (what matters is in the metadata, page by
// page, since they may be many and long). Edits of policies that have nothing to do with the group hold up nothing, however many come.
func (p *pass) governing(ctx context.Context, groupType policy.GroupType) (policy.GoverningRule, bool, error) {
	governing, governed := p.compiled.GoverningRule(p.key.Group, groupType)
	inForce := !governed // nothing to find
	var unseen []string
	for next := ""; ; {
		var page metav1.PartialObjectMetadataList
		page.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("GroupPolicyList"))
		if err := p.Live.List(ctx, &page, client.InNamespace(p.key.Namespace), client.Limit(policiesPerPage), client.Continue(next)); err != nil {
			return policy.GoverningRule{}, false, fmt.Errorf("list the policies live: %w", err)
		}
		for i := range page.Items {
			live := &page.Items[i]
			verdict, seen := p.snapshot.PolicyVerdict(live.Namespace, live.Name, string(live.UID))
			switch {
			case !seen || verdict.Generation != live.Generation:
				unseen = append(unseen, live.Name)
			case verdict.UID == governing.Policy.UID:
				inForce = true
			}
		}
		if next = page.Continue; next == "" {
			break
		}
	}
	if !inForce || len(unseen) > maxUnseenPolicies {
		return policy.GoverningRule{}, false, errBehind
	}
	for _, name := range unseen {
		if err := p.concernsNobodyHere(ctx, name, groupType); err != nil {
			return policy.GoverningRule{}, false, err
		}
	}
	return governing, governed, nil
}

// concernsNobodyHere returns errBehind where the policy of that name, as it is live, has a rule for the group.
func (p *pass) concernsNobodyHere(ctx context.Context, name string, groupType policy.GroupType) error {
	live := &v1alpha1.GroupPolicy{}
	err := p.Live.Get(ctx, client.ObjectKey{Namespace: p.key.Namespace, Name: name}, live)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("read a policy live: %w", err)
	}
	// By itself it compiles to a snapshot that knows no list, which is enough to tell which groups it governs.
	alone := policy.Compile(policy.Input{Apps: []policy.App{convert.App(p.app, nil)}, Policies: []policy.Policy{convert.Policy(live)}})
	app := alone.AppNamed(p.key.Namespace, p.key.App)
	if app == nil {
		return errBehind
	}
	if _, governs := app.GoverningRule(p.key.Group, groupType); governs {
		return errBehind
	}
	return nil
}
