package page

import (
	"html/template"
	"net/http"
	"strings"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/groupgate/groupgate/internal/terminal"
)

const (
	languageCookie = "groupgate-language"
	zoneCookie     = "groupgate-zone"
)

// visit is one request of a viewer. Templates call its methods.
type visit struct {
	*Viewer
	server  *server
	request *http.Request
	answer  http.ResponseWriter
	tag     language.Tag
	printer *message.Printer
	zone    *time.Location
	now     time.Time
}

// visit is a request, in the language and the time zone that its client wants. Its Viewer is not known yet.
func (s *server) visit(w http.ResponseWriter, r *http.Request) *visit {
	tag := s.words.match(cookie(r, languageCookie), r.Header.Get("Accept-Language"))
	v := &visit{
		server: s, request: r, answer: w, tag: tag, printer: s.words.printer(tag), zone: s.Zone, now: s.Now(),
	}
	if name := cookie(r, zoneCookie); name != "" {
		if zone, err := time.LoadLocation(name); err == nil {
			v.zone = zone
		}
	}
	return v
}

func cookie(r *http.Request, name string) string {
	c, err := r.Cookie(name)
	if err != nil {
		return ""
	}
	return c.Value
}

// T is an English text in the language of the visit, with its verbs as in fmt.
func (v *visit) T(text string, args ...any) string { return v.printer.Sprintf(text, args...) }

// Language is that of the page, as a BCP 47 tag.
func (v *visit) Language() string { return v.tag.String() }

// Token is what a form sends back as csrf.
func (v *visit) Token() string {
	if v.Viewer == nil {
		return ""
	}
	return v.server.token(v.Viewer)
}

// Known reports whether the viewer is known.
func (v *visit) Known() bool { return v.Viewer != nil }

// At reports whether path is the first step of that of the visit, for the menu.
func (v *visit) At(path string) bool {
	at := v.request.URL.Path
	return at == path || path != "/" && strings.HasPrefix(at, path+"/")
}

// Time is an absolute time in the zone of the visit, with UTC at hand.
func (v *visit) Time(t time.Time) template.HTML {
	text := t.In(v.zone).Format(v.T("Jan 2, 2006, 15:04 MST"))
	return template.HTML(`<time datetime="` + t.UTC().Format(time.RFC3339) + `">` + //nolint:gosec // escaped
		template.HTMLEscapeString(text) + `</time>`)
}

// Ago is how long ago, or how soon, something is, in its largest unit.
func (v *visit) Ago(t time.Time) string {
	left := t.Sub(v.now)
	n, unit := 0, ""
	switch d := left.Abs(); {
	case d < time.Minute:
		return v.T("just now")
	case d < time.Hour:
		n, unit = int(d.Minutes()), "minutes"
	case d < 48*time.Hour:
		n, unit = int(d.Hours()), "hours"
	default:
		n, unit = int(d.Hours()/24), "days"
	}
	if left > 0 {
		return v.T("in %d "+unit, n)
	}
	return v.T("%d "+unit+" ago", n)
}

// Account is the id of an account or a group, of which every character can be seen.
func (v *visit) Account(id string) template.HTML {
	return template.HTML(`<span class="id">` + //nolint:gosec // escaped
		template.HTMLEscapeString(terminal.Visible(id)) + `</span>`)
}
