package drill

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"

	"github.com/groupgate/groupgate/internal/lab"
)

var (
	scenarios  = flag.Int("drill.scenarios", 14, "how many scenarios TestDrill plays")
	perEpisode = flag.Int("drill.episode", 24, "how many scenarios an episode has at most")
	firstSeed  = flag.Uint64("drill.seed", 400, "seed of the first episode; the others count up from it")

	// What all episodes share: one control plane, with the manifests of config/default applied, and one binary built with the race detector.
	plane  *lab.ControlPlane
	binary string
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "groupgate-drill-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	if binary, err = lab.Build(dir, true); err != nil {
		return 0, err
	}
	if plane, err = lab.StartControlPlane(dir, nil); err != nil {
		return 0, err
	}
	stop := sync.OnceValue(plane.Stop)
	defer func() { err = errors.Join(err, stop()) }()
	// Ctrl-C in a long drill leaves nothing behind: the managers die with this process, the control plane does not.
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() { // ends with the process
		<-interrupted
		_ = errors.Join(stop(), os.RemoveAll(dir))
		os.Exit(130)
	}()

	//nolint:forbidigo // before the first test there is no context to take
	if _, err := plane.Kubectl(context.Background(), "", "apply", "--server-side", "-k", "config/default"); err != nil {
		return 0, err
	}
	return m.Run(), nil
}
