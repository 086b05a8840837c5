package main

import (
	"archive/tar"
	"bytes"
	"io"
	"log"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

const source = "../.."

// imageCommand runs the command and returns what it printed.
func imageCommand(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if err := run(t.Context(), &out, args); err != nil {
		t.Fatalf("image %v: %v", args, err)
	}
	return out.String()
}

// copySources copies what the image is built from into another folder, as a checkout elsewhere has it.
func copySources(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"api", "config/crd", "controllers", "internal", "webhookserver"} {
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(source, name))); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(source, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"go.mod", "go.sum", "LICENSE", "hack/callback.pgo"} {
		files = append(files, filepath.Join(source, name))
	}
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		to, err := filepath.Rel(source, name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, to)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, to), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A digest that depends on where, when or under which settings the image was built cannot be checked by anybody else.
func TestTwoBuildsHaveOneDigest(t *testing.T) {
	first, second := filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "second")
	printed := imageCommand(t, "build", "-o", first, "-version", "v1.2.3", "-revision", "abc")
	settings := filepath.Join(t.TempDir(), "env") // as `go env -w` writes them
	if err := os.WriteFile(settings, []byte("GOFLAGS=-tags=elsewhere\nGOFIPS140=latest\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOENV", settings)
	t.Setenv("GOFLAGS", "")
	imageCommand(t, "build", "-o", second, "-version", "v1.2.3", "-revision", "abc", "-source", copySources(t))

	index, err := readLayout(first)
	if err != nil {
		t.Fatal(err)
	}
	other, err := readLayout(second)
	if err != nil {
		t.Fatal(err)
	}
	if digestOf(t, index) != digestOf(t, other) {
		t.Errorf("two builds have the digests %s and %s", digestOf(t, index), digestOf(t, other))
	}
	if digest, _, _ := strings.Cut(printed, "\n"); digest != digestOf(t, index) {
		t.Errorf("the first line is %q, want the digest %s", digest, digestOf(t, index))
	}
	if err := validate.Index(index, validate.Fast); err != nil {
		t.Errorf("the layout is not valid: %v", err)
	}
	t.Run("what it says of itself", func(t *testing.T) { checkIndex(t, index) })
	t.Run("what is in it", func(t *testing.T) { checkFiles(t, first) })
	t.Run("it is pushed as it is", func(t *testing.T) { checkPush(t, first) })
}

