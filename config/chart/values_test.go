package chart

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/groupgate/groupgate/internal/lab"
)

func TestEveryValueSetIsAcceptedByTheAPIServer(t *testing.T) {
	t.Parallel()
	chart, sets := chart(t), valueSets(t, "values")
	if len(sets) < 24 {
		t.Errorf("%d value sets", len(sets))
	}
	for file, text := range examples(t) {
		sets[file] = text
	}
	installStubs(t)
	schemas, manifests := schemas(t), t.TempDir()
	t.Run("sets", func(t *testing.T) {
		for file := range sets {
			name := strings.TrimSuffix(filepath.Base(file), ".yaml")
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				lint := []string{"lint", "--strict", chart, "--values=" + file, "--kube-version=1.37.0"}
				if out, err := run(t.Context(), helm, lint...); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
				rendered, err := render(t, chart, file)
				if err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(manifests, name+".yaml")
				if err := os.WriteFile(path, []byte(rendered), 0o600); err != nil {
					t.Fatal(err)
				}
				// The definitions are there already: they were applied by the tests.
				if _, err := cluster.Kubectl(t.Context(), rendered, "apply", "--server-side", "--force-conflicts",
					"--dry-run=server", "--validate=strict", "-f", "-"); err != nil {
					t.Error(err)
				}
				score(t, path)
			})
		}
	})
	out, err := run(t.Context(), kubeconform, "-strict", "-summary",
		"-schema-location="+filepath.Join(schemas, "{{.ResourceKind}}-{{.ResourceAPIVersion}}.json"), manifests)
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Log(out)
}

// installStubs creates the namespaces that releases need, and the kinds of other projects.
func installStubs(t *testing.T) {
	t.Helper()
	for _, name := range []string{namespace, "chat", "games"} {
		if _, err := cluster.Kubectl(t.Context(), "", "create", "namespace", name); err != nil {
			t.Fatal(err)
		}
	}
	stubs := []string{"-f", filepath.Join(lab.Root(), "config", "chart", "testdata", "crds")}
	if _, err := cluster.Kubectl(t.Context(), "", append([]string{"apply", "--server-side"}, stubs...)...); err != nil {
		t.Fatal(err)
	}
	wait := append([]string{"wait", "--for=condition=Established", "--timeout=1m"}, stubs...)
	if _, err := cluster.Kubectl(t.Context(), "", wait...); err != nil {
		t.Fatal(err)
	}
}

// accepted are the findings of kube-score that stay, and why.
var accepted = map[string]string{
	"container-resources":                           "a CPU limit makes the start slower, while no policy is in force",
	"container-ephemeral-storage-request-and-limit": "the root is read-only: the manager writes no file",
	"container-security-context-user-group-id":      "the image has 65532; OpenShift assigns another one",
	"container-image-pull-policy":                   "a pod must start without the registry",
	"pod-networkpolicy":                             "a value, since clusters differ in who sends callbacks",
}

func score(t *testing.T, manifests string) {
	t.Helper()
	args := []string{"score", "--output-format=ci", "--kubernetes-version=v1.37", manifests}
	for check := range accepted {
		args = append(args, "--ignore-test="+check)
	}
	out, err := run(t.Context(), kubeScore, args...)
	if err != nil {
		critical := regexp.MustCompile(`(?m)^\[CRITICAL\].*$`).FindAllString(out, -1)
		t.Errorf("%v\n%s", err, strings.Join(critical, "\n"))
	}
	if !strings.Contains(out, "[OK] groupgate-manager/"+namespace+" apps/v1/Deployment") {
		t.Errorf("kube-score has not looked at the Deployment: %s", out)
	}
}

func TestWrongValuesAreRefusedWithASentence(t *testing.T) {
	t.Parallel()
	chart, sets := chart(t), valueSets(t, "wrong")
	if len(sets) < 20 {
		t.Errorf("%d value sets", len(sets))
	}
	for file, sentence := range sets {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			_, err := render(t, chart, file)
			if err == nil {
				t.Fatal("accepted")
			}
			if got := strings.Join(strings.Fields(err.Error()), " "); !strings.Contains(got, sentence) {
				t.Errorf("%s\nis not in\n%s", sentence, got)
			}
		})
	}
}

