package controllers

import (
	"maps"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/convert"
)

// CacheOptions are those of the one cache of the process, restricted to namespaces (none: all of them). Every replica holds every
// object, so what nobody reads is dropped before it is stored. now tells which refusals are over by then.
func CacheOptions(namespaces []string, election ElectionConfig, now func() time.Time) cache.Options {
	options := cache.Options{
		NewInformer: NewInformer,
		// A read of a kind that no controller watches is a mistake here: it would start an informer that RBAC may refuse.
		ReaderFailOnMissingInformer: true,
		DefaultTransform:            slim,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {
				Label:     labels.SelectorFromSet(labels.Set{v1alpha1.LabelCredentials: "true"}),
				Transform: slimSecret,
			},
			&v1alpha1.PruneRun{}: {Transform: slimPruneRun(now)},
		},
	}
	for _, namespace := range namespaces {
		if options.DefaultNamespaces == nil {
			options.DefaultNamespaces = map[string]cache.Config{}
		}
		options.DefaultNamespaces[namespace] = cache.Config{}
	}
	if election.Enabled {
		// For WatchAge: one object, wherever it is.
		options.ByObject[&coordinationv1.Lease{}] = cache.ByObject{
			Namespaces: map[string]cache.Config{election.Namespace: {}},
			Field:      fields.OneTermEqualSelector("metadata.name", election.ID),
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
	record, ok := convert.Record(run)
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
