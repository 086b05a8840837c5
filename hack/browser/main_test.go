package browser

import (
	"fmt"
	"os"
	"testing"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/groupgate/groupgate/internal/lab"
)

var cluster *lab.Cluster

func TestMain(m *testing.M) {
	ctrllog.SetLogger(logr.Discard())
	use := func(c *lab.Cluster) { cluster = c }
	os.Exit(lab.RunWithCluster(tests{m}, lab.ClusterOptions{
		Manager: true, Components: []string{"admission", "admission/decisions"},
	}, use))
}

// tests stop what was started for all of them: the API server would wait for the manager's watches.
type tests struct{ *testing.M }

func (t tests) Run() int {
	code := t.M.Run()
	closeBrowser()
	if made != nil {
		if err := made.end(); err != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s", err, &made.log)
			return 1
		}
	}
	return code
}
