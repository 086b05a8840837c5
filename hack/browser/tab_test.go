package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/groupgate/groupgate/internal/lab"
)

// started starts Chromium, once for all tests.
var started = sync.OnceValues(func() (context.Context, error) {
	path := ""
	for _, name := range []string{"chromium", "google-chrome", "chromium-browser"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		return nil, exec.ErrNotFound
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path),
		chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("force-color-profile", "srgb"),
	)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium's sandbox refuses root
	}
	allocator, _ := chromedp.NewExecAllocator(context.Background(), options...) // ended by closeBrowser
	browser, _ := chromedp.NewContext(allocator)
	closeBrowser = func() { _ = chromedp.Cancel(browser) } // nothing is left to be done about an error
	return browser, chromedp.Do(browser)
})

// closeBrowser ends Chromium if it was started.
var closeBrowser = func() {}

// tab is one of a browser with an empty profile, of a person with certain habits.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	requests []string // since the last visit began
	problems []string // that the console reports
}

// habits are what a tab does unlike others.
type habits struct {
	language string // Accept-Language; English if empty
	dark     bool
	width    int // of the window, in CSS pixels; 1280 if 0
}

// narrow is the width of a small phone.
const narrow = 360

// newTab opens a tab. Without a browser the test is skipped, except in CI. No page can run a script: none is
// needed.
func newTab(t *testing.T, h habits) *tab {
	t.Helper()
	browser, err := started()
	if err != nil && os.Getenv("CI") != "true" {
		t.Skipf("no browser (%v): run hack/browser/install.sh", err)
	}
	if err != nil {
		t.Fatalf("no browser: %v", err)
	}
	ctx, stop := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(stop)
	x := &tab{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, x.hear); err != nil {
		t.Fatal(err)
	}
	if h.width == 0 {
		h.width = 1280
	}
	if h.language == "" {
		h.language = "en"
	}
	scheme := "light"
	if h.dark {
		scheme = "dark"
	}
	x.do(
		send(network.SetExtraHTTPHeaders,
			network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Accept-Language": h.language}}),
		send(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
			Width: int64(h.width), Height: 800, DeviceScaleFactor: 1, Mobile: h.width == narrow,
		}),
		send(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}}),
	)
	x.allowScripts(false)
	t.Cleanup(x.check)
	return x
}

func (x *tab) allowScripts(allow bool) {
	x.t.Helper()
	x.do(send(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !allow}))
}

// send is a command of the browser's protocol.
func send[P any](command cdp.Command[P, cdp.Empty], params P) action {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, command, params)
		return err
	})
}

// action is what is done without a result.
type action = chromedp.Action[chromedp.Void]

// hear notes what the browser tells of the tab.
func (x *tab) hear(event any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		x.requests = append(x.requests, e.Request.URL)
	case *log.EventEntryAdded:
		// The answer to a decision that cannot be made has a status of 4xx, which the console calls an error.
		if e.Entry.Level == log.EntryLevelError && e.Entry.Source != log.EntrySourceNetwork {
			x.problems = append(x.problems, e.Entry.Text)
		}
	}
}

// check fails the test for what the console has reported, such as something that the CSP forbids.
func (x *tab) check() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, problem := range x.problems {
		x.t.Errorf("the console says: %s", problem)
	}
}

// patience is how long a tab waits for something.
const patience = 20 * time.Second

// do acts on the page.
func (x *tab) do(actions ...action) {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		x.t.Fatalf("%v\n%s", err, x.state())
	}
}

// ask asks the page, by a script of the test, which no setting of the page forbids, or by the browser's protocol.
func ask[T any](x *tab, question chromedp.Action[T]) T {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.ctx, patience)
	defer cancel()
	answer, err := chromedp.Run(ctx, question)
	if err != nil {
		x.t.Fatal(err)
	}
	return answer
}

