package controllers

import (
	"cmp"
	"errors"
	"fmt"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/informers"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/policy"
)

// limitedUser has the rights that grant gives.
const limitedUser = "limited"

// limited is a connection of a user who may read nothing, through a proxy.
func limited(t *testing.T) (*proxy, *rest.Config) {
	t.Helper()
	cut, config := newProxy(t, labtest.APIServer)
	config.Impersonate = rest.ImpersonationConfig{UserName: limitedUser}
	return cut, config
}

// grant lets the limited user read the resources in the namespace, all that the snapshot depends on if none is named.
// The binding is returned for its deletion.
func grant(t *testing.T, namespace string, resources ...string) *rbacv1.RoleBinding {
	t.Helper()
	if resources == nil {
		resources = []string{"imapps", "accountlists", "grouppolicies", "pruneruns", "secrets"}
	}
	meta := metav1.ObjectMeta{Namespace: namespace, GenerateName: "limited-"}
	role := &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"", "groupgate.io"}, Resources: resources, Verbs: []string{"get", "list", "watch"}},
	}}
	create(t, role)
	binding := &rbacv1.RoleBinding{
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: limitedUser}},
	}
	create(t, binding)
	return binding
}

// revoke takes a grant back. Open watches go on, as they do everywhere, until the proxy is cut.
func revoke(t *testing.T, binding *rbacv1.RoleBinding) {
	t.Helper()
	labtest.Must(t, labtest.Client(t).Delete(t.Context(), binding))
}

// startCache starts the cache of the namespaces, with an informer of every kind.
func startCache(t *testing.T, config *rest.Config, namespaces ...string) (cache.Cache, *informers.Watches) {
	t.Helper()
	watches := informers.NewWatches(namespaces, time.Now)
	options := informers.CacheOptions(informers.Options{
		Namespaces: namespaces, Store: &policy.Store{}, Now: time.Now, Watches: watches,
	})
	options.Scheme, options.Mapper = labtest.Scheme(), labtest.Client(t).RESTMapper()
	c, err := cache.New(informers.ConnectionConfig(config), options)
	labtest.Must(t, err)
	for _, kind := range informers.Kinds() {
		_, err := c.GetInformer(t.Context(), kind, cache.BlockUntilSynced(false))
		labtest.Must(t, err)
	}
	start(t, c.Start)
	return c, watches
}

func stateOf(watches *informers.Watches, kind, namespace string) informers.WatchState {
	for _, state := range watches.States() {
		if state.Kind == kind && state.Namespace == namespace {
			return state
		}
	}
	return informers.WatchState{Problem: "not watched"}
}

func inOrder(watches *informers.Watches) error {
	var errs []error
	for _, state := range watches.States() {
		if !state.Synced || !state.FailingSince.IsZero() {
			errs = append(errs, fmt.Errorf("%+v", state))
		}
	}
	return errors.Join(errs...)
}

func TestWatchThatIsRefusedOrCutOffShows(t *testing.T) {
	t.Parallel()
	one, other := labtest.NewNamespace(t), labtest.NewNamespace(t)
	grant(t, one)
	binding := grant(t, other)
	cut, config := limited(t)
	_, watches := startCache(t, config, one, other)
	labtest.Eventually(t, func() error { return inOrder(watches) })

	cut.Cut()
	labtest.Eventually(t, func() error {
		for _, state := range watches.States() {
			if state.FailingSince.IsZero() || state.Problem != "connection refused" || !state.Synced {
				return fmt.Errorf("in the outage: %+v", state)
			}
		}
		return nil
	})
	revoke(t, binding)
	cut.Restore()
	labtest.Eventually(t, func() error {
		for _, state := range watches.States() {
			if refused := !state.RefusedSince.IsZero(); refused != (state.Namespace == other) {
				return fmt.Errorf("refused %t: %+v", refused, state)
			}
			if failing := !state.FailingSince.IsZero(); failing != (state.Namespace == other) {
				return fmt.Errorf("failing %t: %+v", failing, state)
			}
		}
		return nil
	})
	grant(t, other)
	labtest.Eventually(t, func() error { return inOrder(watches) })
}

func TestResourceVersionOfAWatchIsWhatItsStoreHasTakenUp(t *testing.T) {
	t.Parallel()
	one, other := labtest.NewNamespace(t), labtest.NewNamespace(t)
	list := newList(one, "vip", nil, "jared")
	create(t, list)
	_, watches := startCache(t, labtest.APIServer, one, other)
	reached := func(namespace string, object client.Object) func() error {
		return func() error {
			state := stateOf(watches, "AccountList", namespace)
			order, err := resourceversion.CompareResourceVersion(state.ResourceVersion, object.GetResourceVersion())
			if err != nil || order < 0 {
				return fmt.Errorf("%s has taken up %q, want %s (%w)", namespace, state.ResourceVersion,
					object.GetResourceVersion(), cmp.Or(err, errors.New("older")))
			}
			return nil
		}
	}
	labtest.Eventually(t, reached(one, list))
	// What another namespace begins with is as new as the whole store was then, although it has no object.
	labtest.Eventually(t, reached(other, list))

	edit(t, list, func(l *v1alpha1.AccountList) { l.SetLabels(map[string]string{"edited": "yes"}) })
	labtest.Eventually(t, reached(one, list))
	labtest.Must(t, labtest.Client(t).Delete(t.Context(), list))
	again := newList(one, "vip", nil, "jared")
	create(t, again)
	labtest.Eventually(t, reached(one, again))
}
