package page

import (
	"fmt"
	"html/template"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Account is the id of an account or a group, of which every character can be told from others. Those that cannot be
// seen, or that reorder the text, are shown as their number; those that look like others, beside their number:
//   - letters of another script than that of most letters of the id, except Latin beside Chinese, Japanese or Korean
//   - all letters of an id that has only Cyrillic or Greek letters which look like Latin ones
//   - forms of compatibility (fullwidth, mathematical, superscript), and digits that are not 0 to 9
//   - blanks at an end, or beside a blank
//
// Nothing tells apart what looks alike within one script, such as l and I, or rn and m.
func (v *visit) Account(id string) template.HTML {
	var shown strings.Builder
	shown.WriteString(`<bdi class="id">`)
	if id == "" {
		shown.WriteString("<mark>" + template.HTMLEscapeString(v.T("(empty)")) + "</mark>")
	}
	main, imitates := scriptOf(id), imitatesLatin(id)
	for i, r := range id {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(id[i:], string(utf8.RuneError)):
			fmt.Fprintf(&shown, `<mark>\x%02X</mark>`, id[i]) // not UTF-8
		case r == ' ' && (i == 0 || i == len(id)-1 || id[i-1] == ' ' || id[i+1] == ' '):
			shown.WriteString("<mark>U+0020</mark>")
		case unseen(r):
			fmt.Fprintf(&shown, "<mark>%U</mark>", r)
		case foreign(r, main) || imitates && unicode.IsLetter(r):
			fmt.Fprintf(&shown, "<mark>%s<small> %U</small></mark>", template.HTMLEscapeString(string(r)), r)
		default:
			shown.WriteString(template.HTMLEscapeString(string(r)))
		}
	}
	shown.WriteString("</bdi>")
	return template.HTML(shown.String()) //nolint:gosec // every character of the id is escaped
}

// unseen reports whether a character leaves no mark of its own: controls, blanks other than the space, what is joined
// to the character before it, and letters without a shape.
func unseen(r rune) bool {
	return !unicode.IsPrint(r) || unicode.In(r, unicode.Inherited, unicode.Other_Default_Ignorable_Code_Point) ||
		r == '\u2800' // a pattern of braille without dots
}

// scripts are those that are told apart. The first is that of Latin letters, and of those that stand beside them in ids
// and look like none of them.
var scripts = [][]*unicode.RangeTable{
	{unicode.Latin, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Bopomofo},
	{unicode.Cyrillic},
	{unicode.Greek},
}

// others is the place after those in scripts; within it, letters are told apart no further.
var others = len(scripts)

// script is the place in scripts of that of a letter, -1 for any other character.
func script(r rune) int {
	if !unicode.IsLetter(r) {
		return -1
	}
	for i, tables := range scripts {
		if unicode.In(r, tables...) {
			return i
		}
	}
	return others
}

// scriptOf is the script of most letters of an id; the first of scripts if there are as many of another.
func scriptOf(id string) int {
	letters := make([]int, others+1)
	for _, r := range id {
		if s := script(r); s >= 0 {
			letters[s]++
		}
	}
	most := 0
	for s, n := range letters {
		if n > letters[most] {
			most = s
		}
	}
	return most
}

// foreign reports whether a character looks like one that belongs into an id of that script, and is another.
func foreign(r rune, main int) bool {
	if s := script(r); s >= 0 && s != main {
		return true
	}
	form := string(r)
	return r > unicode.MaxASCII && (unicode.IsDigit(r) || norm.NFKC.String(form) != norm.NFC.String(form))
}

// likeLatin are the Cyrillic and Greek letters that look like Latin ones.
const likeLatin = "АВЕЅІЈКМНОРСТУХԌԚԜаеѕіјорсухһԁԛԝѡӏ" + "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧανορυχιγ"

// imitatesLatin reports whether an id looks as if its letters were Latin, none of which is.
func imitatesLatin(id string) bool {
	found := false
	for _, r := range id {
		if !unicode.IsLetter(r) {
			continue
		}
		if !strings.ContainsRune(likeLatin, r) {
			return false
		}
		found = true
	}
	return found
}
