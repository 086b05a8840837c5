package main

import (
	"fmt"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"

	"github.com/groupgate/groupgate/internal/refusals/replicaclient"
)

// replicaFlags say where the replicas are.
type replicaFlags struct {
	urls      []string
	caFile    string
	namespace string
}

func (r *replicaFlags) addFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&r.urls, "replicas-url", nil,
		"https URL of the metrics endpoint of the replicas, whose host is resolved to all of its addresses, "+
			"repeatable; default: their Pods, by port-forward")
	f.StringVar(&r.caFile, "replicas-ca-file", "",
		"file with the CA that verifies the certificates of --replicas-url (see --metrics-cert-dir of the manager)")
	f.StringVar(&r.namespace, "system-namespace", "groupgate-system", "namespace of the Pods of the manager")
}

// client asks the replicas with the identity of a kubeconfig, or with a token of its own.
func (r *replicaFlags) client(config *rest.Config, token func() (string, error)) (*replicaclient.Client, error) {
	client, err := replicaclient.New(replicaclient.Options{
		URLs: r.urls, CAFile: r.caFile, Namespace: r.namespace, Config: config, Token: token,
	})
	if err != nil {
		return nil, badInputError{fmt.Errorf("--replicas-url, --replicas-ca-file: %w", err)}
	}
	return client, nil
}
