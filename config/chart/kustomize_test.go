package chart

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/groupgate/groupgate/internal/lab"
)

// The overlay of the page refers to the repository by URL, which is replaced by this checkout.
func TestTheOverlayOfThePageRenders(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "install.md"))
	if err != nil {
		t.Fatal(err)
	}
	directory := t.TempDir()
	for _, name := range []string{"kustomization.yaml", "games.yaml"} {
		_, rest, found := strings.Cut(string(page), "```yaml\n# "+name+"\n")
		text, _, _ := strings.Cut(rest, "```\n")
		if !found {
			t.Fatalf("the page has no %s", name)
		}
		write(t, filepath.Join(directory, name), local(t, directory, text))
	}
	rendered := build(t, directory)
	for _, want := range []string{
		"- --namespace=chat\n        - --namespace=games", "image: ghcr.io/groupgate/groupgate:v0.1.0",
		"- gate.example.com", "kind: ServiceMonitor", "name: letsencrypt",
	} {
		if !strings.Contains(rendered, want) {
			t.Errorf("%q is not in\n%s", want, rendered)
		}
	}
}

func TestTheOverlayWithThePageRenders(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "page.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "```yaml\n# kustomization.yaml\n")
	overlay, _, _ := strings.Cut(rest, "```\n")
	if !found {
		t.Fatal("the page has no overlay")
	}
	directory := t.TempDir()
	write(t, filepath.Join(directory, "kustomization.yaml"), local(t, directory, overlay))
	rendered := build(t, directory)
	for _, want := range []string{
		"name: GROUPGATE_PUBLIC_URL\n          value: https://page.example.org\n", "value: Asia/Shanghai\n",
		"value: https://page.example.org/oauth2/callback\n", "value: https://login.example.org\n",
	} {
		if strings.Count(rendered, want) != 1 {
			t.Errorf("%q is not once in\n%s", want, rendered)
		}
	}
	for _, left := range []string{"groupgate.example.com", "login.example.com"} {
		if strings.Contains(rendered, left) {
			t.Errorf("%s is left of the example", left)
		}
	}
}

func TestThePatchForPlainHTTPLeavesNoVolume(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "install.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n# patch of config/default\n")
	patch, _, found := strings.Cut(rest, "```\n")
	if !found {
		t.Fatal("the page has no patch")
	}
	directory := t.TempDir()
	write(t, filepath.Join(directory, "kustomization.yaml"), local(t, directory,
		"resources: ['https://github.com/groupgate/groupgate//config/default?ref=v0.1.0']\n"+
			"patches:\n- target: {kind: Deployment}\n  patch: |-\n    "+strings.ReplaceAll(patch, "\n", "\n    ")))
	rendered := build(t, directory)
	if strings.Contains(rendered, "callback-tls") || !strings.Contains(rendered, "- --callback-insecure-http\n") {
		t.Errorf("%s", rendered)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// local replaces the URLs of folders of the repository by their paths, as kustomizations in directory need them.
func local(t *testing.T, directory, text string) string {
	t.Helper()
	root, err := filepath.Rel(directory, lab.Root())
	if err != nil {
		t.Fatal(err)
	}
	url := regexp.MustCompile(`https://github\.com/groupgate/groupgate//(\S+?)\?ref=v[0-9.]+`)
	return url.ReplaceAllString(text, root+"/$1")
}

func build(t *testing.T, directory string) string {
	t.Helper()
	out, err := cluster.Kubectl(t.Context(), "", "kustomize", directory)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
