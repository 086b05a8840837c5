package browser

import (
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// shown are all pages, by the name of their picture.
func (w *world) shown(run *v1alpha1.PruneRun) map[string]string {
	group := url.QueryEscape(run.Spec.GroupID)
	return map[string]string{
		"now": "/", "waiting": "/waiting", "runs": "/runs", "run": pathOf(run), "refused": "/refused",
		"settings": "/settings",
		"group":    "/group?app=" + app + "&group=" + group,
		"ask":      "/ask?app=" + app + "&group=" + group + "&account=mallory",
		"missing":  "/nowhere",
	}
}

// Every page is in order for screen readers and eyes, on a wide window and a small phone, by day and by night, in both
// languages; loads nothing but itself and one stylesheet; and is small.
func TestEveryPage(t *testing.T) {
	w := newWorld(t)
	run := w.plan(t, "club-linz")
	for name, h := range map[string]habits{
		"wide": {}, "narrow": {width: narrow}, "dark": {dark: true}, "narrow, dark": {width: narrow, dark: true},
		"Chinese": {language: "zh-CN"}, "narrow, Chinese": {width: narrow, language: "zh-CN"},
	} {
		t.Run(name, func(t *testing.T) {
			x := w.open(t, maria, h)
			for page, path := range w.shown(run) {
				status := x.visit(path)
				if want := map[bool]int{false: 200, true: 404}[page == "missing"]; status != want {
					t.Errorf("%s: status %d", page, status)
				}
				x.accessible()
				x.fits()
				x.loadsLittle()
				language := ask(x, chromedp.Evaluate[string](`document.documentElement.lang`))
				if chinese := strings.HasPrefix(language, "zh"); chinese != (h.language != "") {
					t.Errorf("%s: the language is %s", page, language)
				}
			}
		})
	}
}

// fits fails the test if the page must be scrolled sideways.
func (x *tab) fits() {
	x.t.Helper()
	type widths struct {
		Page   int `json:"page"`
		Window int `json:"window"`
	}
	w := ask(x, chromedp.Evaluate[widths](
		`({page: document.documentElement.scrollWidth, window: document.documentElement.clientWidth})`))
	if w.Page > w.Window {
		x.t.Errorf("%s is %d pixels wide, in a window of %d\n%s", x.at(), w.Page, w.Window, x.state())
	}
}

// loadsLittle fails the test if the page asks for more than a stylesheet, or is long.
func (x *tab) loadsLittle() {
	x.t.Helper()
	const most = 30_000
	loaded := x.loaded()
	for _, address := range loaded {
		if !strings.HasPrefix(address, "http://"+x.at().Host+"/") && !strings.HasPrefix(address, "data:") {
			x.t.Errorf("%s loads %s", x.at(), address)
		}
	}
	requests := 0
	for _, address := range loaded {
		if !strings.HasPrefix(address, "data:") {
			requests++
		}
	}
	if requests > 2 {
		x.t.Errorf("%s loads %q", x.at(), loaded)
	}
	if size := len(ask(x, chromedp.OuterHTML(chromedp.CSS("html")))); size > most {
		x.t.Errorf("%s has %d bytes", x.at(), size)
	}
}

// Without a mouse: every link and button is reached with Tab, shows that it has the focus, and works with Enter.
func TestDenyByKeyboard(t *testing.T) {
	w := newWorld(t)
	const group = "club-lyon"
	w.plan(t, group)
	x := w.open(t, maria, habits{})
	x.press("Skip to the content")
	x.tabTo("Waiting")
	x.follow(chromedp.KeyEvent(kb.Enter))
	x.tabTo(group)
	x.follow(chromedp.KeyEvent(kb.Enter))
	x.tabTo("Approve")
	x.press("") // the reason to deny, and not the one to approve
	x.do(chromedp.KeyEvent("by keyboard"))
	x.tabTo("Deny")
	x.follow(chromedp.KeyEvent(kb.Enter))
	if reason := w.await(t, group, v1alpha1.ReasonDenied).Status.Decisions.Denied.Reason; reason != "by keyboard" {
		t.Errorf("the reason is %q", reason)
	}
}

// presses bounds how often Tab is pressed.
const presses = 100

// tabTo presses Tab until what begins with these words has the focus.
func (x *tab) tabTo(words string) {
	x.t.Helper()
	for range presses {
		x.press("")
		if strings.HasPrefix(ask(x, chromedp.Evaluate[string](`document.activeElement.innerText.trim()`)), words) {
			return
		}
	}
	x.t.Fatalf("Tab does not reach %q\n%s", words, x.state())
}

// press presses Tab, and expects the focus on these words, if there are any, and that it can be seen.
func (x *tab) press(words string) {
	x.t.Helper()
	x.do(chromedp.KeyEvent(kb.Tab))
	type focus struct {
		Text    string  `json:"text"`
		Tag     string  `json:"tag"`
		Outline string  `json:"outline"`
		Width   float64 `json:"width"`
	}
	f := ask(x, chromedp.Evaluate[focus](`(() => {
		const e = document.activeElement, style = getComputedStyle(e)
		return {text: (e.innerText ?? "").trim(), tag: e.tagName, outline: style.outlineStyle,
			width: parseFloat(style.outlineWidth)}
	})()`))
	if f.Tag != "BODY" && (f.Outline == "none" || f.Width < 2) {
		x.t.Errorf("%s: the focus on %s %q cannot be seen: outline %s %gpx", x.at(), f.Tag, f.Text, f.Outline, f.Width)
	}
	if words != "" && f.Text != words {
		x.t.Errorf("%s: the focus is on %s %q, want %q", x.at(), f.Tag, f.Text, words)
	}
}