func digestOf(t *testing.T, index v1.ImageIndex) string {
	t.Helper()
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

// checkIndex checks the annotations of the index, and the configuration of each image.
func checkIndex(t *testing.T, index v1.ImageIndex) {
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, entry := range manifest.Manifests {
		platforms = append(platforms, entry.Platform.String())
		image, err := index.Image(entry.Digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		want := v1.Config{
			User: "65532:65532", Entrypoint: []string{"/groupgate"}, Cmd: []string{"manager"}, WorkingDir: "/",
			Labels: manifest.Annotations,
		}
		if diff := cmp.Diff(want, config.Config); diff != "" {
			t.Errorf("configuration for %s (-want,+got)\n%s", entry.Platform, diff)
		}
		if config.Created.Unix() != 0 {
			t.Errorf("created at %s, want 1970", config.Created)
		}
	}
	if diff := cmp.Diff([]string{"linux/amd64", "linux/arm64"}, platforms); diff != "" {
		t.Errorf("platforms (-want,+got)\n%s", diff)
	}
	for label, want := range map[string]string{
		"version": "v1.2.3", "revision": "abc", "licenses": "Apache-2.0",
		"source": "https://github.com/groupgate/groupgate",
	} {
		if got := manifest.Annotations["org.opencontainers.image."+label]; got != want {
			t.Errorf("annotation %s is %q, want %q", label, got, want)
		}
	}
}

// checkFiles unpacks the image of this machine and runs its binary.
func checkFiles(t *testing.T, layoutDir string) {
	dir := filepath.Join(t.TempDir(), "image")
	imageCommand(t, "unpack", "-layout", layoutDir, dir)
	read := func(name string) string {
		content, err := os.ReadFile(filepath.Join(dir, "rootfs", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	if !strings.Contains(read("etc/passwd"), "\nnonroot:x:65532:65532:") {
		t.Errorf("/etc/passwd has no nonroot:\n%s", read("etc/passwd"))
	}
	if roots := strings.Count(read("etc/ssl/certs/ca-certificates.crt"), "BEGIN CERTIFICATE"); roots < 100 {
		t.Errorf("%d root certificates", roots)
	}
	for _, word := range []string{"k8s.io/client-go v", "go 1.", "Apache License", "Redistribution and use"} {
		if !strings.Contains(read("licenses/THIRD_PARTY"), word) {
			t.Errorf("/licenses/THIRD_PARTY does not hold %q", word)
		}
	}
	out, err := exec.Command(filepath.Join(dir, "rootfs", "groupgate"), "version").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "v1.2.3") {
		t.Errorf("groupgate version: %v\n%s", err, out)
	}
}

func checkPush(t *testing.T, layoutDir string) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	pushed := strings.TrimSpace(imageCommand(t, "push", "-layout", layoutDir, host+"/chat/groupgate:v1.2.3"))
	index, err := readLayout(layoutDir)
	if err != nil {
		t.Fatal(err)
	}
	if want := host + "/chat/groupgate@" + digestOf(t, index); pushed != want {
		t.Errorf("pushed %q, want %q", pushed, want)
	}
	ref, err := name.ParseReference(host + "/chat/groupgate:v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	remoteIndex, err := remote.Index(ref)
	if err != nil {
		t.Fatal(err)
	}
	if digestOf(t, remoteIndex) != digestOf(t, index) {
		t.Errorf("the registry has %s, want %s", digestOf(t, remoteIndex), digestOf(t, index))
	}
}

func TestWrongArgumentsAreExplained(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	occupied := t.TempDir()
	if err := os.WriteFile(filepath.Join(occupied, "thesis.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for says, args := range map[string][]string{
		"usage: image build|push|unpack|licences": {},
		`unknown command "make"`:                  {"make"},
		`SOURCE_DATE_EPOCH is "yesterday"`:        {"build"},
		`unknown argument "x"`:                    {"build", "x"},
		"push wants the name of an image":         {"push"},
		"say for example registry.example.com/":   {"push", "groupgate:latest"},
		"could not parse reference":               {"push", "registry.example.com/Group Gate"},
		"is no OCI layout":                        {"push", "-layout", occupied, "registry.example.com/groupgate"},
		"unpack wants the folder to unpack into":  {"unpack"},
	} {
		if err := run(t.Context(), io.Discard, args); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("image %v: %v; want %q", args, err, says)
		}
	}
	t.Setenv("SOURCE_DATE_EPOCH", "")
	for says, args := range map[string][]string{
		`platform "darwin/arm64"`: {"build", "-platforms", "darwin/arm64"},
	} {
		if err := run(t.Context(), io.Discard, args); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("image %v: %v; want %q", args, err, says)
		}
	}
	err := refuseToReplace(occupied)
	if err == nil || !strings.Contains(err.Error(), "something else than an OCI layout") {
		t.Errorf("a build into %s: %v; it would delete thesis.txt", occupied, err)
	}
}

// archive is a tar archive in which every regular file holds its name.
func archive(t *testing.T, entries ...tar.Header) []byte {
	t.Helper()
	var content bytes.Buffer
	w := tar.NewWriter(&content)
	for _, entry := range entries {
		entry.Mode = 0o755
		if entry.Typeflag == tar.TypeReg {
			entry.Size = int64(len(entry.Name))
		}
		if err := w.WriteHeader(&entry); err != nil {
			t.Fatal(err)
		}
		if entry.Typeflag == tar.TypeReg {
			if _, err := io.WriteString(w, entry.Name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return content.Bytes()
}

func regular(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name} }

func link(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}
}

func TestLaterLayersDeleteWhatEarlierOnesHave(t *testing.T) {
	for name, tc := range map[string]struct {
		layers [][]tar.Header
		want   []string
	}{
		"a whiteout": {
			layers: [][]tar.Header{{regular("a/one"), regular("a/two")}, {regular("a/.wh.one")}},
			want:   []string{"a/two"},
		},
		"an opaque folder": {
			layers: [][]tar.Header{{regular("a/one")}, {regular("a/.wh..wh..opq"), regular("a/two")}},
			want:   []string{"a/two"},
		},
		"links that point inside": {
			layers: [][]tar.Header{{regular("a/one"), link("b", "a")}}, want: []string{"a/one", "b"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var layers []v1.Layer
			for _, entries := range tc.layers {
				content := archive(t, entries...)
				layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
					return io.NopCloser(bytes.NewReader(content)), nil
				})
				if err != nil {
					t.Fatal(err)
				}
				layers = append(layers, layer)
			}
			image, err := mutate.AppendLayers(empty.Image, layers...)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if err := unpackImage(image, dir); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, filesBelow(t, filepath.Join(dir, "rootfs"))); diff != "" {
				t.Errorf("files (-want,+got)\n%s", diff)
			}
		})
	}
}

// Layers are others' input: whatever they name, nothing outside of the folder is written.
func TestUnpackingStaysInTheFolder(t *testing.T) {
	for name, entries := range map[string][]tar.Header{
		"a name with dots":                      {regular("../../escaped")},
		"an absolute name":                      {regular("/../escaped")},
		"below a link that points outside":      {link("a", "../.."), regular("a/escaped")},
		"below a link to an absolute path":      {link("a", "/tmp"), regular("a/escaped")},
		"over a link that points outside":       {link("escaped", "../escaped"), regular("escaped")},
		"a hard link to a file that is outside": {{Typeflag: tar.TypeLink, Name: "b", Linkname: "../secret"}},
		"a device":                              {{Typeflag: tar.TypeChar, Name: "null"}},
	} {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			if err := os.WriteFile(filepath.Join(top, "secret"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Join(top, "image", "rootfs"), 0o755); err != nil {
				t.Fatal(err)
			}
			root, err := os.OpenRoot(filepath.Join(top, "image", "rootfs"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = root.Close() }()
			err = untar(root, tar.NewReader(bytes.NewReader(archive(t, entries...))))
			if contained := strings.Contains(name, "name"); (err == nil) != contained {
				t.Errorf("untar: %v", err)
			}
			for _, found := range filesBelow(t, top) {
				if found != "secret" && !strings.HasPrefix(found, "image/rootfs/") {
					t.Errorf("%s was written", found)
				}
			}
		})
	}
}

// filesBelow are the files and links below dir, sorted.
func filesBelow(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		all = append(all, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// The Dockerfile makes the same binary and runs it the same way.
func TestDockerfileAgrees(t *testing.T) {
	dockerfile, err := os.ReadFile(filepath.Join(source, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile("image.go")
	if err != nil {
		t.Fatal(err)
	}
	flags := regexp.MustCompile(`-trimpath|-buildvcs=false|-s -w|-X main.version=|-X main.revision=|callback\.pgo|CGO_ENABLED=0`)
	found := func(text []byte) []string {
		all := map[string]bool{}
		for _, flag := range flags.FindAllString(string(text), -1) {
			all[flag] = true
		}
		return slices.Sorted(maps.Keys(all))
	}
	if diff := cmp.Diff(found(code), found(dockerfile)); diff != "" || len(found(code)) != 7 {
		t.Errorf("flags of go build (-hack/image,+Dockerfile)\n%s", diff)
	}
	config := (&recipe{}).config(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}).Config
	for _, line := range []string{
		"USER " + config.User, `ENTRYPOINT ["` + config.Entrypoint[0] + `"]`, `CMD ["` + config.Cmd[0] + `"]`,
	} {
		if !strings.Contains(string(dockerfile), "\n"+line+"\n") {
			t.Errorf("the Dockerfile does not say %s", line)
		}
	}
}
