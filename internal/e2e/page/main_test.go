package page

import (
	"flag"
	"os"
	"testing"

	"github.com/groupgate/groupgate/internal/lab"
)

// cluster has config/default with config/page and config/admission/decisions, and runs none of their Pods.
var cluster *lab.Cluster

func TestMain(m *testing.M) {
	// The tests mostly wait, so more of them run side by side than there are CPUs.
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	options := lab.ClusterOptions{
		Manager: true, Components: []string{"page", "admission", "admission/decisions"}, Audit: true,
	}
	os.Exit(lab.RunWithCluster(m, options, func(c *lab.Cluster) { cluster = c }))
}
