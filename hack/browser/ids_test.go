package browser

import (
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// Ids that would be markup, break out of an attribute, or pass for another id.
const (
	markup     = `<script>alert(1)</script>`
	attribute  = `"><img src=x onerror=alert(1)>`
	invisible  = "ma\u200bria"
	backwards  = "anna\u202egnp"
	template   = `{{.}}' OR 1=1`
	pathLike   = `../../etc?a=b&c#d`
	lookalike  = "b\u043eris" // with a Cyrillic o
	groupOfIDs = `club-<b>"'&\`
)

// Ids are text, wherever they are shown, and every character of them can be seen.
func TestHostileIDs(t *testing.T) {
	w := newWorld(t)
	run := w.plan(t, groupOfIDs, markup, attribute, invisible, backwards, lookalike)
	x := w.open(t, maria, habits{})
	for _, path := range w.shown(run) {
		x.visit(path)
		x.harmless()
	}
	x.visit(pathOf(run))
	x.shows(markup, attribute, "U+200B", groupOfIDs)

	group := "/group?app=" + app + "&group=" + url.QueryEscape(groupOfIDs)
	x.visit(group)
	x.shows(groupOfIDs)
	for _, account := range []string{markup, attribute, invisible, backwards, template, pathLike, lookalike} {
		x.visit("/ask?app=" + app + "&group=" + url.QueryEscape(groupOfIDs) + "&account=" + url.QueryEscape(account))
		x.harmless()
		x.visit("/refused?app=" + app + "&account=" + url.QueryEscape(account))
		x.harmless()
	}
	// The same ids can be decided about.
	x.visit(pathOf(run))
	x.fill("reason", markup)
	if status := x.click(verb("approve")); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	w.await(t, groupOfIDs, v1alpha1.ReasonRemoved)
	members := w.members(t, groupOfIDs)
	for _, account := range []string{markup, attribute, invisible} {
		if slices.Contains(members, account) {
			t.Errorf("%q is still a member", account)
		}
	}
	x.visit(pathOf(run))
	x.harmless()
	x.shows(markup)
}

// harmless fails the test if something of an id became part of the page's structure.
func (x *tab) harmless() {
	x.t.Helper()
	x.hides("\u200b", "\u202e")
	for _, element := range []string{"//script", "//img[@src='x']", "//b", "//*[@onerror]"} {
		if n := x.count(element); n > 0 {
			x.t.Errorf("%s has %d %s\n%s", x.at(), n, element, x.state())
		}
	}
}
