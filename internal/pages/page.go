package pages

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Page is a page of Markdown.
type Page struct {
	// Path is relative to the top folder of the repository, with slashes.
	Path     string
	Headings []Heading
	Links    []Link
	Blocks   []Block
	// Comments are all HTML comments, in the order of the page.
	Comments []Comment
	// Lines are those outside of fenced blocks and comments; the others are empty.
	Lines []string
}

// Heading is a heading with #.
type Heading struct {
	Line, Level int
	// Text is the heading as it is written, Anchor what GitHub calls it in links.
	Text, Anchor string
}

// Link is a link or an image.
type Link struct {
	Line   int
	Target string
}

// Block is a fenced block.
type Block struct {
	// Line is that of the opening fence.
	Line     int
	Language string
	// Lines are without the indentation of the fence.
	Lines []string
	// Comments are those between the text before and the block.
	Comments []Comment
}

// Text is the content of the block.
func (b Block) Text() string { return strings.Join(b.Lines, "\n") + "\n" }

// Comment is an HTML comment.
type Comment struct {
	Line int
	// Text is without the delimiters and the blanks at the ends.
	Text string
}

// All reads every page of a tree, but for those in folders that are built or are not the project's pages.
func All(tree fs.FS) (all []*Page, err error) {
	err = fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{".git", "bin", "dist", "testdata"}, entry.Name()):
			return fs.SkipDir
		case entry.IsDir() || path.Ext(name) != ".md":
			return nil
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		page, err := Parse(name, string(text))
		all = append(all, page)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the pages: %w", err)
	}
	return all, nil
}

var (
	fence   = regexp.MustCompile("^( *)(```+|~~~+) *([^ `]*)[^`]*$")
	heading = regexp.MustCompile(`^(#{1,6}) +(.*?)(?: +#+)?$`)
)

// Parse reads the text of a page. A fence or a comment that does not end is an error.
func Parse(name, text string) (*Page, error) {
	p := &Page{Path: name}
	anchors := anchors{}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	var pending []Comment // comments since the last text
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		p.Lines = append(p.Lines, "")
		if opening := fence.FindStringSubmatch(line); opening != nil {
			block := Block{Line: i + 1, Language: opening[3], Comments: pending}
			pending = nil
			for i++; ; i++ {
				if i == len(lines) {
					return nil, fmt.Errorf("%s:%d: the fenced block does not end", name, block.Line)
				}
				p.Lines = append(p.Lines, "")
				trimmed := strings.TrimSpace(lines[i])
				if strings.HasPrefix(trimmed, opening[2]) && strings.Trim(trimmed, opening[2][:1]) == "" {
					break
				}
				block.Lines = append(block.Lines, unindented(lines[i], len(opening[1])))
			}
			p.Blocks = append(p.Blocks, block)
			continue
		}
		if before, rest, ok := strings.Cut(line, "<!--"); ok && strings.TrimSpace(before) == "" {
			comment := Comment{Line: i + 1}
			for !strings.Contains(rest, "-->") {
				if i++; i == len(lines) {
					return nil, fmt.Errorf("%s:%d: the comment does not end", name, comment.Line)
				}
				p.Lines = append(p.Lines, "")
				rest += "\n" + lines[i]
			}
			inside, after, _ := strings.Cut(rest, "-->")
			if strings.TrimSpace(after) != "" {
				return nil, fmt.Errorf("%s:%d: text after a comment", name, i+1)
			}
			comment.Text = strings.TrimSpace(inside)
			p.Comments, pending = append(p.Comments, comment), append(pending, comment)
			continue
		}
		p.Lines[i] = line
		if strings.TrimSpace(line) != "" {
			pending = nil
		}
		if h := heading.FindStringSubmatch(line); h != nil {
			p.Headings = append(p.Headings, Heading{
				Line: i + 1, Level: len(h[1]), Text: h[2], Anchor: anchors.of(h[2]),
			})
		}
	}
	p.Links = links(p.Lines)
	return p, nil
}

func unindented(line string, most int) string {
	for most > 0 && strings.HasPrefix(line, " ") {
		line, most = line[1:], most-1
	}
	return line
}
