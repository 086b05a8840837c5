package app

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/controllers"
	"github.com/groupgate/groupgate/internal/guard"
	"github.com/groupgate/groupgate/internal/informers"
	"github.com/groupgate/groupgate/internal/replicas"
)

// addReplica makes the manager report what this replica enforces, and read the reports of the others. Outside of a Pod
// there is no Lease, and this process is the only replica that it knows.
func (a *App) addReplica(replica *controllers.Replica) error {
	pod := a.options.Pod
	if pod == (replicas.Pod{}) {
		return nil
	}
	watches := informers.NewWatches(nil, a.options.Now)
	watches.Guard = a.guard
	// A cache of its own: that of the manager selects the election Lease in the same namespace.
	leases, err := cache.New(a.manager.GetConfig(), cache.Options{
		HTTPClient:        a.manager.GetHTTPClient(),
		Scheme:            a.manager.GetScheme(),
		Mapper:            a.manager.GetRESTMapper(),
		NewInformer:       watches.NewInformer,
		DefaultNamespaces: map[string]cache.Config{pod.Namespace: {}},
		ByObject: map[client.Object]cache.ByObject{
			&coordinationv1.Lease{}: {Label: labels.SelectorFromSet(labels.Set{v1alpha1.LabelReplica: "true"})},
		},
	})
	if err != nil {
		return fmt.Errorf("create the cache of the replicas' Leases: %w", err)
	}
	a.reporter = &replicas.Reporter{
		Client: a.manager.GetClient(),
		Pod:    pod,
		Report: replica.Report,
		Hold: func() error {
			var watches []replicas.Watch
			for _, state := range a.watches.States() {
				watches = append(watches, replicas.Watch{Kind: state.Kind, Namespace: state.Namespace})
			}
			return replica.Members.Replaces(watches)
		},
		Members: replica.Members,
		Now:     a.options.Now,
		Log:     a.options.Log.WithName("replica"),
	}
	watcher := &replicas.Watcher{Cache: leases, Members: replica.Members, Changed: replica.Enforcement.Changed}
	for _, runnable := range []manager.Runnable{
		leases, a.guard.Runnable(guard.Replica, a.reporter), a.guard.Runnable(guard.Replica, watcher),
	} {
		err = errors.Join(err, a.manager.Add(runnable))
	}
	return err
}

// reported is a condition of readiness: the other replicas know of this one. It stays true, as the first publication
// does.
func (a *App) reported() error {
	if a.reporter == nil || a.known.Load() {
		return nil
	}
	err := a.reporter.Reported()
	a.known.Store(err == nil)
	return forProbe(err)
}

// forProbe hides the address of the API server, since anybody may ask the readiness probe.
func forProbe(err error) error {
	if _, unanswered := errors.AsType[*url.Error](err); unanswered {
		return errors.New("waiting for the Lease of this replica: " + informers.Problem(err))
	}
	return err
}

// leave reports that this replica has stopped answering callbacks.
func (a *App) leave(ctx context.Context) {
	if a.reporter != nil {
		a.reporter.Leave(context.WithoutCancel(ctx))
	}
}
