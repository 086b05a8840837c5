package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/groupgate/groupgate/internal/lab"
)

// What all tests share: one control plane, with the manifests of config/default applied, and one binary built with the race detector.
var (
	plane    *lab.ControlPlane
	binary   string
	auditLog string
)

// auditPolicy has the API server write down every request of the manager, and nothing else.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  users: ["system:serviceaccount:groupgate-system:groupgate-manager"]
- level: None
`

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "groupgate-e2e-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	if binary, err = lab.Build(dir, true); err != nil {
		return 0, err
	}
	auditLog = filepath.Join(dir, "audit.log")
	policyFile := filepath.Join(dir, "audit-policy.yaml")
	if err := os.WriteFile(policyFile, []byte(auditPolicy), 0o600); err != nil {
		return 0, err
	}
	plane, err = lab.StartControlPlane(dir, map[string]string{"audit-policy-file": policyFile, "audit-log-path": auditLog})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, plane.Stop()) }()

	//nolint:forbidigo // before the first test there is no context to take
	if _, err := plane.Kubectl(context.Background(), "", "apply", "--server-side", "-k", "config/default"); err != nil {
		return 0, err
	}
	return m.Run(), nil
}
