package pages_test

import (
	"io/fs"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/lab"
	"github.com/groupgate/groupgate/internal/pages"
)

func readAll(t *testing.T) (tree fs.FS, all []*pages.Page) {
	t.Helper()
	tree = os.DirFS(lab.Root())
	all, err := pages.All(tree)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("%d pages: they are not found", len(all))
	}
	return tree, all
}

func parse(t *testing.T, text string) *pages.Page {
	t.Helper()
	page, err := pages.Parse("page.md", text)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// The anchors are those that github.com gives to these headings.
func TestAnchorsAreGitHubs(t *testing.T) {
	page := parse(t, `# Who may join?
## Why may this account (not) join?
## `+"`groupgate test`"+`, in a pipeline
### A [link](https://example.com) in it
## Notes
## Notes
## Notes-1
## 8. With the vendor
## 谁可以加入群组？
## 第 1 步：安装 Groupgate
## snake_case & more
`)
	var got []string
	for _, heading := range page.Headings {
		got = append(got, heading.Anchor)
	}
	want := []string{
		"who-may-join", "why-may-this-account-not-join", "groupgate-test-in-a-pipeline", "a-link-in-it", "notes",
		"notes-1", "notes-1-1", "8-with-the-vendor", "谁可以加入群组", "第-1-步安装-groupgate", "snake_case--more",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
}

func TestLinksAreFoundOutsideOfCode(t *testing.T) {
	page := parse(t, "A [link](a.md), one [that is\nwrapped](b.md#x \"title\"), ![an image](c.png), "+
		"[brackets](d_(e).md).\n"+
		"`[code](no.md)` and <https://example.com/f>, <a href=\"g.md\">\n"+
		"```text\n[code](no.md)\n```\n  ```sh\n  [code](no.md)\n  ```\n<!-- [comment](no.md) -->\n[ref]: h.md\n"+
		"[`code`](i.md) [a](<j.md>)\n")
	want := []pages.Link{
		{Line: 1, Target: "a.md"}, {Line: 2, Target: "b.md#x"}, {Line: 2, Target: "c.png"},
		{Line: 2, Target: "d_(e).md"},
		{Line: 12, Target: "i.md"}, {Line: 12, Target: "j.md"}, {Line: 11, Target: "h.md"}, {Line: 3, Target: "g.md"},
		{Line: 3, Target: "https://example.com/f"},
	}
	if diff := cmp.Diff(want, page.Links); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
}

func TestBlocksAndComments(t *testing.T) {
	page := parse(t, "text\n\n<!-- one -->\n<!-- two\nlines -->\n\n1. item\n\n<!-- three -->\n   ```sh\n   a\n     b\n   ```\n````md\n```\n````\n")
	want := []pages.Block{
		{Line: 10, Language: "sh", Lines: []string{"a", "  b"}, Comments: []pages.Comment{{Line: 9, Text: "three"}}},
		{Line: 14, Language: "md", Lines: []string{"```"}},
	}
	if diff := cmp.Diff(want, page.Blocks); diff != "" {
		t.Errorf("blocks (-want,+got)\n%s", diff)
	}
	comments := []pages.Comment{{Line: 3, Text: "one"}, {Line: 4, Text: "two\nlines"}, {Line: 9, Text: "three"}}
	if diff := cmp.Diff(comments, page.Comments); diff != "" {
		t.Errorf("comments (-want,+got)\n%s", diff)
	}
	for name, text := range map[string]string{"a fence": "```sh\na\n", "a comment": "<!-- a\n"} {
		if _, err := pages.Parse("page.md", text); err == nil {
			t.Errorf("%s that does not end is no error", name)
		}
	}
}
