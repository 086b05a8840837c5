package peers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// ServeInformers holds the IMApps, AccountLists and GroupPolicies of a namespace in controller-runtime's cache, as they
// are, and does nothing with them: what any operator that watches them pays. It begins to listen once it has all of
// them.
func ServeInformers(ctx context.Context, kubeconfig, namespace, address string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ctrllog.SetLogger(logr.Discard()) // else controller-runtime complains that it has none
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("read %s: %w", kubeconfig, err)
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return err
	}
	informers, err := cache.New(config,
		cache.Options{Scheme: scheme, DefaultNamespaces: map[string]cache.Config{namespace: {}}})
	if err != nil {
		return fmt.Errorf("make the informers: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- informers.Start(ctx) }() // ends with ctx
	for _, kind := range []client.Object{&v1alpha1.IMApp{}, &v1alpha1.AccountList{}, &v1alpha1.GroupPolicy{}} {
		if _, err := informers.GetInformer(ctx, kind, cache.BlockUntilSynced(false)); err != nil {
			return fmt.Errorf("make the informer of %T: %w", kind, err)
		}
	}
	if !informers.WaitForCacheSync(ctx) {
		return errors.New("the informers have not synced")
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return errors.Join(NewServer(http.NotFoundHandler()).Serve(listener), <-ended)
}
