package node

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/groupgate/groupgate/internal/lab"
)

// Image is an unpacked container image.
type Image struct {
	// Root is the folder with its files.
	Root string
	// Config is what it runs by default.
	Config ImageConfig
}

// ImageConfig is the part of an OCI image configuration that matters here.
type ImageConfig struct {
	User       string
	Env        []string
	Entrypoint []string
	Cmd        []string
	WorkingDir string
	Labels     map[string]string
}

// LoadImage reads what `image unpack` wrote into dir (see hack/image).
func LoadImage(dir string) (*Image, error) {
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		return nil, fmt.Errorf("read the image: %w", err)
	}
	var file struct{ Config ImageConfig }
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("read the image: %w", err)
	}
	return &Image{Root: filepath.Join(dir, "rootfs"), Config: file.Config}, nil
}

// BuildImage builds the image of this machine's architecture as `make image` does, and unpacks it below dir. The first
// build takes minutes.
func BuildImage(ctx context.Context, dir, version string) (*Image, error) {
	layout, unpacked := filepath.Join(dir, "layout-"+version), filepath.Join(dir, "image-"+version)
	platform := "linux/" + runtime.GOARCH
	for _, args := range [][]string{
		{"build", "-o", layout, "-version", version, "-platforms", platform},
		{"unpack", "-layout", layout, "-platform", platform, unpacked},
	} {
		cmd := exec.CommandContext(ctx, "go", append([]string{"run", "."}, args...)...)
		cmd.Dir = filepath.Join(lab.Root(), "hack", "image")
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("image %s: %w: %s", args[0], err, bytes.TrimSpace(out))
		}
	}
	return LoadImage(unpacked)
}
