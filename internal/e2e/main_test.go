package e2e

import (
	"os"
	"testing"

	"github.com/groupgate/groupgate/internal/lab"
)

// cluster is shared by all tests. Each has a namespace of its own.
var cluster *lab.Cluster

func TestMain(m *testing.M) {
	options := lab.ClusterOptions{Manager: true, Audit: true}
	os.Exit(lab.RunWithCluster(m, options, func(c *lab.Cluster) { cluster = c }))
}
