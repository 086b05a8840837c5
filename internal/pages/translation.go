package pages

import (
	"crypto/sha256"
	"fmt"
	"path"
	"regexp"
	"strings"
)

// Original is the path of the page that a page translates, empty if it translates none.
func Original(translation string) string {
	if original, ok := strings.CutSuffix(translation, ".zh-CN.md"); ok {
		return original + ".md"
	}
	if name, ok := strings.CutPrefix(translation, "docs/zh-CN/"); ok {
		return path.Join("docs", name)
	}
	return ""
}

// Section is a heading with what follows it, up to the next one.
type Section struct {
	Heading  Heading
	Words    []string
	Links    []Link
	Blocks   []Block
	Comments []Comment
}

// Sections splits a page. What stands before the first heading is left out.
func (p *Page) Sections() (sections []Section) {
	for i, heading := range p.Headings {
		end := len(p.Lines) + 1
		if i+1 < len(p.Headings) {
			end = p.Headings[i+1].Line
		}
		s := Section{Heading: heading, Words: strings.Fields(strings.Join(p.Lines[heading.Line-1:end-1], "\n"))}
		inside := func(line int) bool { return heading.Line <= line && line < end }
		for _, link := range p.Links {
			if inside(link.Line) {
				s.Links = append(s.Links, link)
			}
		}
		for _, block := range p.Blocks {
			if inside(block.Line) {
				s.Blocks = append(s.Blocks, block)
			}
		}
		for _, comment := range p.Comments {
			if inside(comment.Line) {
				s.Comments = append(s.Comments, comment)
			}
		}
		sections = append(sections, s)
	}
	return sections
}

// Stamp changes with the text of a section, and not if that is wrapped otherwise.
func (s Section) Stamp() string {
	text := strings.Join(s.Words, " ")
	for _, block := range s.Blocks {
		text += "\n" + block.Text()
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(text)))[:8]
}

// shellComment is a comment of a shell or of YAML.
var shellComment = regexp.MustCompile(`(^|\s+)# .*$`)

// Commands are the lines of a block without what a translation may translate: comments of sh and YAML, texts of
// diagrams. A diagram that cannot be parsed is returned as it is.
func (b Block) Commands() (lines []string) {
	switch b.Language {
	case "mermaid":
		if shape, err := Mermaid(b.Lines); err == nil {
			return shape
		}
	case "sh", "yaml":
		for _, line := range b.Lines {
			lines = append(lines, shellComment.ReplaceAllString(line, ""))
		}
		return lines
	}
	return b.Lines
}
