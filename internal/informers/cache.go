package informers

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
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
	// Watches, if set, observes the watches of the cache. It is that of the same namespaces.
	Watches *Watches
}

// CacheOptions returns the options of the manager's cache. Every replica holds every object, so a transform drops what
// no reader needs before an object is stored.
func CacheOptions(o Options) cache.Options {
	watches := o.Watches
	if watches == nil {
		watches = NewWatches(o.Namespaces, o.Now)
	}
	trim := trim(&interner{}, o.Store, o.Now)
	options := cache.Options{
		NewInformer: watches.NewInformer,
		// A read of a kind that no controller watches is a mistake here: it would start an informer that RBAC may
		// refuse.
		ReaderFailOnMissingInformer: true,
		// Not ByObject: controller-runtime v0.25.2 takes every kind that ends in List for a list of objects, and would
		// look AccountList up under the name Account.
		DefaultTransform: inNamespace(corev1.NamespaceAll, trim),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {Label: labels.SelectorFromSet(labels.Set{v1alpha1.LabelCredentials: "true"})},
		},
	}
	for _, namespace := range o.Namespaces {
		if options.DefaultNamespaces == nil {
			options.DefaultNamespaces = map[string]cache.Config{}
		}
		options.DefaultNamespaces[namespace] = cache.Config{Transform: inNamespace(namespace, trim)}
	}
	if o.Lease != (types.NamespacedName{}) {
		options.ByObject[&coordinationv1.Lease{}] = cache.ByObject{
			Namespaces: map[string]cache.Config{o.Lease.Namespace: {}},
			Field:      fields.OneTermEqualSelector("metadata.name", o.Lease.Name),
		}
	}
	return options
}
