package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What the page of GitOps shows is what hack/gitops tests.
func TestGitOpsPageShowsTheShippedFiles(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("docs", "gitops.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"argocd/health.lua", "argocd/application.yaml", "flux/chat.yaml"} {
		file, err := os.ReadFile(filepath.Join("config", "gitops", filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		language := map[string]string{".lua": "lua", ".yaml": "yaml"}[filepath.Ext(name)]
		if !strings.Contains(string(page), "```"+language+"\n"+string(file)+"```\n") {
			t.Errorf("docs/gitops.md does not show config/gitops/%s as it is", name)
		}
	}
}
