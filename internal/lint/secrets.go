package lint

import (
	"cmp"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/manifests"
)

// secretsIn returns the data of the Secrets among the documents, by namespace and name; nil without the label that lets
// the operator read them. Nothing of it may be printed.
func secretsIn(documents []manifests.Document, namespace string) map[string]map[string][]byte {
	found := map[string]map[string][]byte{}
	for i := range documents {
		var secret corev1.Secret
		if !mentions(&documents[i], "Secret") || yaml.Unmarshal(documents[i].Text, &secret) != nil ||
			secret.Kind != "Secret" || secret.APIVersion != "v1" {
			continue
		}
		data := map[string][]byte{}
		for key, value := range secret.Data {
			data[key] = value
		}
		for key, value := range secret.StringData {
			data[key] = []byte(value)
		}
		if secret.Labels[v1alpha1.LabelCredentials] != "true" {
			data = nil
		}
		found[cmp.Or(secret.Namespace, namespace)+"/"+secret.Name] = data
	}
	return found
}
