package informers

import (
	"net/http"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// NewRESTMapper is a manager's MapperProvider with a static list of the kinds used here. The default one asks the API
// server, and a process that starts during an outage would end, instead of running its callback server until the API
// server is back.
func NewRESTMapper(*rest.Config, *http.Client) (meta.RESTMapper, error) {
	mapper := meta.NewDefaultRESTMapper(nil)
	for kind, version := range map[string]schema.GroupVersion{
		"IMApp":       v1alpha1.GroupVersion,
		"AccountList": v1alpha1.GroupVersion,
		"GroupPolicy": v1alpha1.GroupVersion,
		"PruneRun":    v1alpha1.GroupVersion,
		"Secret":      corev1.SchemeGroupVersion,
		"Lease":       coordinationv1.SchemeGroupVersion,
		"Event":       eventsv1.SchemeGroupVersion,
	} {
		plural, singular := meta.UnsafeGuessKindToResource(version.WithKind(kind))
		mapper.AddSpecific(version.WithKind(kind), plural, singular, meta.RESTScopeNamespace)
		mapper.AddSpecific(version.WithKind(kind+"List"), plural, singular, meta.RESTScopeNamespace)
	}
	// The leader looks whether these write down who decided.
	for _, kind := range []string{"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"} {
		mapper.Add(admissionregistrationv1.SchemeGroupVersion.WithKind(kind), meta.RESTScopeRoot)
	}
	return mapper, nil
}
