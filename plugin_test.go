package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// krewManifest is what krew reads of a manifest; the schema is in its developer guide.
type krewManifest struct {
	APIVersion, Kind string
	Metadata         struct{ Name string }
	Spec             struct {
		Version, Homepage, ShortDescription, Description, Caveats string
		Platforms                                                 []struct {
			Selector         struct{ MatchLabels struct{ OS, Arch string } }
			URI, SHA256, Bin string
		}
	}
}

// The script fills in the manifest by what it has built. A go that only writes its arguments stands for the real one,
// which would compile for a quarter of an hour.
func TestPluginIsPackedAsItsManifestSays(t *testing.T) {
	dist, bin := t.TempDir(), t.TempDir()
	const fake = `#!/bin/sh
while [ "$1" != -o ]; do shift; done
echo "$GOOS $GOARCH $CGO_ENABLED" >"$2"
`
	if err := os.WriteFile(filepath.Join(bin, "go"), []byte(fake), 0o700); err != nil {
		t.Fatal(err)
	}
	pack := func(version string) ([]byte, error) {
		cmd := exec.CommandContext(t.Context(), "hack/plugin.sh")
		cmd.Env = append(os.Environ(), "VERSION="+version, "DIST="+dist, "PATH="+bin+":"+os.Getenv("PATH"))
		return cmd.CombinedOutput()
	}
	if out, err := pack("8bf31f2-dirty"); err == nil || !strings.Contains(string(out), "versions such as v1.2.3") {
		t.Errorf("a version that krew does not take: %v\n%s", err, out)
	}
	if out, err := pack("v1.2.3-rc.1"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dist, "groupgate.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var manifest krewManifest
	if err := yaml.UnmarshalStrict(text, &manifest); err != nil {
		t.Fatal(err)
	}
	spec := manifest.Spec
	if manifest.APIVersion != "krew.googlecontainertools.github.com/v1alpha2" || manifest.Kind != "Plugin" ||
		manifest.Metadata.Name != "groupgate" || spec.Version != "v1.2.3-rc.1" || len(spec.ShortDescription) > 50 {
		t.Errorf("manifest\n%s", text)
	}
	var platforms []string
	for _, p := range spec.Platforms {
		os, arch := p.Selector.MatchLabels.OS, p.Selector.MatchLabels.Arch
		platforms = append(platforms, os+"/"+arch)
		name := "kubectl-groupgate_" + os + "_" + arch + ".tar.gz"
		const releases = "https://github.com/groupgate/groupgate/releases/download/v1.2.3-rc.1/"
		if p.URI != releases+name {
			t.Errorf("%s/%s: uri %s", os, arch, p.URI)
		}
		archive := readFile(t, filepath.Join(dist, name))
		if sum := sha256.Sum256(archive); p.SHA256 != hex.EncodeToString(sum[:]) {
			t.Errorf("%s: sha256 %s", name, p.SHA256)
		}
		files := unpack(t, archive)
		if got, want := files["./"+p.Bin], os+" "+arch+" 0\n"; got != want || files["./LICENSE"] == "" {
			t.Errorf("%s holds %q, want %q as %s, and the licence", name, files, want, p.Bin)
		}
	}
	want := []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64"}
	if !slices.Equal(platforms, want) {
		t.Errorf("platforms %q, want %q", platforms, want)
	}
	builds := readFile(t, "hack/release.sh")
	if release := readFile(t, ".github/workflows/release.yaml"); !bytes.Contains(builds, []byte(" plugin ")) ||
		!bytes.Contains(release, []byte("make release\n")) ||
		!bytes.Contains(release, []byte("dist/groupgate.yaml dist/kubectl-groupgate_*.tar.gz")) {
		t.Error("the release does not publish the plugin")
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func unpack(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	plain, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for reader := tar.NewReader(plain); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = string(content)
	}
}