// An API server that does not know MutatingAdmissionPolicies would refuse the whole release half-way. One that does not
// know constrained impersonation would refuse everything to the page.
func TestWhatNeedsANewerKubernetesIsRefused(t *testing.T) {
	t.Parallel()
	chart, page := chart(t), "--values="+filepath.Join("testdata", "values", "page.yaml")
	for name, tc := range map[string]struct{ values, want string }{
		"decisions": {
			"--set=admission.decisions=true",
			"admission.decisions needs Kubernetes 1.36 or newer, and this is v1.35.2: set it to false",
		},
		"page": {
			page,
			"page.enabled needs the constrained impersonation of Kubernetes 1.36 or newer, and this is v1.35.2: " +
				"set page.readOnly to true",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			template := []string{"template", "groupgate", chart, tc.values, "--kube-version=1.35.2"}
			_, err := run(t.Context(), helm, template...)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v: want %s", err, tc.want)
			}
		})
	}
	if _, err := run(t.Context(), helm, "template", "groupgate", chart, page, "--set=page.readOnly=true",
		"--kube-version=1.35.2"); err != nil {
		t.Error(err)
	}
}

func TestNotesSayWhatToDoNext(t *testing.T) {
	t.Parallel()
	chart := chart(t)
	for set, want := range map[string][]string{
		"defaults": {
			"for the namespace chat.", "create secret tls groupgate-callback-tls -n groupgate-system",
			"inside the cluster only", "-n chat groupgate.io/credentials=true",
			"groupgate check -n chat --url=https://HOST/",
		},
		"cluster-wide":       {"for all namespaces.", "WARNING: the manager may read EVERY Secret of the cluster"},
		"several-namespaces": {"for the namespaces chat, games."},
		"one-replica":        {"WARNING: with one replica no callback is answered while its node fails"},
		"http-route":         {"WARNING: callbacks reach the pods as plain", "https://chat-gate.example.com/callback"},
		"cert-manager":       {"--for=condition=Ready certificate/groupgate-callback"},
		"load-balancer":      {"kubectl get service groupgate-callback -n groupgate-system"},
		"page":               {"create secret generic groupgate-page-proxy", "http://groupgate-page.groupgate-system:"},
		"page-read-only":     {"WARNING: EVERYBODY whom the proxy of the page admits sees all that it shows of chat"},
	} {
		t.Run(set, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			out, err := run(ctx, helm, "install", "groupgate", chart, "--namespace="+namespace, "--dry-run=client",
				"--values="+filepath.Join("testdata", "values", set+".yaml"))
			if err != nil {
				t.Fatal(err)
			}
			_, notes, _ := strings.Cut(out, "\nNOTES:\n")
			for _, text := range want {
				if !strings.Contains(notes, text) {
					t.Errorf("%q is not in\n%s", text, notes)
				}
			}
			warned := slices.Contains([]string{"cluster-wide", "one-replica", "http-route", "page-read-only"}, set)
			if !warned && strings.Contains(notes, "WARNING") {
				t.Errorf("a warning without a reason:\n%s", notes)
			}
		})
	}
}

// examples are the values in the pages, as files by path: YAML blocks that begin with the comment "# values.yaml".
func examples(t *testing.T) map[string]string {
	t.Helper()
	directory, files := t.TempDir(), map[string]string{}
	block := regexp.MustCompile("(?ms)^```yaml\n(# values\\.yaml\n.*?)^```$")
	pages, err := filepath.Glob(filepath.Join("..", "..", "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, filepath.Join("groupgate", "README.md")) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for i, match := range block.FindAllStringSubmatch(string(text), -1) {
			name := strings.TrimSuffix(filepath.Base(page), ".md") + "-" + string(rune('a'+i)) + ".yaml"
			path := filepath.Join(directory, name)
			if err := os.WriteFile(path, []byte(match[1]), 0o600); err != nil {
				t.Fatal(err)
			}
			files[path] = page
		}
	}
	if len(files) < 5 {
		t.Errorf("%d examples: the pages are not read", len(files))
	}
	return files
}
