package app

import (
	"fmt"
	"os"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// RESTConfig reads the connection to the API server: from the kubeconfig, if its path is not empty, then from
// KUBECONFIG, then from the cluster that the process runs in.
func RESTConfig(kubeconfig, userAgent string) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	loading := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{})
	config, err := loading.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("find the cluster (set --kubeconfig or KUBECONFIG, or run in a cluster): %w", err)
	}
	config.UserAgent = userAgent
	// The API server limits clients fairly by itself; client-go's limit of 5 a second would delay statuses and the
	// Lease.
	config.QPS = -1
	return config, noticeDeadConnections()
}

// noticeDeadConnections makes client-go ping a connection after 5 s without a frame and close it after 3 s more. Its
// own defaults (30 and 15 s) would leave a replica without watches for 45 s when the API server vanishes silently.
// client-go reads both values from the environment only, when the first client is made.
func noticeDeadConnections() error {
	for name, value := range map[string]string{
		"HTTP2_READ_IDLE_TIMEOUT_SECONDS": "5",
		"HTTP2_PING_TIMEOUT_SECONDS":      "3",
	} {
		if _, chosen := os.LookupEnv(name); chosen {
			continue
		}
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}
