package lab

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// Tool is the path of a command that the module hack/tools/MODULE pins. It is built when the build cache lacks it.
func Tool(module, command string) (string, error) {
	cmd := exec.Command("go", "tool", "-modfile="+filepath.Join("hack", "tools", module, "go.mod"), "-n", command)
	cmd.Dir = Root()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	path, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("build %s: %w: %s", command, err, stderr.String())
	}
	return strings.TrimSpace(string(path)), nil
}
