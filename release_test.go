package main

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

func read(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func workflows(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob(".github/workflows/*.yaml")
	if err != nil || len(names) < 2 {
		t.Fatalf("workflows %v: %v", names, err)
	}
	all := map[string]string{}
	for _, name := range names {
		all[name] = read(t, name)
	}
	return all
}

// A tag of another repository can be moved to other code, which would then run with the rights of a release.
func TestActionsArePinnedByCommit(t *testing.T) {
	uses := regexp.MustCompile(`(?m)^\s*(?:- )?uses: *(.*)$`)
	pinned := regexp.MustCompile(`^[\w-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
	for name, text := range workflows(t) {
		for _, action := range uses.FindAllStringSubmatch(text, -1) {
			if !pinned.MatchString(action[1]) {
				t.Errorf("%s: %q: want owner/name@COMMIT # vX.Y.Z", name, action[1])
			}
		}
		for _, tool := range regexp.MustCompile(`go (?:run|install) (\S+)`).FindAllStringSubmatch(text, -1) {
			if !regexp.MustCompile(`@v\d+\.\d+\.\d+$`).MatchString(tool[1]) {
				t.Errorf("%s: %q: want a version", name, tool[1])
			}
		}
	}
}

// A workflow that runs at a release only fails at a release only.
func TestWorkflowsRunTargetsThatExist(t *testing.T) {
	makefile := read(t, "Makefile")
	found := 0
	for name, text := range workflows(t) {
		for _, command := range regexp.MustCompile(`\bmake ((?:[a-z][a-z-]* ?)+)`).FindAllStringSubmatch(text, -1) {
			for target := range strings.FieldsSeq(command[1]) {
				if found++; !strings.Contains(makefile, "\n"+target+":") {
					t.Errorf("%s: make %s: there is no such target", name, target)
				}
			}
		}
	}
	if found < 5 {
		t.Errorf("%d targets: the workflows are not read", found)
	}
	for _, file := range regexp.MustCompile(`dist/[\w.*-]+`).FindAllString(read(t, ".github/workflows/release.yaml"), -1) {
		stem, _, _ := strings.Cut(path.Base(file), "*")
		made := read(t, "hack/release.sh") + read(t, "hack/plugin.sh") + read(t, ".github/workflows/release.yaml")
		makes := strings.Contains(made, "dist/"+stem) || strings.Contains(made, "$DIST/"+stem) || stem == "groupgate-"
		if !makes {
			t.Errorf("nothing makes %s", file)
		}
	}
}

// What is public cannot be taken back: everything that may fail without a registry comes before the first push.
func TestReleasePushesWhatIsComplete(t *testing.T) {
	text := read(t, ".github/workflows/release.yaml")
	_, steps, _ := strings.Cut(text, "\n    steps:\n")
	before, after, _ := strings.Cut(steps, "make image-push")
	for _, command := range []string{".ci/run", "make release", "$SYFT scan", "$COSIGN version"} {
		if !strings.Contains(before, command) {
			t.Errorf("%s does not run before the image is pushed", command)
		}
	}
	for _, command := range []string{"$COSIGN sign ", "$COSIGN attest ", "$COSIGN sign-blob ", "make chart-push"} {
		signed, _, _ := strings.Cut(after, "gh release create")
		if !strings.Contains(signed, command) {
			t.Errorf("%s does not run between the push and the release", command)
		}
	}
}

func TestDependabotCoversEveryModule(t *testing.T) {
	var config struct {
		Updates []struct {
			Ecosystem   string `json:"package-ecosystem"`
			Directory   string
			Directories []string
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, ".github/dependabot.yml")), &config); err != nil {
		t.Fatal(err)
	}
	got, ecosystems := []string{}, []string{}
	for _, update := range config.Updates {
		ecosystems = append(ecosystems, update.Ecosystem)
		if update.Ecosystem == "gomod" {
			got = append(got, update.Directories...)
			if update.Directory != "" {
				got = append(got, update.Directory)
			}
		}
	}
	var want []string
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && (name == "bin" || name == ".git" || name == "dist") {
			return filepath.SkipDir
		}
		if err == nil && entry.Name() == "go.mod" {
			want = append(want, path.Join("/", filepath.ToSlash(filepath.Dir(name))))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("modules in .github/dependabot.yml (-want,+got)\n%s", diff)
	}
	for _, ecosystem := range []string{"docker", "github-actions"} {
		if !slices.Contains(ecosystems, ecosystem) {
			t.Errorf(".github/dependabot.yml does not update %s", ecosystem)
		}
	}
}

// Editors complete a sample by the schema that its first line names: that of its kind, or of all if it has several.
func TestSamplesNameTheirSchema(t *testing.T) {
	const modeline = "# yaml-language-server: $schema=" +
		"https://raw.githubusercontent.com/groupgate/groupgate/main/docs/schemas/"
	named := 0
	err := filepath.WalkDir("config/samples", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(name) != ".yaml" || entry.Name() == "kustomization.yaml" {
			return err
		}
		text := read(t, name)
		schemas := map[string]bool{}
		for document := range strings.SplitSeq(text, "\n---\n") {
			var object struct{ APIVersion, Kind string }
			if err := yaml.Unmarshal([]byte(document), &object); err != nil {
				return err
			}
			_, version, ok := strings.Cut(object.APIVersion, "groupgate.io/")
			if ok {
				schemas[strings.ToLower(object.Kind)+"_"+version+".json"] = true
			}
		}
		want := ""
		for schema := range schemas {
			if want = schema; len(schemas) > 1 {
				want = "all.json"
			}
		}
		first, _, _ := strings.Cut(text, "\n")
		got, _ := strings.CutPrefix(first, modeline)
		switch {
		case want == "":
			return nil // a Secret
		case got != want:
			t.Errorf("%s begins with %q, want %s%s", name, first, modeline, want)
		}
		if _, err := os.Stat(filepath.Join("docs", "schemas", got)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		named++
		return nil
	})
	if err != nil || named < 4 {
		t.Errorf("%d samples name a schema: %v", named, err)
	}
}
