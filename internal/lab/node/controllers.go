package node

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/groupgate/groupgate/internal/lab"
)

// controllers are those that Deployments and their tests need. The one that watches over nodes is left out: it would
// evict the Pods of a node without heartbeats.
var controllers = []string{
	"deployment-controller", "replicaset-controller", "endpointslice-controller", "disruption-controller",
	"garbage-collector-controller", "namespace-controller", "serviceaccount-controller", "resourcequota-controller",
}

// startControllers builds kube-controller-manager if necessary, and starts it as the admin of plane.
func startControllers(ctx context.Context, plane *lab.ControlPlane, log io.Writer) (*lab.Process, error) {
	dir := filepath.Join(lab.Root(), "bin", "controllers")
	cmd := exec.CommandContext(ctx, "go", "run", ".", "-controllers", "-o", dir)
	cmd.Dir = filepath.Join(lab.Root(), "hack", "controlplane")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("build kube-controller-manager: %w: %s", err, stderr.Bytes())
	}
	return lab.Start(log, nil, filepath.Join(strings.TrimSpace(string(out)), "kube-controller-manager"),
		"--kubeconfig="+plane.Kubeconfig, "--leader-elect=false", "--secure-port=0", "--v=0",
		"--controllers="+strings.Join(controllers, ","))
}
