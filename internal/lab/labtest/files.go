package labtest

import (
	"os"
	"path/filepath"
	"testing"
)

// WriteFiles writes files, by their names, into a folder that exists, and makes the folders below it that they need.
func WriteFiles[T string | []byte](t *testing.T, dir string, files map[string]T) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
