package node

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const noCapabilities = "0000000000000000"

// probe runs a program in a container and returns what it found there.
func probe(t *testing.T, limit func(*container)) map[string]string {
	t.Helper()
	if err := Check(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir := t.TempDir()
	root, mounted, scratch := filepath.Join(dir, "root"), filepath.Join(dir, "mounted"), filepath.Join(dir, "scratch")
	build := exec.Command("go", "build", "-o", filepath.Join(root, "probe"), "./testdata/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := writeFiles(mounted, map[string][]byte{"secret": []byte("s3cret")}); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{scratch, root} { // which only the limits keep from writing to
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(folder, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	c := &container{
		Hostname: "probe-1", Root: root, WorkDir: "/", Args: []string{"/probe"}, Env: []string{"MESSAGE=hello"},
		UID: 65532, GID: 65532,
		Mounts: []mount{{mounted, "/mounted", true}, {scratch, "/scratch", false}},
	}
	limit(c)
	cmd, err := c.command()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.Bytes())
	}
	t.Logf("%s", stderr.Bytes()) // what could not be had
	var report map[string]string
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return report
}

func TestContainerHasTheLimitsOfItsSecurityContext(t *testing.T) {
	got := probe(t, func(c *container) { c.ReadOnlyRoot, c.DropCapabilities, c.NoNewPrivileges = true, true, true })
	want := map[string]string{
		"hostname": "probe-1", "MESSAGE": "hello", "pid": "1", "sees the machine's files": "no",
		"write /file": "read-only file system", "write /mounted/file": "read-only file system",
		"write /scratch/file": "allowed", "secret": "s3cret",
		"CapEff": noCapabilities, "CapBnd": noCapabilities, "NoNewPrivs": "1",
		"Uid": "65532 65532 65532 65532", "Gid": "65532 65532 65532 65532", "Groups": got["Groups"],
	}
	if os.Geteuid() == 0 {
		want["Groups"] = "" // a user namespace cannot drop them
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("in the container (-want,+got)\n%s", diff)
	}
}

// A manifest without limits must not pass a test by limits that the node adds.
func TestContainerHasNoLimitsThatNobodyAskedFor(t *testing.T) {
	got := probe(t, func(*container) {})
	if got["write /file"] != "allowed" || got["NoNewPrivs"] != "0" || got["CapBnd"] == noCapabilities {
		t.Errorf("in the container: %v", got)
	}
	if got["CapEff"] != noCapabilities || got["Uid"] != "65532 65532 65532 65532" {
		t.Errorf("uid 65532 has rights of root: %v", got)
	}
}
