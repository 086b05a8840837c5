package page

import (
	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"golang.org/x/text/message/catalog"
)

// words are the texts of the page in each of its languages. Their keys are the English texts, about several things
// where there is a number.
type words struct {
	catalog *catalog.Builder
	matcher language.Matcher
	tags    []language.Tag
}

func newWords() *words {
	w := &words{
		catalog: catalog.NewBuilder(catalog.Fallback(language.English)),
		tags:    []language.Tag{language.English, language.SimplifiedChinese},
	}
	w.matcher = language.NewMatcher(w.tags)
	for english, chinese := range chineseWords {
		if err := w.catalog.SetString(language.SimplifiedChinese, english, chinese); err != nil {
			panic(err) //nolint:forbidigo // a text that is compiled into the binary
		}
	}
	for many, one := range singularWords {
		err := w.catalog.Set(language.English, many, plural.Selectf(1, "%d", plural.One, one, plural.Other, many))
		if err != nil {
			panic(err) //nolint:forbidigo // a text that is compiled into the binary
		}
	}
	return w
}

// match is the first of the preferences, each a list as in Accept-Language, that names a language of the page.
func (w *words) match(preferences ...string) language.Tag {
	_, i := language.MatchStrings(w.matcher, preferences...)
	return w.tags[i]
}

func (w *words) printer(tag language.Tag) *message.Printer {
	return message.NewPrinter(tag, message.Catalog(w.catalog))
}

// say marks an English text that is given to T or HTML elsewhere, for the test that looks for texts without a
// translation.
func say(text string) string { return text }

// singularWords are English texts about one thing, by those about several. The number is the first argument.
var singularWords = map[string]string{
	"%d minutes ago": "%d minute ago",
	"%d hours ago":   "%d hour ago",
	"%d days ago":    "%d day ago",
	"in %d minutes":  "in %d minute",
	"in %d hours":    "in %d hour",
	"in %d days":     "in %d day",

	// Waiting, Run and Runs
	"%d members are still to leave": "%d member is still to leave",
	"%d members come back to %s while seats are free, the last active first.": "" +
		"%d member comes back to %s while seats are free, the last active first.",
	"%d members leave %s, unless the last look at them keeps them.": "" +
		"%d member leaves %s, unless the last look at it keeps it.",
	"%d members are being removed": "%d member is being removed",
	"%d members may have been removed: it is not known": "" +
		"%d member may have been removed: it is not known",
	"%d members were removed":                 "%d member was removed",
	"%d members stay in %s. The run ends.":    "%d member stays in %s. The run ends.",
	"%d members stayed after all":             "%d member stayed after all",
	"%d members were on the plan, and stayed": "%d member was on the plan, and stayed",
	"%d members would leave":                  "%d member would leave",
	"%d plans are void and have not ended yet: does the leader run?": "" +
		"%d plan is void and has not ended yet: does the leader run?",
	"%d plans wait for a decision.":              "%d plan waits for a decision.",
	"Approve: %d members leave":                  "Approve: %d member leaves",
	"It was undone: %d members were added back.": "It was undone: %d member was added back.",
	"Undo: add %d members back":                  "Undo: add %d member back",
	"Up to %d members come back to %s: those whom the gate admits now, while seats are free.": "" +
		"Up to %d member comes back to %s: those whom the gate admits now, while seats are free.",

	"%d policies govern this group.":                         "%d policy governs this group.",
	"%d more findings":                                       "%d more finding",
	"%d plans wait for approval.":                            "%d plan waits for approval.",
	"%d accounts were admitted and %d refused.":              "%d account was admitted and %d refused.",
	"%d were seen in groups although the gate refuses them.": "%d was seen in a group although the gate refuses it.",
}
