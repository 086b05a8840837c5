package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// user is who the manager runs as: nonroot, as in distroless images. Pods that must not run as root need a number.
const user = "65532"

// recipe is all that decides the digest, besides the version of Go.
type recipe struct {
	source    string // top folder of the sources
	version   string
	revision  string // a commit; empty if it is not known
	created   time.Time
	platforms []v1.Platform
}

// build makes an index with an image for each platform.
func (r *recipe) build(ctx context.Context) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, platform := range r.platforms {
		image, err := r.image(ctx, platform)
		if err != nil {
			return nil, fmt.Errorf("build the image for %s: %w", platform, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: &platform},
		})
	}
	annotated, ok := mutate.Annotations(index, r.labels()).(v1.ImageIndex)
	if !ok {
		return nil, errors.New("an annotated index is no index")
	}
	return annotated, nil
}

// labels say where the image is from, for people, scanners and registries: as labels of each image, and as annotations
// of the index, which is what a registry shows.
func (r *recipe) labels() map[string]string {
	labels := map[string]string{
		"org.opencontainers.image.title":         "Groupgate",
		"org.opencontainers.image.description":   "Declares who may join and stay in chat groups of Tencent Cloud Chat",
		"org.opencontainers.image.source":        "https://github.com/groupgate/groupgate",
		"org.opencontainers.image.documentation": "https://github.com/groupgate/groupgate/blob/main/README.md",
		"org.opencontainers.image.licenses":      "Apache-2.0",
		"org.opencontainers.image.version":       r.version,
	}
	if r.revision != "" {
		labels["org.opencontainers.image.revision"] = r.revision
	}
	return labels
}

// image is that of one platform. The binary is in the last layer: the others are the same in most releases.
func (r *recipe) image(ctx context.Context, platform v1.Platform) (v1.Image, error) {
	base, err := baseFiles()
	if err != nil {
		return nil, err
	}
	notices, err := r.notices(ctx, platform)
	if err != nil {
		return nil, err
	}
	binary, err := r.compile(ctx, platform)
	if err != nil {
		return nil, err
	}
	program := []file{{name: "groupgate", content: binary, mode: 0o755}}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if image, err = mutate.ConfigFile(image, r.config(platform)); err != nil {
		return nil, err
	}
	for _, part := range []struct {
		what  string
		files []file
	}{{"user and root certificates", base}, {"licences", notices}, {"groupgate", program}} {
		layer, err := r.layer(part.files)
		if err != nil {
			return nil, err
		}
		image, err = mutate.Append(image, mutate.Addendum{
			Layer: layer, History: v1.History{Created: v1.Time{Time: r.created}, CreatedBy: "hack/image: " + part.what},
		})
		if err != nil {
			return nil, err
		}
	}
	return image, nil
}

// config is what the Dockerfile says, too.
func (r *recipe) config(platform v1.Platform) *v1.ConfigFile {
	return &v1.ConfigFile{
		OS: platform.OS, Architecture: platform.Architecture, Variant: platform.Variant,
		Created: v1.Time{Time: r.created},
		RootFS:  v1.RootFS{Type: "layers"},
		Config: v1.Config{
			User: user + ":" + user, WorkingDir: "/", Labels: r.labels(),
			Entrypoint: []string{"/groupgate"}, Cmd: []string{"manager"},
		},
	}
}

// compile builds the binary with the flags of the Dockerfile.
func (r *recipe) compile(ctx context.Context, platform v1.Platform) ([]byte, error) {
	source, err := filepath.Abs(r.source)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "groupgate-image-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "groupgate")
	cmd := exec.CommandContext(ctx, "go", "build", "-pgo="+filepath.Join(source, "hack", "callback.pgo"), "-trimpath",
		"-buildvcs=false", "-ldflags", "-s -w -X main.version="+r.version+" -X main.revision="+r.revision,
		"-o", path, ".")
	cmd.Dir = source
	cmd.Env = goEnvironment(platform)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w: %s", err, out)
	}
	return os.ReadFile(path)
}

// goEnvironment has the go command build for platform, without the settings of this machine that change binaries. An
// empty GOFLAGS would be that of `go env -w`; -trimpath is what binaries are built with anyway.
func goEnvironment(platform v1.Platform) []string {
	return append(os.Environ(), "CGO_ENABLED=0", "GOOS="+platform.OS, "GOARCH="+platform.Architecture,
		"GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GOFIPS140=off", "GOFLAGS=-trimpath", "GOWORK=off")
}

// writeLayout replaces dir by an OCI layout whose only entry is index.
func writeLayout(dir string, index v1.ImageIndex) error {
	if err := refuseToReplace(dir); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return fmt.Errorf("write %s: %w", dir, err)
	}
	if err := path.AppendIndex(index); err != nil {
		return fmt.Errorf("write %s: %w", dir, err)
	}
	return nil
}

// refuseToReplace fails if dir holds anything but an OCI layout.
func refuseToReplace(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, os.ErrNotExist), err == nil && len(entries) == 0:
		return nil
	case err != nil:
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "oci-layout")); err != nil {
		return fmt.Errorf("%s holds something else than an OCI layout: name another folder with -o", dir)
	}
	return nil
}

// readLayout is the index that writeLayout wrote.
func readLayout(dir string) (v1.ImageIndex, error) {
	top, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("%s is no OCI layout (%w): run `make image`", dir, err)
	}
	manifest, err := top.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", dir, err)
	}
	if len(manifest.Manifests) != 1 {
		return nil, fmt.Errorf("%s holds %d images, want one: run `make image`", dir, len(manifest.Manifests))
	}
	return top.ImageIndex(manifest.Manifests[0].Digest)
}
