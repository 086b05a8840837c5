package docs

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/groupgate/groupgate/internal/lab"
)

// object names an object of any kind.
type object struct {
	kind            schema.GroupVersionResource
	namespace, name string
}

// objects are those of a cluster, with their resourceVersions.
type objects map[object]string

// janitor takes a cluster back to what it was.
type janitor struct {
	cluster *lab.Cluster
	api     *kubernetes.Clientset
	objects metadata.Interface
	// empty is the cluster without Groupgate, installed what config/default adds to it, if that is there.
	empty, installed objects
}

func newJanitor(ctx context.Context, c *lab.Cluster) (*janitor, error) {
	config := rest.CopyConfig(c.Config)
	config.QPS = -1 // every kind is listed: client-side throttling would take seconds
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	objects, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	j := &janitor{cluster: c, api: api, objects: objects}
	j.empty, err = j.list(ctx)
	return j, err
}

// makeEmpty deletes all that was not there at the start.
func (j *janitor) makeEmpty(ctx context.Context) error {
	j.installed = nil
	return j.deleteOthers(ctx, j.empty)
}

// makeInstalled leaves config/default as it was installed, and nothing else.
func (j *janitor) makeInstalled(ctx context.Context) error {
	if j.installed != nil {
		if err := j.deleteOthers(ctx, j.installed); err != nil {
			return err
		}
		if now, err := j.list(ctx); err != nil || sameIn(now, j.installed, j.empty) {
			return err
		}
	}
	if err := j.makeEmpty(ctx); err != nil {
		return err
	}
	if err := j.cluster.Install(ctx); err != nil {
		return err
	}
	_, err := j.cluster.Kubectl(ctx, "", "wait", "--for=condition=Established", "--timeout=30s",
		"-f", "config/crd/bases")
	if err != nil {
		return err
	}
	j.installed, err = j.list(ctx)
	return err
}

// sameIn reports whether what was installed beside others is there, unchanged.
func sameIn(now, installed, others objects) bool {
	for o, version := range installed {
		if _, other := others[o]; !other && now[o] != version {
			return false
		}
	}
	return true
}

// kept are kinds that the API server itself writes.
func kept(kind schema.GroupVersionResource) bool {
	switch kind.Resource {
	case "endpoints", "endpointslices", "ipaddresses", "servicecidrs", "apiservices":
		return true
	}
	return kind.Group == "flowcontrol.apiserver.k8s.io"
}

// kinds are all that can be listed and deleted.
func (j *janitor) kinds() (kinds []schema.GroupVersionResource, err error) {
	lists, err := discovery.ServerPreferredResources(j.api.Discovery())
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) { // of a kind that is just being deleted
		return nil, err
	}
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, err
		}
		for _, r := range list.APIResources {
			kind := version.WithResource(r.Name)
			if slices.Contains(r.Verbs, "list") && slices.Contains(r.Verbs, "delete") && !kept(kind) {
				kinds = append(kinds, kind)
			}
		}
	}
	return kinds, nil
}

func (j *janitor) list(ctx context.Context) (objects, error) {
	kinds, err := j.kinds()
	if err != nil {
		return nil, fmt.Errorf("list the kinds: %w", err)
	}
	found := objects{}
	for _, kind := range kinds {
		list, err := j.objects.Resource(kind).List(ctx, metav1.ListOptions{})
		if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
			continue // a kind that has just been deleted
		}
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", kind.Resource, err)
		}
		for i := range list.Items {
			o := &list.Items[i]
			if kind.Resource == "leases" && o.Namespace == metav1.NamespaceSystem {
				continue // the API server's own
			}
			found[object{kind: kind, namespace: o.Namespace, name: o.Name}] = o.ResourceVersion
		}
	}
	return found, nil
}

// deleteOthers deletes what is not among wanted, and waits until it is gone. There is no controller that would empty
// namespaces.
func (j *janitor) deleteOthers(ctx context.Context, wanted objects) error {
	return lab.Await(ctx, "the objects of the page before to be gone", func(ctx context.Context) (bool, error) {
		now, err := j.list(ctx)
		if err != nil {
			return false, err
		}
		others := slices.DeleteFunc(slices.Collect(maps.Keys(now)), func(o object) bool {
			_, ok := wanted[o]
			return ok
		})
		// Admission policies go first: they guard the others, until the API server has noticed.
		slices.SortFunc(others, func(a, b object) int { return cmp.Compare(order(a), order(b)) })
		for _, o := range others {
			err := j.delete(ctx, o)
			if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) && !apierrors.IsForbidden(err) {
				return false, fmt.Errorf("delete %s %s/%s: %w", o.kind.Resource, o.namespace, o.name, err)
			}
		}
		return len(others) == 0, nil
	})
}

func order(o object) int {
	if o.kind.Group == "admissionregistration.k8s.io" {
		return 0
	}
	return 1
}

func (j *janitor) delete(ctx context.Context, o object) error {
	client := j.objects.Resource(o.kind).Namespace(o.namespace)
	now := int64(0)
	if err := client.Delete(ctx, o.name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		return err
	}
	switch o.kind.Resource {
	case "namespaces":
		finalized := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: o.name}}
		_, err := j.api.CoreV1().Namespaces().Finalize(ctx, finalized, metav1.UpdateOptions{})
		return err
	case "customresourcedefinitions": // the API server's finalizer deletes the objects
		return nil
	}
	_, err := client.Patch(ctx, o.name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`),
		metav1.PatchOptions{})
	return err
}
