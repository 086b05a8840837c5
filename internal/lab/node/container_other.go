//go:build !linux

package node

import (
	"errors"
	"os/exec"
)

func (c *container) command() (*exec.Cmd, error) {
	return nil, errors.New("containers need Linux")
}

func checkNamespaces() error { return errors.New("Pods run on Linux only") }
