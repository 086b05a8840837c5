package pages_test

import (
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/pages"
)

// A translation has the sections of its original, with the same commands, links and pictures. In each section a comment
// <!-- en: STAMP --> says which text was translated: whoever edits the original is told here, and the one who has
// translated the edit writes the new stamp.
func TestTranslationsAreInStep(t *testing.T) {
	_, all := readAll(t)
	byPath := map[string]*pages.Page{}
	for _, page := range all {
		byPath[page.Path] = page
	}
	translated := 0
	for _, page := range all {
		name := pages.Original(page.Path)
		if name == "" {
			continue
		}
		translated++
		original := byPath[name]
		if original == nil {
			t.Errorf("%s: there is no %s that it translates", page.Path, name)
			continue
		}
		for _, problem := range outOfStep(byPath, original, page) {
			t.Error(problem)
		}
	}
	if translated < 3 {
		t.Errorf("%d translations: they are not found", translated)
	}
}

// outOfStep says where a translation differs from its original.
func outOfStep(byPath map[string]*pages.Page, original, translation *pages.Page) (problems []string) {
	report := func(heading pages.Heading, problem string) {
		problems = append(problems, translation.Path+": section "+heading.Text+": "+problem)
	}
	want, got := original.Sections(), translation.Sections()
	level := func(s pages.Section) int { return s.Heading.Level }
	if diff := cmp.Diff(transform(want, level), transform(got, level)); diff != "" {
		return []string{
			translation.Path + ": not the headings of " + original.Path + ", by their levels (-want,+got)\n" + diff,
		}
	}
	for i := range want {
		stamp := "en: " + want[i].Stamp()
		if !slices.ContainsFunc(got[i].Comments, func(c pages.Comment) bool { return c.Text == stamp }) {
			report(got[i].Heading, "section "+want[i].Heading.Text+" of "+original.Path+
				" has been edited since it was translated: translate the edit, then write <!-- "+stamp+
				" --> below the heading")
		}
		language := func(b pages.Block) string { return b.Language + "\n" + strings.Join(b.Commands(), "\n") }
		if diff := cmp.Diff(transform(want[i].Blocks, language), transform(got[i].Blocks, language)); diff != "" {
			report(got[i].Heading, "other commands or pictures (-want,+got)\n"+diff)
		}
		wantLinks, gotLinks := targets(byPath, original, want[i]), targets(byPath, translation, got[i])
		if diff := cmp.Diff(wantLinks, gotLinks); diff != "" {
			report(got[i].Heading, "other links (-want,+got)\n"+diff)
		}
	}
	return problems
}

func transform[A, B any](list []A, f func(A) B) (out []B) {
	for _, a := range list {
		out = append(out, f(a))
	}
	return out
}

// targets are where the links of a section lead: to a heading of a translation as to that of its original. A link to
// the same page in the other language is left out.
func targets(byPath map[string]*pages.Page, page *pages.Page, section pages.Section) (sorted []string) {
	for _, link := range section.Links {
		target, err := url.Parse(link.Target)
		if err != nil {
			continue // TestLinksLeadSomewhere reports it
		}
		file, ours := resolve(page.Path, target)
		if !ours {
			sorted = append(sorted, link.Target)
			continue
		}
		if section.Heading.Level == 1 && (pages.Original(file) == page.Path || pages.Original(page.Path) == file) {
			continue
		}
		fragment := target.Fragment
		if original := byPath[pages.Original(file)]; original != nil && byPath[file] != nil {
			for i, heading := range byPath[file].Headings {
				if heading.Anchor == fragment && i < len(original.Headings) {
					fragment = original.Headings[i].Anchor
					break
				}
			}
			file = original.Path
		} else if translation := translationOf(byPath, file); translation != "" && pages.Original(page.Path) != "" {
			file = "the English " + file // instead of which there is a translation
		}
		sorted = append(sorted, path.Clean(file)+"#"+fragment)
	}
	slices.Sort(sorted)
	return sorted
}

func translationOf(byPath map[string]*pages.Page, file string) string {
	for name := range byPath {
		if pages.Original(name) == file {
			return name
		}
	}
	return ""
}

func TestTranslationOutOfStep(t *testing.T) {
	const original = "# A\n\nText with a [link](b.md#x).\n\n```sh\nrun this   # why\n```\n\n## C\n\nMore.\n"
	page := func(name, text string) *pages.Page {
		p, err := pages.Parse(name, text)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	english := page("docs/a.md", original)
	stamp := func(i int) string { return "<!-- en: " + english.Sections()[i].Stamp() + " -->\n" }
	translated := "# 甲\n" + stamp(0) + "\n有[链接](../b.md#x)。\n\n```sh\nrun this   # 原因\n```\n\n## 丙\n" + stamp(1) +
		"\n更多。\n"
	for name, tc := range map[string]struct {
		original, translation, want string
	}{
		"in step":               {original, translated, ""},
		"wrapped otherwise":     {strings.Replace(original, "with a", "with\na", 1), translated, ""},
		"edited":                {strings.Replace(original, "More", "Most", 1), translated, "has been edited"},
		"a section more":        {original + "\n## D\n", translated, "not the headings"},
		"a section fewer":       {original, translated[:strings.Index(translated, "## ")], "not the headings"},
		"another level":         {original, strings.Replace(translated, "## ", "### ", 1), "not the headings"},
		"another command":       {original, strings.Replace(translated, "run this", "run that", 1), "other commands"},
		"another link":          {original, strings.Replace(translated, "b.md#x", "b.md#y", 1), "other links"},
		"a link fewer":          {original, strings.Replace(translated, "[链接](../b.md#x)", "链接", 1), "other links"},
		"no stamp":              {original, strings.Replace(translated, stamp(1), "", 1), "has been edited"},
		"a block in a language": {original, strings.Replace(translated, "```sh", "```text", 1), "other commands"},
	} {
		t.Run(name, func(t *testing.T) {
			english, chinese := page("docs/a.md", tc.original), page("docs/zh-CN/a.md", tc.translation)
			byPath := map[string]*pages.Page{english.Path: english, chinese.Path: chinese}
			problems := strings.Join(outOfStep(byPath, english, chinese), "\n")
			if (problems == "") != (tc.want == "") || !strings.Contains(problems, tc.want) {
				t.Errorf("problems %q, want %q", problems, tc.want)
			}
		})
	}
}
