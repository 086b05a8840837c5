package informers

import (
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/policy"
)

// An informer transforms an object that it streams twice: transforming a transformed object must change nothing.
// Deletions may come as a DeletedFinalStateUnknown, which every transform returns as it is.

// trim is the transform of every kind.
func trim(shared *interner, store *policy.Store, now func() time.Time) toolscache.TransformFunc {
	declared, pruneRun := trimDeclared(shared, store), trimPruneRun(now)
	return func(in any) (any, error) {
		switch in.(type) {
		case *corev1.Secret:
			return trimSecret(in)
		case *v1alpha1.PruneRun:
			return pruneRun(in)
		}
		return declared(in)
	}
}

// trimMetadata drops what only tools read. The annotation of kubectl apply holds the whole object a second time.
func trimMetadata(in any) (any, error) {
	object, err := meta.Accessor(in)
	if err != nil {
		return in, nil //nolint:nilerr // a DeletedFinalStateUnknown
	}
	object.SetManagedFields(nil)
	if _, ok := object.GetAnnotations()[corev1.LastAppliedConfigAnnotation]; ok {
		annotations := maps.Clone(object.GetAnnotations())
		delete(annotations, corev1.LastAppliedConfigAnnotation)
		object.SetAnnotations(annotations)
	}
	return in, nil
}

// trimSecret leaves the keys that the API documents and no annotation: anything else in a Secret must not be in this
// process's memory.
func trimSecret(in any) (any, error) {
	secret, ok := in.(*corev1.Secret)
	if !ok {
		return in, nil
	}
	secret.ManagedFields = nil
	secret.Annotations = nil
	data := map[string][]byte{}
	for _, key := range []string{
		v1alpha1.SecretKeySecretKey, v1alpha1.SecretKeyCallbackToken, v1alpha1.SecretKeyPreviousCallbackToken,
	} {
		if value, ok := secret.Data[key]; ok {
			data[key] = value
		}
	}
	secret.Data = data
	return secret, nil
}

// trimPruneRun drops the accounts of a run but for those that it refuses now; see convert.PackRun. Code that works on
// accounts reads the run from the API server.
func trimPruneRun(now func() time.Time) toolscache.TransformFunc {
	return func(in any) (any, error) {
		run, ok := in.(*v1alpha1.PruneRun)
		if !ok {
			return in, nil
		}
		convert.PackRun(run, now())
		return trimMetadata(run)
	}
}

// trimDeclared is the transform of the kinds that users declare by the thousands.
func trimDeclared(shared *interner, store *policy.Store) toolscache.TransformFunc {
	return func(in any) (any, error) {
		switch object := in.(type) {
		case *v1alpha1.AccountList:
			trimAccountList(shared, store, object)
		case *v1alpha1.GroupPolicy:
			trimGroupPolicy(shared, object)
		default:
			return trimMetadata(in)
		}
		return in, nil
	}
}

// trimAccountList packs the accounts, whose strings would take several times their bytes, and shares them with the
// snapshot: a list that comes again with another status would otherwise hold a second copy.
func trimAccountList(shared *interner, store *policy.Store, list *v1alpha1.AccountList) {
	convert.PackList(list, store.Load().Accounts(list.Namespace, list.Name))
	labels, annotations := shared.labelSet(list.Labels), list.Annotations
	trimIdentity(shared, &list.ObjectMeta)
	// Selectors of policies match the labels; the annotations hold the packed accounts.
	list.Labels, list.Annotations = labels, annotations
	list.Status.Conditions = shared.conditions(list.Status.Conditions)
}

func trimGroupPolicy(shared *interner, p *v1alpha1.GroupPolicy) {
	trimIdentity(shared, &p.ObjectMeta)
	shareText(shared, &p.Spec.AppRef.Name)
	p.Spec.Groups = exact(p.Spec.Groups)
	for i := range p.Spec.Groups {
		shareText(shared, &p.Spec.Groups[i].Type)
	}
	if join := p.Spec.Join; join != nil {
		trimJoinSection(shared, join)
	}
	shareText(shared, &p.Status.Gate)
	p.Status.Conditions = shared.conditions(p.Status.Conditions)
}

func trimJoinSection(shared *interner, join *v1alpha1.JoinSection) {
	shareText(shared, &join.Mode)
	join.Triggers = exact(join.Triggers)
	for i := range join.Triggers {
		shareText(shared, &join.Triggers[i])
	}
	for _, selector := range []*v1alpha1.AccountSelector{join.Allow, join.Deny} {
		if selector != nil {
			selector.Lists = exact(selector.Lists)
		}
	}
	if join.Reject != nil {
		shareText(shared, &join.Reject.Message)
	}
}

// trimIdentity leaves what identifies the object and its version.
func trimIdentity(shared *interner, m *metav1.ObjectMeta) {
	*m = metav1.ObjectMeta{
		Namespace: shared.text(m.Namespace), Name: m.Name,
		UID: m.UID, ResourceVersion: m.ResourceVersion, Generation: m.Generation,
		CreationTimestamp: m.CreationTimestamp, DeletionTimestamp: m.DeletionTimestamp,
	}
}
