package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const versionPackage = "k8s.io/component-base/version"

// build compiles all binaries into a scratch folder next to their destination and moves them there when all are done,
// so that an interrupted build leaves nothing that looks complete. The caller holds the lock.
func build(ctx context.Context, dir string, binaries []string) error {
	scratch := filepath.Join(dir, ".build")
	if err := os.RemoveAll(scratch); err != nil {
		return err
	}
	defer os.RemoveAll(scratch)

	var packages []string
	for _, name := range binaries {
		packages = append(packages, "./"+name)
	}

	p := &progress{started: time.Now(), phase: "finding the packages"}
	var deps bytes.Buffer
	if err := run(ctx, p, &deps, append([]string{"list", "-deps"}, packages...)...); err != nil {
		return err
	}
	p.total = bytes.Count(deps.Bytes(), []byte("\n"))

	flags, err := linkerFlags(ctx, p)
	if err != nil {
		return err
	}
	p.phase = "compiling"
	args := []string{"build", "-v", "-trimpath", "-ldflags", flags, "-o", scratch + string(filepath.Separator)}
	args = append(args, packages...)
	if err := run(ctx, p, nil, args...); err != nil {
		return err
	}
	for _, name := range binaries {
		if err := os.Rename(filepath.Join(scratch, name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// linkerFlags strips the binaries and has them report the release that they were built from; without it an API server
// calls itself v0.0.0-master, which clients that look at the version do not expect.
func linkerFlags(ctx context.Context, p *progress) (string, error) {
	var out bytes.Buffer
	if err := run(ctx, p, &out, "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes"); err != nil {
		return "", err
	}
	version := strings.TrimSpace(out.String())
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) != 3 {
		return "", fmt.Errorf("k8s.io/kubernetes has version %q in go.mod: want vMAJOR.MINOR.PATCH", version)
	}
	const flags = "-s -w -X %[1]s.gitVersion=%[2]s -X %[1]s.gitMajor=%[3]s -X %[1]s.gitMinor=%[4]s " +
		"-X %[1]s.gitTreeState=clean"
	return fmt.Sprintf(flags, versionPackage, version, parts[0], parts[1]), nil
}

// run runs the go command and reports its standard error through p.
func run(ctx context.Context, p *progress, stdout io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	cmd.Stdout = stdout
	// The go command stops its compilers when it is asked to; killed, it would leave them running.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start go: %w", err)
	}
	p.follow(stderr)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("go %s: %w", args[0], err)
	}
	return nil
}

// progress counts what the go command reports, and prints the counts every few seconds.
type progress struct {
	started    time.Time
	phase      string
	downloaded int // modules
	compiled   int // packages; what the build cache holds already is never reported
	total      int // packages in all, 0 while unknown
}

// follow reads r to its end.
func (p *progress) follow(r io.Reader) {
	lines := make(chan string)
	go func() { // ends with r, when the go command exits
		defer close(lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			lines <- s.Text()
		}
	}()
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case line, open := <-lines:
			if !open {
				return
			}
			p.count(line)
		case <-tick.C:
			fmt.Fprintln(os.Stderr, "control-plane:", p)
		}
	}
}

func (p *progress) count(line string) {
	switch {
	case strings.HasPrefix(line, "go: downloading "):
		p.downloaded++
	case strings.ContainsAny(line, " \t"): // not the name of a package: a warning or an error
		fmt.Fprintln(os.Stderr, line)
	default:
		p.compiled++
	}
}

func (p *progress) String() string {
	s := fmt.Sprintf("%5s  %s", time.Since(p.started).Round(time.Second), p.phase)
	if p.total > 0 {
		return s + fmt.Sprintf(", %d of %d packages", p.compiled, p.total)
	}
	return s + fmt.Sprintf(", %d modules downloaded", p.downloaded)
}
