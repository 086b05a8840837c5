package page

import (
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"golang.org/x/text/message/catalog"
)

// words are the texts of the page in each of its languages. Their keys are the English texts.
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
			panic(err) // a text that is compiled into the binary
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
