//go:build !linux

package lab

import (
	"errors"
	"os"
)

// Terminal fails: there are pseudo-terminals on Linux only.
func Terminal() (person, program *os.File, err error) { return nil, nil, errors.ErrUnsupported }
