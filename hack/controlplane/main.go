// Command controlplane provides the Kubernetes control plane that tests and the demo run against: kube-apiserver, etcd
// and kubectl. It builds them from their Go modules, so that nothing but the module proxy is needed, and prints the
// directory they are in. Everything else that it says goes to standard error.
//
// If KUBEBUILDER_ASSETS names a directory that holds the three, that directory is used and nothing is built.
//
// With -controllers it provides kube-controller-manager instead, in a directory of its own: only tests that run
// Deployments need it, and it takes two minutes more.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const assetsVariable = "KUBEBUILDER_ASSETS"

func main() {
	out := flag.String("o", "../../bin/k8s", "directory to put the binaries into")
	controllers := flag.Bool("controllers", false, "provide kube-controller-manager, and ignore "+assetsVariable)
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	provided, assets := binaries, os.Getenv(assetsVariable)
	if *controllers {
		provided, assets = []string{"kube-controller-manager"}, ""
	}
	dir, err := provide(ctx, *out, assets, provided)
	if err != nil {
		fmt.Fprintln(os.Stderr, "control-plane:", err)
		os.Exit(1)
	}
	fmt.Println(dir)
}

// provide returns the absolute path of a directory that holds all binaries: assets, if that is not empty, or out, where
// they are built if necessary.
func provide(ctx context.Context, out, assets string, binaries []string) (string, error) {
	if dir := assets; dir != "" {
		if name, missing := firstMissing(dir, binaries); missing {
			return "", fmt.Errorf("%s is %s, which has no %s: name a directory that holds kube-apiserver, etcd and "+
				"kubectl, or unset it to have them built", assetsVariable, dir, name)
		}
		return filepath.Abs(dir)
	}

	dir, err := filepath.Abs(out)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(filepath.Join(dir, ".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()

	want, err := sourceHash(".")
	if err != nil {
		return "", fmt.Errorf("hash the sources: %w", err)
	}
	stamp := filepath.Join(dir, ".stamp")
	if _, missing := firstMissing(dir, binaries); !missing && readStamp(stamp) == want {
		return dir, nil
	}

	// From the first replaced binary to the last, no stamp may vouch for the mixture.
	if err := os.RemoveAll(stamp); err != nil {
		return "", err
	}
	start := time.Now()
	fmt.Fprintf(os.Stderr, "control-plane: building %s, once; minutes on 2 cores\n", strings.Join(binaries, ", "))
	if err := build(ctx, dir, binaries); err != nil {
		return "", err
	}
	if err := os.WriteFile(stamp, []byte(want+"\n"), 0o644); err != nil {
		return "", err
	}
	fmt.Fprintf(os.Stderr, "control-plane: built in %s\n", time.Since(start).Round(time.Second))
	return dir, nil
}

// lock waits until no other process builds into the same directory. The kernel releases it if the process dies.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
		return func() { f.Close() }, nil
	}
	fmt.Fprintln(os.Stderr, "control-plane: waiting for another build to finish")
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if err != syscall.EINTR {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
	}
}
