package informers

import (
	"maps"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/policy"
)

// Options say what the cache of a process holds.
type Options struct {
	// Namespaces restricts the cache; none means all of them.
	Namespaces []string
	// Lease, if not zero, is the election Lease, which term.WatchAge watches.
	Lease types.NamespacedName
	// Store has the published snapshot, whose accounts the cached lists share.
	Store *policy.Store
	// Now tells which refusals of prune runs are over.
	Now func() time.Time
}

// CacheOptions returns the options of the manager's cache. Every replica holds every object, so a transform drops what no reader needs
// before an object is stored.
func CacheOptions(o Options) cache.Options {
	options := cache.Options{
		NewInformer: NewInformer,
		// A read of a kind that no controller watches is a mistake here: it would start an informer that RBAC may refuse.
		ReaderFailOnMissingInformer: true,
		// Not ByObject: controller-runtime v0.25.2 takes every kind that ends in List for a list of objects, and would look AccountList
		// up under the name Account.
		DefaultTransform: slimmer(&interner{}, o.Store),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {
				Label:     labels.SelectorFromSet(labels.Set{v1alpha1.LabelCredentials: "true"}),
				Transform: slimSecret,
			},
			&v1alpha1.PruneRun{}: {Transform: slimPruneRun(o.Now)},
		},
	}
	for _, namespace := range o.Namespaces {
		if options.DefaultNamespaces == nil {
			options.DefaultNamespaces = map[string]cache.Config{}
		}
		options.DefaultNamespaces[namespace] = cache.Config{}
	}
	if o.Lease != (types.NamespacedName{}) {
		options.ByObject[&coordinationv1.Lease{}] = cache.ByObject{
			Namespaces: map[string]cache.Config{o.Lease.Namespace: {}},
			Field:      fields.OneTermEqualSelector("metadata.name", o.Lease.Name),
		}
	}
	return options
}

// slim drops what tools keep for themselves; kubectl's annotation holds the whole object a second time.
func slim(in any) (any, error) {
	object, err := meta.Accessor(in)
	if err != nil {
		return in, nil //nolint:nilerr // a tombstone, which has nothing to drop
	}
	object.SetManagedFields(nil)
	if _, ok := object.GetAnnotations()[corev1.LastAppliedConfigAnnotation]; ok {
		annotations := maps.Clone(object.GetAnnotations())
		delete(annotations, corev1.LastAppliedConfigAnnotation)
		object.SetAnnotations(annotations)
	}
	return in, nil
}

// slimSecret keeps the keys that we use and no annotation: neither is ours to have in memory.
func slimSecret(in any) (any, error) {
	secret, ok := in.(*corev1.Secret)
	if !ok {
		return in, nil
	}
	secret.ManagedFields = nil
	secret.Annotations = nil
	kept := map[string][]byte{}
	for _, key := range []string{v1alpha1.SecretKeySecretKey, v1alpha1.SecretKeyCallbackToken, v1alpha1.SecretKeyPreviousCallbackToken} {
		if value, ok := secret.Data[key]; ok {
			kept[key] = value
		}
	}
	secret.Data = kept
	return secret, nil
}

// slimmer slims what is declared. An informer calls it twice for an object that it streams; the second time changes nothing.
func slimmer(shared *interner, store *policy.Store) toolscache.TransformFunc {
	return func(in any) (any, error) {
		switch object := in.(type) {
		case *v1alpha1.AccountList:
			slimAccountList(shared, store, object)
		case *v1alpha1.GroupPolicy:
			slimGroupPolicy(shared, object)
		default:
			return slim(in)
		}
		return in, nil
	}
}

// slimAccountList packs the accounts, whose strings would take several times their bytes, at the one door that all lists come through.
func slimAccountList(shared *interner, store *policy.Store, list *v1alpha1.AccountList) {
	convert.PackList(list)
	convert.ShareAccounts(list, store.Load().Accounts(list.Namespace, list.Name))
	labels := shared.labelSet(list.Labels)
	slimMeta(shared, &list.ObjectMeta)
	list.Labels = labels // selectors ask for them
	list.Status.Conditions = shared.conditions(list.Status.Conditions)
}

// slimGroupPolicy shares what policies have in common.
func slimGroupPolicy(shared *interner, p *v1alpha1.GroupPolicy) {
	slimMeta(shared, &p.ObjectMeta)
	shareText(shared, &p.Spec.AppRef.Name)
	p.Spec.Groups = exact(p.Spec.Groups)
	for i := range p.Spec.Groups {
		shareText(shared, &p.Spec.Groups[i].Type)
	}
	if join := p.Spec.Join; join != nil {
		slimJoinSection(shared, join)
	}
	p.Status.Conditions = shared.conditions(p.Status.Conditions)
}

func slimJoinSection(shared *interner, join *v1alpha1.JoinSection) {
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

// slimMeta leaves what says which object it is, and which version of it.
func slimMeta(shared *interner, m *metav1.ObjectMeta) {
	*m = metav1.ObjectMeta{
		Namespace: shared.text(m.Namespace), Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion, Generation: m.Generation,
		CreationTimestamp: m.CreationTimestamp, DeletionTimestamp: m.DeletionTimestamp,
	}
}

// slimPruneRun drops the accounts of a run, as far as no snapshot depends on them; the record in etcd keeps them, and what works on accounts reads
// it live. A plan that awaits approval would take up to a hundred kilobytes on every replica, for a day. Accounts
// that are still refused when the run is stored stay until it changes or is deleted.
func slimPruneRun(now func() time.Time) toolscache.TransformFunc {
	return func(in any) (any, error) {
		run, ok := in.(*v1alpha1.PruneRun)
		if !ok {
			return in, nil
		}
		slimAccounts(&run.Status, stillRefused(run, now()))
		return slim(run)
	}
}

// stillRefused returns the accounts that the run's record refuses.
func stillRefused(run *v1alpha1.PruneRun, now time.Time) []string {
	record, ok := convert.Refusal(run)
	if !ok || !now.Before(record.Until) {
		return nil
	}
	return record.Accounts
}

// slimAccounts leaves of the plan the refused accounts, and those of an undo that is under way. What it makes of a slim status is the
// same again.
func slimAccounts(status *v1alpha1.PruneRunStatus, refused []string) {
	status.Kept = nil
	if status.Plan != nil {
		status.Plan.Removals = compact(refused)
	}
	if status.Undo != nil && !status.Undo.FinishedAt.IsZero() {
		status.Undo.Accounts = nil
	}
}

// compact returns removals of the accounts alone, which share one piece of memory.
func compact(accounts []string) []v1alpha1.PlannedRemoval {
	if len(accounts) == 0 {
		return nil
	}
	joined := strings.Join(accounts, "")
	removals := make([]v1alpha1.PlannedRemoval, len(accounts))
	for i := range accounts {
		removals[i].Account, joined = joined[:len(accounts[i])], joined[len(accounts[i]):]
	}
	return removals
}
