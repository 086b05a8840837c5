//go:build !linux

package node

import (
	"errors"
	"os/exec"
)

func (c *container) command() (*exec.Cmd, error) {
	return nil, errors.New("containers need Linux")
}

// Check fails on a machine that cannot run Pods, and says what to change.
func Check() error { return errors.New("Pods run on Linux only") }
