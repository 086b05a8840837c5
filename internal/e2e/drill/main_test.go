package drill

import (
	"flag"
	"os"
	"testing"

	"github.com/groupgate/groupgate/internal/lab"
)

var (
	scenarios  = flag.Int("drill.scenarios", 14, "how many scenarios TestDrill runs")
	perEpisode = flag.Int("drill.episode", 24, "how many scenarios an episode has at most")
	firstSeed  = flag.Uint64("drill.seed", 400, "seed of the first episode; the others count up from it")

	// cluster is shared by all episodes. Each has a namespace of its own.
	cluster *lab.Cluster
)

func TestMain(m *testing.M) {
	os.Exit(lab.RunWithCluster(m, lab.ClusterOptions{Manager: true}, func(c *lab.Cluster) { cluster = c }))
}
