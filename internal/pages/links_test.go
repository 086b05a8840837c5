package pages_test

import (
	"cmp"
	"io/fs"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// onGitHub is where the files of the main branch are shown.
const onGitHub = "https://github.com/groupgate/groupgate/"

// Every link to a file of the project leads to it, and to a heading of it. Links to other hosts are counted.
func TestLinksLeadSomewhere(t *testing.T) {
	tree, all := readAll(t)
	anchors := map[string]map[string]bool{}
	for _, page := range all {
		anchors[page.Path] = map[string]bool{}
		for _, heading := range page.Headings {
			anchors[page.Path][heading.Anchor] = true
		}
	}
	here, elsewhere := 0, map[string]int{}
	for _, page := range all {
		for _, link := range page.Links {
			target, err := url.Parse(link.Target)
			if err != nil {
				t.Errorf("%s:%d: %v", page.Path, link.Line, err)
				continue
			}
			file, ours := resolve(page.Path, target)
			if !ours {
				elsewhere[target.Scheme+"://"+target.Host]++
				continue
			}
			here++
			switch _, err := fs.Stat(tree, file); {
			case err != nil:
				t.Errorf("%s:%d: there is no %s", page.Path, link.Line, file)
			case target.Fragment == "" || anchors[file] == nil && path.Ext(file) != ".md":
			case !anchors[file][target.Fragment]:
				t.Errorf("%s:%d: %s has no heading %q", page.Path, link.Line, file, target.Fragment)
			}
		}
	}
	outside := 0
	for _, count := range elsewhere {
		outside += count
	}
	t.Logf("%d pages, %d links to files and headings, %d to %d other hosts", len(all), here, outside, len(elsewhere))
	if here < 100 {
		t.Errorf("%d links: the pages are not read", here)
	}
}

// What the chart, the alerts and the binary print leads somewhere, too.
func TestLinksOutsideOfPagesLeadSomewhere(t *testing.T) {
	tree, all := readAll(t)
	anchors := map[string]bool{}
	for _, page := range all {
		for _, heading := range page.Headings {
			anchors[page.Path+"#"+heading.Anchor] = true
		}
	}
	link := regexp.MustCompile(regexp.QuoteMeta(onGitHub[:len(onGitHub)-1]) + `(?:/blob/main/([\w./-]+\.md))?#([a-z][\w-]*)`)
	links := 0
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (name == "bin" || name == "dist" || name == ".git"):
			return fs.SkipDir
		case !slices.Contains([]string{".go", ".txt", ".yaml", ".json", ".sh", ".tpl"}, path.Ext(name)):
			return nil
		}
		text, err := fs.ReadFile(tree, name)
		for _, match := range link.FindAllStringSubmatch(string(text), -1) {
			links++
			if page := cmp.Or(match[1], "README.md"); !anchors[page+"#"+match[2]] {
				t.Errorf("%s: %s has no heading %q", name, page, match[2])
			}
		}
		return err
	})
	if err != nil || links < 20 {
		t.Errorf("%d links: %v", links, err)
	}
}

// resolve finds the file that a link on a page leads to, if it is one of the project's.
func resolve(from string, target *url.URL) (file string, ours bool) {
	address := target.Scheme + "://" + target.Host + target.Path
	for _, view := range []string{"blob/main/", "tree/main/", "raw/main/"} {
		if file, ok := strings.CutPrefix(address, onGitHub+view); ok {
			return file, true
		}
	}
	switch {
	case target.Scheme != "" || target.Host != "":
		return "", false
	case target.Path == "":
		return from, true
	}
	return path.Join(path.Dir(from), target.Path), true
}
