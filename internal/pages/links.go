package pages

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

var (
	codeSpan = regexp.MustCompile("``[^`].*?``|`[^`]*`")
	// The text of a link may be wrapped, its target not: [text](target), [text]: target, and HTML attributes.
	inline    = regexp.MustCompile(`\]\(<?([^()\s<>]*(?:\([^()\s]*\)[^()\s<>]*)*)>?(?:\s+"[^"]*")?\)`)
	reference = regexp.MustCompile(`(?m)^ {0,3}\[[^\]]+\]: +<?(\S+?)>?(?: +"[^"]*")?$`)
	attribute = regexp.MustCompile(`<[a-z]+ [^>]*?\b(?:href|src|srcset)="([^"]*)"`)
	autolink  = regexp.MustCompile(`<(https?://[^>\s]+)>`)
)

// links are those outside of code.
func links(lines []string) (found []Link) {
	text := codeSpan.ReplaceAllStringFunc(strings.Join(lines, "\n"), func(code string) string {
		return strings.Map(func(r rune) rune {
			if r == '\n' {
				return r
			}
			return 'x'
		}, code)
	})
	for _, form := range []*regexp.Regexp{inline, reference, attribute, autolink} {
		for _, at := range form.FindAllStringSubmatchIndex(text, -1) {
			line := 1 + strings.Count(text[:at[2]], "\n")
			found = append(found, Link{Line: line, Target: text[at[2]:at[3]]})
		}
	}
	return found
}

// anchors counts how often each anchor of a page was given.
type anchors map[string]int

// of is the next anchor of a heading, by GitHub's rules: the text without markup, in lower case, of which letters,
// digits, marks, hyphens and underscores remain, and blanks become hyphens; one that was given before gets a number.
func (a anchors) of(heading string) string {
	text := regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(heading, "$1")
	anchor := strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-', r == '_', unicode.IsLetter(r), unicode.IsNumber(r), unicode.IsMark(r):
			return unicode.ToLower(r)
		default:
			return -1
		}
	}, strings.ReplaceAll(text, "`", ""))
	times := a[anchor]
	a[anchor]++
	if times == 0 {
		return anchor
	}
	numbered := anchor + "-" + strconv.Itoa(times)
	a[numbered]++
	return numbered
}