// state is what the page shows, for the message of a test that fails. A picture lies in bin/browser.
func (x *tab) state() string {
	x.t.Helper()
	path := filepath.Join(lab.Root(), "bin", "browser", strings.ReplaceAll(x.t.Name(), "/", "-")+".png")
	if err := write(path, ask(x, chromedp.FullScreenshot(100))); err != nil {
		x.t.Error(err)
	}
	return fmt.Sprintf("--- %s (%s)\n%s", x.at(), path, x.text())
}

func write(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

// follow does what leads to another page, waits until that is there, and returns the status of its answer.
func (x *tab) follow(actions ...action) int {
	x.t.Helper()
	x.mu.Lock()
	x.requests = nil
	x.mu.Unlock()
	ctx, cancel := context.WithTimeout(x.ctx, patience)
	defer cancel()
	answer, err := chromedp.RunResponse(ctx, actions...)
	if err != nil {
		x.t.Fatalf("%v\n%s", err, x.state())
	}
	return int(answer.Status)
}

// visit opens a URL, which may be relative to the page shown.
func (x *tab) visit(to string) int {
	x.t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		x.t.Fatal(err)
	}
	if !target.IsAbs() {
		target = x.at().ResolveReference(target)
	}
	return x.follow(chromedp.Navigate(target.String()))
}

// at is the URL of the page shown.
func (x *tab) at() *url.URL {
	x.t.Helper()
	at, err := url.Parse(ask(x, chromedp.Location()))
	if err != nil {
		x.t.Fatal(err)
	}
	return at
}

// loaded are the URLs that the browser has asked for since the last visit began.
func (x *tab) loaded() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.requests)
}

// link and button are what a person looks for: by their words.
func link(words string) string { return "//a[normalize-space()=" + quoted(words) + "]" }

// verb is the button that decides.
func verb(name string) string {
	return fmt.Sprintf("//button[contains(@formaction, '/%[1]s') or "+
		"not(@formaction) and ancestor::form[contains(@action, '/%[1]s')]]", name)
}

// quoted is a string in XPath, which knows no escapes.
func quoted(s string) string {
	if !strings.Contains(s, `"`) {
		return `"` + s + `"`
	}
	return "'" + s + "'"
}

// click clicks what leads to another page, and returns the status of its answer.
func (x *tab) click(what string) int {
	x.t.Helper()
	return x.follow(chromedp.Click(what))
}

// fill types into the field of that name.
func (x *tab) fill(name, value string) {
	x.t.Helper()
	x.fillIn("//main", name, value)
}

// fillIn is fill for a field within something.
func (x *tab) fillIn(within, name, value string) {
	x.t.Helper()
	field := within + `//*[(self::input or self::textarea) and @name=` + quoted(name) + ` and not(@type="hidden")]`
	x.do(chromedp.Clear(field), chromedp.SendKeys(field, value))
}

// choose picks a choice of the list of that name.
func (x *tab) choose(name, value string) {
	x.t.Helper()
	x.do(chromedp.SetValue(`//select[@name=`+quoted(name)+`]`, value))
}

// count is how many elements there are.
func (x *tab) count(what string) int {
	x.t.Helper()
	return ask(x, chromedp.Evaluate[int]("document.evaluate("+literal(what)+
		", document, null, XPathResult.ORDERED_NODE_SNAPSHOT_TYPE).snapshotLength"))
}

// text is what the page shows, as a person selects and copies it.
func (x *tab) text() string {
	x.t.Helper()
	return ask(x, chromedp.Evaluate[string](`document.body.innerText`))
}

// literal is a string in JavaScript.
func literal(s string) string {
	out, _ := json.Marshal(s) // a string cannot fail
	return string(out)
}

// shows fails the test unless the page shows all of these words.
func (x *tab) shows(words ...string) {
	x.t.Helper()
	text := x.text()
	for _, want := range words {
		if !strings.Contains(text, want) {
			x.t.Errorf("the page does not show %q\n%s", want, x.state())
		}
	}
}

// hides fails the test if the page shows any of these words.
func (x *tab) hides(words ...string) {
	x.t.Helper()
	text := x.text()
	for _, word := range words {
		if strings.Contains(text, word) {
			x.t.Errorf("the page shows %q\n%s", word, x.state())
		}
	}
}
