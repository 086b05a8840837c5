package page

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
)

func TestViewerWhoSendsTooMuchIsToldWhenToTryAgain(t *testing.T) {
	now := time.Now()
	l := newLimits(func() time.Time { return now })
	many := func(viewer string, decides bool) (admitted int) {
		for range 1000 {
			if l.count(viewer, decides) == nil {
				admitted++
			}
		}
		return admitted
	}
	if got := many("maria", true); got != decisionsAtOnce {
		t.Errorf("%d decisions at once, want %d", got, decisionsAtOnce)
	}
	if got := many("viktor", false); got != pagesAtOnce {
		t.Errorf("%d pages at once, want %d", got, pagesAtOnce)
	}
	w := httptest.NewRecorder()
	refusalHeaders(w.Header(), l.count("maria", true))
	if got := w.Header().Get("Retry-After"); got != "1" {
		t.Errorf("Retry-After is %q", got)
	}
	now = now.Add(time.Second)
	if err := l.count("maria", true); err != nil {
		t.Errorf("after a second: %v", err)
	}
}

func TestVisitsWaitForTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(time.Now)
		var leave []func()
		for range maxHeavyVisits {
			one, err := l.enter(t.Context(), true)
			if err != nil {
				t.Fatal(err)
			}
			leave = append(leave, one)
		}
		if light, err := l.enter(t.Context(), false); err != nil {
			t.Errorf("a page that is not heavy waits for those: %v", err)
		} else {
			light()
		}
		began := time.Now()
		_, err := l.enter(t.Context(), true)
		if p, _ := problemOf(err); p.status != http.StatusServiceUnavailable || time.Since(began) != maxWait {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		time.AfterFunc(time.Second, leave[0])
		one, err := l.enter(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		for _, leave := range append(leave[1:], one) {
			leave()
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		for range maxVisits {
			if one, err := l.enter(gone, false); err == nil {
				one()
			}
		}
		if len(l.visits)+len(l.heavy) != 0 {
			t.Errorf("%d and %d turns are lost", len(l.visits), len(l.heavy))
		}
	})
}

// panics is an identity with a defect.
type panics struct{}

func (panics) Viewer(*http.Request) (*Viewer, error) { panic(errors.New("of a defect")) }

func TestPanicIsAnsweredAndLoggedWithoutPersons(t *testing.T) {
	var log strings.Builder
	handler, err := New(Options{
		Identity: panics{}, Zone: time.UTC, Now: time.Now,
		Log: funcr.New(func(_, line string) { log.WriteString(line + "\n") }, funcr.Options{Verbosity: 1}),
	})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet,
		"/runs/chat/run-of-mallory?group=vip-berlin", http.NoBody))
	if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "The page has a defect") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	if got := log.String(); !strings.Contains(got, "of a defect") || !strings.Contains(got, `"status"=500`) {
		t.Errorf("log: %s", got)
	}
	for _, personal := range []string{"mallory", "vip-berlin"} {
		if strings.Contains(log.String(), personal) {
			t.Errorf("the log has %s", personal)
		}
	}
}

func TestTokenIsForOneViewerOfOneProcessAndOneDay(t *testing.T) {
	now := time.Now()
	options := Options{Now: func() time.Time { return now }, Log: logr.Discard()}
	one, other := &server{Options: options, key: []byte("1")}, &server{Options: options, key: []byte("2")}
	token := one.token(&Viewer{Name: "maria"})
	for name, tc := range map[string]struct {
		of          *server
		token, name string
		after       time.Duration
		want        bool
	}{
		"fresh":           {of: one, token: token, name: "maria", want: true},
		"almost old":      {of: one, token: token, name: "maria", after: tokenLife - time.Second, want: true},
		"old":             {of: one, token: token, name: "maria", after: tokenLife + time.Second},
		"another viewer":  {of: one, token: token, name: "viktor"},
		"another process": {of: other, token: token, name: "maria"},
		"shortened":       {of: one, token: token[:len(token)-2], name: "maria"},
		"lengthened":      {of: one, token: token + "AA", name: "maria"},
		"empty":           {of: one, name: "maria"},
	} {
		began := now
		now = now.Add(tc.after)
		if got := tc.of.signed(tc.token, tc.name); got != tc.want {
			t.Errorf("%s: %t", name, got)
		}
		now = began
	}
}
