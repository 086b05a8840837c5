package page

import (
	"html/template"

	"github.com/groupgate/groupgate/internal/terminal"
)

// part is what a part of a page sees: . at its top, $ anywhere in it.
type part struct {
	*visit

	Data any
}

// With is what a part of a page that is a template of its own shows.
func (v *visit) With(data any) part { return part{v, data} }

// Visible is a text of a person, in which every character can be seen.
func (v *visit) Visible(text string) string { return terminal.Visible(text) }

// Recorded is a text as an object or the API server has it. It is English.
func (v *visit) Recorded(text string) template.HTML {
	return template.HTML(`<span class="detail" lang="en">` + //nolint:gosec // escaped
		template.HTMLEscapeString(terminal.Visible(text)) + `</span>`)
}
