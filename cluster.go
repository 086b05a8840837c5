package main

import (
	"fmt"
	"os"

	"github.com/spf13/pflag"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// cluster is the one that a kubeconfig names, with a namespace of it.
type cluster struct {
	namespace     string
	allNamespaces bool
	kubeconfig    string
	context       string
	as            string
	asGroups      []string
}

func (c *cluster) addFlags(f *pflag.FlagSet) {
	c.addPlaceFlags(f)
	f.StringVar(&c.as, "as", "", "user to impersonate, such as system:serviceaccount:chat:robot")
	f.StringArrayVar(&c.asGroups, "as-group", nil, "group to impersonate, repeatable")
}

// addPlaceFlags adds those that say where the objects are, and not as whom they are read.
func (c *cluster) addPlaceFlags(f *pflag.FlagSet) {
	f.StringVarP(&c.namespace, "namespace", "n", "", "namespace of the objects; default: that of the context")
	f.BoolVarP(&c.allNamespaces, "all-namespaces", "A", false, "the objects of all namespaces")
	f.StringVar(&c.kubeconfig, "kubeconfig", "", "path of a kubeconfig; default: KUBECONFIG, then ~/.kube/config")
	f.StringVar(&c.context, "context", "", "context of the kubeconfig")
}

func (c *cluster) loading() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules,
		&clientcmd.ConfigOverrides{CurrentContext: c.context})
}

// scope is the namespace that is meant, "" for all.
func (c *cluster) scope() (string, error) {
	if c.allNamespaces || c.namespace != "" {
		return c.within(), nil
	}
	namespace, _, err := c.loading().Namespace()
	if err != nil {
		return "", fmt.Errorf("read the kubeconfig: %w", err)
	}
	return namespace, nil
}

// within is the namespace that the flags name, "" for all or none.
func (c *cluster) within() string {
	if c.allNamespaces {
		return ""
	}
	return c.namespace
}

func (c *cluster) restConfig() (*rest.Config, error) {
	config, err := c.loading().ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	if c.as != "" || len(c.asGroups) > 0 {
		config.Impersonate = rest.ImpersonationConfig{UserName: c.as, Groups: c.asGroups}
	}
	config.UserAgent = "kubectl-groupgate/" + builtVersion()
	config.QPS = -1 // the API server limits clients fairly by itself
	config.WarningHandler = rest.NewWarningWriter(os.Stderr, rest.WarningWriterOptions{Deduplicate: true})
	return config, nil
}

// kinds are those that the tools ask for.
func kinds() apimeta.RESTMapper {
	mapper := apimeta.NewDefaultRESTMapper(nil)
	for _, kind := range []string{"IMApp", "AccountList", "GroupPolicy", "PruneRun"} {
		mapper.Add(v1alpha1.GroupVersion.WithKind(kind), apimeta.RESTScopeNamespace)
	}
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Secret"), apimeta.RESTScopeNamespace)
	mapper.Add(coordinationv1.SchemeGroupVersion.WithKind("Lease"), apimeta.RESTScopeNamespace)
	for _, kind := range []schema.GroupVersionKind{
		corev1.SchemeGroupVersion.WithKind("Namespace"),
		apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition"),
		authenticationv1.SchemeGroupVersion.WithKind("SelfSubjectReview"),
		authorizationv1.SchemeGroupVersion.WithKind("SelfSubjectAccessReview"),
	} {
		mapper.Add(kind, apimeta.RESTScopeRoot)
	}
	return mapper
}

// kindsScheme has the same kinds.
func kindsScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, coordinationv1.AddToScheme, authenticationv1.AddToScheme, authorizationv1.AddToScheme,
		apiextensionsv1.AddToScheme, v1alpha1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	return scheme, nil
}

// client is one of the kinds of the tools. It has not reached the cluster yet.
func (c *cluster) client() (client.Client, error) {
	config, err := c.restConfig()
	if err != nil {
		return nil, err
	}
	scheme, err := kindsScheme()
	if err != nil {
		return nil, err
	}
	// With the kinds at hand, no request has to ask for them first.
	reach, err := client.New(config, client.Options{Scheme: scheme, Mapper: kinds()})
	if err != nil {
		return nil, fmt.Errorf("reach the cluster: %w", err)
	}
	return reach, nil
}
