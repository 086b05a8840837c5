package browser

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/groupgate/groupgate/internal/lab"
)

// axe is the source of axe-core.
var axe = sync.OnceValues(func() (string, error) {
	found, err := filepath.Glob(filepath.Join(lab.Root(), "bin", "browser", "axe-*.js"))
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%d copies of axe-core in bin/browser: run hack/browser/install.sh", len(found))
	}
	source, err := os.ReadFile(found[0])
	return string(source), err
})

// accessible fails the test for each rule of WCAG 2.2 AA, and each good practice, that axe-core finds broken.
func (x *tab) accessible() {
	x.t.Helper()
	for _, violation := range x.violations() {
		x.t.Errorf("%s: %s", x.at(), violation)
	}
}

// violations are what axe-core has to say about the page, each with its elements.
func (x *tab) violations() (all []string) {
	x.t.Helper()
	source, err := axe()
	if err != nil {
		x.t.Fatal(err)
	}
	type violation struct {
		ID    string `json:"id"`
		Help  string `json:"help"`
		Nodes []struct {
			HTML    string `json:"html"`
			Summary string `json:"failureSummary"`
		} `json:"nodes"`
	}
	x.allowScripts(true) // axe-core waits by timers, which are scripts; the page's own stay forbidden by its policy
	defer x.allowScripts(false)
	x.do(chromedp.Evaluate[chromedp.Void](source))
	found := ask(x, chromedp.Evaluate[[]violation](
		`axe.run(document).then(result => result.violations)`, chromedp.EvalAwaitPromise))
	for _, v := range found {
		text := v.ID + ": " + v.Help
		for _, node := range v.Nodes {
			text += fmt.Sprintf("\n  %s\n    %s", node.HTML, strings.ReplaceAll(node.Summary, "\n", "\n    "))
		}
		all = append(all, text)
	}
	return all
}

// What is wrong with a page is found, in a tab that runs no script of the page.
func TestAxeFindsWhatIsWrong(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `<!DOCTYPE html><html lang="en"><title>t</title><main><h1>h</h1>`+
			`<p style="color: #aaa; background: #fff">pale<script>document.write("scripted")</script></main></html>`)
	}))
	t.Cleanup(server.Close)
	x := newTab(t, habits{})
	x.visit(server.URL)
	x.hides("scripted")
	if found := x.violations(); len(found) != 1 || !strings.HasPrefix(found[0], "color-contrast: ") {
		t.Errorf("found %q", found)
	}
}
