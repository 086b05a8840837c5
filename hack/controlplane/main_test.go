package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// folder makes a directory that holds the named files.
func folder(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestProvideUsesTheNamedDirectory(t *testing.T) {
	want := folder(t, binaries...)
	out := filepath.Join(t.TempDir(), "k8s")
	got, err := provide(t.Context(), out, want, binaries)
	if err != nil || got != want {
		t.Fatalf("provide() = %q, %v; want %q", got, err, want)
	}
	if _, err := os.Stat(out); !os.IsNotExist(err) {
		t.Errorf("provide() made %s although %s names a complete directory", out, assetsVariable)
	}
}

func TestProvideRefusesAnIncompleteDirectory(t *testing.T) {
	_, err := provide(t.Context(), t.TempDir(), folder(t, "kube-apiserver", "etcd"), binaries)
	if err == nil || !strings.Contains(err.Error(), "has no kubectl") {
		t.Fatalf("provide() = %v; want an error that names what is missing", err)
	}
}

func TestProvideTrustsOnlyAMatchingStamp(t *testing.T) {
	out := folder(t, binaries...)
	hash, err := sourceHash(".")
	if err != nil {
		t.Fatal(err)
	}
	stamp := filepath.Join(out, ".stamp")
	if err := os.WriteFile(stamp, []byte(hash+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := provide(t.Context(), out, "", binaries); err != nil || got != out {
		t.Fatalf("provide() with a matching stamp = %q, %v; want %q without a build", got, err, out)
	}

	if err := os.WriteFile(stamp, []byte("of other sources\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", "") // a build cannot succeed, and must be tried
	if got, err := provide(t.Context(), out, "", binaries); err == nil {
		t.Fatalf("provide() with another stamp = %q; want a build", got)
	}
	if readStamp(stamp) != "" {
		t.Error("a failed build left a stamp behind")
	}
}

func TestSourceHashFollowsWhatIsBuilt(t *testing.T) {
	root := folder(t, "go.mod", "go.sum", "README.md")
	hash := func() string {
		t.Helper()
		h, err := sourceHash(root)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	change := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(root, name), []byte("changed"), 0o644); err != nil {
			t.Fatal(err)
		}
	}

	before := hash()
	change("README.md")
	change("new_test.go")
	if hash() != before {
		t.Error("README.md or new_test.go changed the hash")
	}
	for _, name := range []string{"go.mod", "go.sum", "new.go"} {
		before = hash()
		change(name)
		if hash() == before {
			t.Errorf("%s did not change the hash", name)
		}
	}
}
