package page

import (
	"errors"
	"fmt"
	"net/http"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// Clients makes the clients of viewers. All of them share the connections of one transport.
type Clients struct {
	config    *rest.Config
	transport http.RoundTripper
	scheme    *runtime.Scheme
	mapper    apimeta.RESTMapper
}

// NewClients returns clients of the cluster of config, with the credentials in it. scheme has the kinds of the page,
// and mapper their resources.
func NewClients(config *rest.Config, scheme *runtime.Scheme, mapper apimeta.RESTMapper) (*Clients, error) {
	if err := metav1.AddMetaToScheme(scheme); err != nil { // tables, and objects of which only the metadata is read
		return nil, err
	}
	shared, err := rest.TransportFor(config)
	if err != nil {
		return nil, fmt.Errorf("reach the cluster: %w", err)
	}
	return &Clients{config: config, transport: shared, scheme: scheme, mapper: mapper}, nil
}

// own is a viewer with the rights of the process itself.
func (c *Clients) own(name string, groups []string) (*Viewer, error) {
	return c.viewer(name, groups, c.transport)
}

// reading is a viewer with the rights of the process itself to read, and no others.
func (c *Clients) reading(name string, groups []string) (*Viewer, error) {
	return c.viewer(name, groups, readOnly{c.transport})
}

// readOnly refuses requests that write.
type readOnly struct{ http.RoundTripper }

var errReadOnly = errors.New("the page reads only")

func (t readOnly) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet {
		return nil, errReadOnly
	}
	return t.RoundTripper.RoundTrip(r)
}

// impersonating is a viewer whom every call to the API server impersonates.
func (c *Clients) impersonating(name string, groups []string) (*Viewer, error) {
	as := transport.ImpersonationConfig{UserName: name, Groups: groups}
	return c.viewer(name, groups, transport.NewImpersonatingRoundTripper(as, c.transport))
}

func (c *Clients) viewer(name string, groups []string, calls http.RoundTripper) (*Viewer, error) {
	httpClient := &http.Client{Transport: calls, Timeout: c.config.Timeout}
	reach, err := client.New(c.config, client.Options{HTTPClient: httpClient, Scheme: c.scheme, Mapper: c.mapper})
	if err != nil {
		return nil, fmt.Errorf("reach the cluster: %w", err)
	}
	config := rest.CopyConfig(c.config)
	config.APIPath, config.GroupVersion = "/apis", &v1alpha1.GroupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(c.scheme).WithoutConversion()
	tables, err := rest.RESTClientForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, fmt.Errorf("reach the cluster: %w", err)
	}
	return &Viewer{Name: name, Groups: groups, Client: reach, Tables: tables}, nil
}
