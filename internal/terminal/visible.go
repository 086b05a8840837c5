// Package terminal makes the texts of others safe to print.
package terminal

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Visible is text without what a terminal would obey or hide, except for the runes to keep: ids of groups and accounts,
// and many messages, are written by others. What it replaces is escaped as in Go.
func Visible(text string, keep ...rune) string {
	text = strings.ToValidUTF8(text, string(utf8.RuneError))
	hidden := func(r rune) bool { return !unicode.IsPrint(r) && !slices.Contains(keep, r) }
	if strings.IndexFunc(text, hidden) < 0 {
		return text
	}
	var escaped strings.Builder
	for _, r := range text {
		if hidden(r) {
			escaped.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		} else {
			escaped.WriteRune(r)
		}
	}
	return escaped.String()
}
