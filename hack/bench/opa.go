package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/groupgate/groupgate/internal/lab"
)

const opaVersion = "v1.22.0"

// regoRule decides and answers as Groupgate does, Sign and SdkAppid included.
//
//go:embed policy.rego
var regoRule []byte

// startOPA builds Open Policy Agent from its module, with the dependencies that its own go.mod names, and has it serve
// the rule.
func startOPA(ctx context.Context, b *bench, procs int) (*server, error) {
	binary := filepath.Join(b.cache, "opa-"+opaVersion, "opa")
	if _, err := os.Stat(binary); err != nil {
		b.say("building Open Policy Agent %s, once", opaVersion)
		install := exec.CommandContext(ctx, "go", "install", "github.com/open-policy-agent/opa@"+opaVersion)
		install.Env = append(os.Environ(), "GOBIN="+filepath.Dir(binary), "CGO_ENABLED=0", "GOFLAGS=")
		if out, err := install.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build Open Policy Agent: %w: %s", err, out)
		}
	}
	data, err := b.data()
	if err != nil {
		return nil, err
	}
	rule := filepath.Join(b.dir, "policy.rego")
	if err := os.WriteFile(rule, regoRule, 0o600); err != nil {
		return nil, err
	}
	address, err := lab.FreeAddress()
	if err != nil {
		return nil, err
	}
	return b.startServer(ctx, withProcs(procs), address, binary, "run", "--server", "--addr="+address,
		"--log-level=error", "--disable-telemetry", rule, data)
}
