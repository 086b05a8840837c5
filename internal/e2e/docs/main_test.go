package docs

import (
	"os"
	"testing"

	"github.com/groupgate/groupgate/internal/lab"
)

// cluster is shared by all pages. Each finds it as if it were the first.
var cluster *lab.Cluster

func TestMain(m *testing.M) {
	os.Exit(lab.RunWithCluster(m, lab.ClusterOptions{Bare: true}, func(c *lab.Cluster) { cluster = c }))
}
