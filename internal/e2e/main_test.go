package e2e

import (
	"flag"
	"os"
	"testing"

	"github.com/groupgate/groupgate/internal/lab"
)

// cluster is shared by all tests. Each has a namespace of its own.
var cluster *lab.Cluster

func TestMain(m *testing.M) {
	// The tests mostly wait, so more of them run side by side than there are CPUs. A flag of the command line wins.
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	options := lab.ClusterOptions{Manager: true, Audit: true}
	os.Exit(lab.RunWithCluster(m, options, func(c *lab.Cluster) { cluster = c }))
}
