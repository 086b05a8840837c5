package page

import (
	"slices"
	"strings"

	"golang.org/x/text/language"

	"github.com/groupgate/groupgate/internal/terminal"
)

// saidElsewhere are sentences of package explain that pages show.
var saidElsewhere = []string{
	invalidPolicy, say("join.allow does not name the account"), say("it has no join.allow"),
	say("its groupTypes do not contain this type"), say("its join.triggers do not contain this trigger"),
	say("its mode is Audit"), say("pruning of the IMApp is Suspended"),
	say("no policy with join.evict governs the group"),
}

// Said is what another package says, in the language of the visit if it is one of the known sentences. What follows a
// colon is data.
func (v *visit) Said(text string) string {
	if slices.Contains(saidElsewhere, text) {
		return v.T(text)
	}
	return terminal.Visible(text)
}

// Because joins what explain says.
func (v *visit) Because(texts []string) string {
	said := make([]string, len(texts))
	for i, text := range texts {
		said[i] = v.Said(text)
	}
	return strings.Join(said, v.T("; "))
}

// Number is a number with the separators of the language.
func (v *visit) Number(n any) string { return v.printer.Sprintf("%d", n) }

// Languages are those of the page.
func (v *visit) Languages() []language.Tag { return v.server.words.tags }
