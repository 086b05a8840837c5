package manifests

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// objectsPerPage bounds what one answer of the API server takes in memory.
const objectsPerPage = 500

// List reads the objects of a namespace, or of all if it is "", from the API server. The options say which PruneRuns of
// them. It reads no Secret.
func List(
	ctx context.Context, reader client.Reader, namespace string, runs ...client.ListOption,
) (*Objects, error) {
	o := &Objects{}
	err := errors.Join(
		eachPage(ctx, reader, namespace, "imapps", func(l *v1alpha1.IMAppList) { o.Apps = append(o.Apps, l.Items...) }),
		eachPage(ctx, reader, namespace, "accountlists",
			func(l *v1alpha1.AccountListList) { o.Lists = append(o.Lists, l.Items...) }),
		eachPage(ctx, reader, namespace, "grouppolicies",
			func(l *v1alpha1.GroupPolicyList) { o.Policies = append(o.Policies, l.Items...) }),
		eachPage(ctx, reader, namespace, "pruneruns",
			func(l *v1alpha1.PruneRunList) { o.Runs = append(o.Runs, l.Items...) }, runs...),
	)
	if err != nil {
		return nil, err
	}
	return o, nil
}

// Apps reads the IMApps of a namespace, or of all if it is "".
func Apps(ctx context.Context, reader client.Reader, namespace string) (apps []v1alpha1.IMApp, err error) {
	err = eachPage(ctx, reader, namespace, "imapps",
		func(l *v1alpha1.IMAppList) { apps = append(apps, l.Items...) })
	return apps, err
}

// Policies reads the GroupPolicies of a namespace, or of all if it is "".
func Policies(ctx context.Context, reader client.Reader, namespace string) (list []v1alpha1.GroupPolicy, err error) {
	err = eachPage(ctx, reader, namespace, "grouppolicies",
		func(l *v1alpha1.GroupPolicyList) { list = append(list, l.Items...) })
	return list, err
}

// Runs reads the PruneRuns of a namespace, or of all if it is "".
func Runs(
	ctx context.Context, reader client.Reader, namespace string, options ...client.ListOption,
) (runs []v1alpha1.PruneRun, err error) {
	err = eachPage(ctx, reader, namespace, "pruneruns",
		func(l *v1alpha1.PruneRunList) { runs = append(runs, l.Items...) }, options...)
	return runs, err
}

// Waiting selects the PruneRuns whose plans wait for a person. The API server compares every run with the first term,
// and with the second those that have the first, so that the rarer comes first.
var Waiting = fields.AndSelectors(fields.OneTermEqualSelector("status.awaitsApproval", "true"), undecided)

// undecided selects the PruneRuns that nobody has decided about, finished ones among them.
var undecided = fields.OneTermEqualSelector("spec.approval", string(v1alpha1.ApprovalPending))

// WaitingRuns reads the PruneRuns of a namespace, or of all if it is "", whose plans may wait for a person: those that
// Waiting selects or, where the CustomResourceDefinition is older than status.awaitsApproval, all that are undecided.
func WaitingRuns(ctx context.Context, reader client.Reader, namespace string) ([]v1alpha1.PruneRun, error) {
	runs, err := Runs(ctx, reader, namespace, client.MatchingFieldsSelector{Selector: Waiting})
	if apierrors.IsBadRequest(err) {
		return Runs(ctx, reader, namespace, client.MatchingFieldsSelector{Selector: undecided})
	}
	return runs, err
}

// eachPage passes the pages of a list to keep. Each is a list of its own: decoding into one that was used before would
// overwrite what keep has kept.
func eachPage[L any, P interface {
	*L
	client.ObjectList
}](ctx context.Context, reader client.Reader, namespace, plural string, keep func(P), o ...client.ListOption) error {
	for next := ""; ; {
		page := P(new(L))
		o = append(o, client.InNamespace(namespace), client.Limit(objectsPerPage), client.Continue(next))
		err := reader.List(ctx, page, o...)
		if err != nil {
			return fmt.Errorf("list the %s: %w", plural, err)
		}
		keep(page)
		if next = page.GetContinue(); next == "" {
			return nil
		}
	}
}
