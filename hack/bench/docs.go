package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/groupgate/groupgate/internal/lab"
)

// The table of docs/performance.md stands between these.
const tableBegin, tableEnd = "<!-- table: begin -->\n", "<!-- table: end -->\n"

const plotLink = "\n![How the cost of a decision and of a build grows](performance.svg)\n"

// writeDocs puts the table and the plot of this run into the docs.
func (r *results) writeDocs(table string) error {
	docs := filepath.Join(lab.Root(), "docs")
	page := filepath.Join(docs, "performance.md")
	text, err := os.ReadFile(page)
	if err != nil {
		return fmt.Errorf("read the page: %w", err)
	}
	if len(r.Curves) > 0 {
		table += plotLink
	}
	changed, err := replaceTable(string(text), table)
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	if err := os.WriteFile(page, []byte(changed), 0o644); err != nil {
		return err
	}
	if len(r.Curves) == 0 {
		return nil
	}
	return os.WriteFile(filepath.Join(docs, "performance.svg"), []byte(plot(r.Curves)), 0o644)
}

func replaceTable(page, table string) (string, error) {
	before, rest, found := strings.Cut(page, tableBegin)
	_, after, closed := strings.Cut(rest, tableEnd)
	if !found || !closed {
		return "", errors.New("the marks of the table are missing")
	}
	return before + tableBegin + "\n" + table + "\n" + tableEnd + after, nil
}
