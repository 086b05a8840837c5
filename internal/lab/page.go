package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sync"
)

// Page is a `groupgate page` process on loopback.
type Page struct {
	*Process
	// URL is the one that it has printed: with its key, which a browser needs once.
	URL string
}

// StartPage starts a page on a free port with the identity of a kubeconfig, and waits until it prints its URL. Other
// flags come last and win.
func StartPage(ctx context.Context, log io.Writer, binary, kubeconfig string, flags ...string) (*Page, error) {
	printed := &urlReader{Writer: log}
	process, err := Start(printed, nil, binary,
		append([]string{"page", "--kubeconfig=" + kubeconfig, "--no-browser", "--port=0"}, flags...)...)
	if err != nil {
		return nil, err
	}
	page := &Page{Process: process}
	err = Await(ctx, "the URL of the page", func(context.Context) (bool, error) {
		if page.URL = printed.url(); page.URL == "" && !page.Running() {
			return false, errors.New("the page has ended")
		}
		return page.URL != "", nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s", err, printed.text.Bytes()), page.Kill())
	}
	return page, nil
}

// urlReader finds the first URL of this machine in what is written.
type urlReader struct {
	io.Writer
	mu   sync.Mutex
	text bytes.Buffer
}

var localURL = regexp.MustCompile(`(http://(?:127\.0\.0\.1|localhost|\[::1\]):\d+/\S*)\s`)

func (r *urlReader) Write(p []byte) (int, error) {
	r.mu.Lock()
	r.text.Write(p)
	r.mu.Unlock()
	return r.Writer.Write(p)
}

func (r *urlReader) url() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if match := localURL.FindSubmatch(r.text.Bytes()); match != nil {
		return string(match[1])
	}
	return ""
}
