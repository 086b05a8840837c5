package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// CRDs is the folder with the CustomResourceDefinitions.
func CRDs() string { return filepath.Join(Root(), "config", "crd", "bases") }

// Cluster is what the tests of a package share: a control plane with the CustomResourceDefinitions.
type Cluster struct {
	*ControlPlane
	// Binary is groupgate, built with the race detector; see ClusterOptions.Manager.
	Binary string
	// AuditLog is the path of the API server's log of the requests of manager and page; see ClusterOptions.Audit.
	AuditLog string
}

// ClusterOptions say what the tests of a package need besides.
type ClusterOptions struct {
	// Manager applies config/default, with the manager's roles, and builds the binary.
	Manager bool
	// Components are those of config that are applied with it, such as page.
	Components []string
	// Bare leaves the API server as it is, without even the CustomResourceDefinitions; the binary is built.
	Bare bool
	// Audit has the API server log every request of the ServiceAccounts of manager and page.
	Audit bool
}

// auditPolicy logs the requests of the manager and the page, and nothing else.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  users:
  - "system:serviceaccount:` + managerNamespace + `:` + managerAccount + `"
  - "system:serviceaccount:` + managerNamespace + `:groupgate-page"
- level: None
`

// RunWithCluster is for TestMain, which passes its *testing.M: it starts a cluster, hands it to use, runs the tests,
// stops the cluster and returns the exit code. An interrupt stops the cluster, too.
func RunWithCluster(m interface{ Run() int }, o ClusterOptions, use func(*Cluster)) int {
	code, err := runWithCluster(m, o, use)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func runWithCluster(m interface{ Run() int }, o ClusterOptions, use func(*Cluster)) (code int, err error) {
	dir, err := os.MkdirTemp("", "groupgate-test-")
	if err != nil {
		return 0, fmt.Errorf("make a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c, err := startCluster(dir, o)
	if c.ControlPlane != nil {
		stop := sync.OnceValue(c.Stop)
		defer func() { err = errors.Join(err, stop()) }()
		stopOnInterrupt(func() error { return errors.Join(stop(), os.RemoveAll(dir)) })
	}
	if err != nil {
		return 0, err
	}
	use(c)
	return m.Run(), nil
}

// startCluster returns the control plane to stop even with an error, if it started.
func startCluster(dir string, o ClusterOptions) (*Cluster, error) {
	c := &Cluster{}
	flags := map[string]string{}
	if o.Audit {
		c.AuditLog = filepath.Join(dir, "audit.log")
		flags["audit-log-path"], flags["audit-policy-file"] = c.AuditLog, filepath.Join(dir, "audit-policy.yaml")
		if err := os.WriteFile(flags["audit-policy-file"], []byte(auditPolicy), 0o600); err != nil {
			return c, fmt.Errorf("write the audit policy: %w", err)
		}
	}
	var starting errgroup.Group
	if o.Manager || o.Bare {
		starting.Go(func() (err error) {
			c.Binary, err = Build(dir, true)
			return err
		})
	}
	starting.Go(func() (err error) {
		if c.ControlPlane, err = StartControlPlane(dir, flags); err != nil {
			return err
		}
		switch {
		case o.Bare:
			return nil
		case o.Manager:
			return c.Install(context.Background(), o.Components...)
		}
		options := envtest.CRDInstallOptions{Paths: []string{CRDs()}, ErrorIfPathMissing: true}
		if _, err := envtest.InstallCRDs(c.Config, options); err != nil {
			return fmt.Errorf("install the CustomResourceDefinitions: %w", err)
		}
		return nil
	})
	return c, starting.Wait()
}

// stopOnInterrupt ends this process on Ctrl-C, after stop: the control plane would outlive it.
func stopOnInterrupt(stop func() error) {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() { // ends with the process
		<-interrupted
		_ = stop() // nothing is left to be done about an error
		os.Exit(130)
	}()
}
