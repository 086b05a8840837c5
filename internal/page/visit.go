package page

import (
	"html/template"
	"net/http"
	"strings"
	"time"
	_ "time/tzdata" // the image of the container has no zones

	"golang.org/x/text/language"
	"golang.org/x/text/message"
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

// Gap is what stands between two sentences.
func (v *visit) Gap() string { return v.T(" ") }

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

// HTML is T for a sentence that has parts of HTML among args, such as ids. All other texts among args are escaped.
func (v *visit) HTML(text string, args ...any) template.HTML {
	for i, arg := range args {
		if plain, ok := arg.(string); ok {
			args[i] = template.HTMLEscapeString(plain)
		}
	}
	return template.HTML(v.T(text, args...)) //nolint:gosec // texts are constants, and their arguments are escaped
}

// Time is an absolute time in the zone of the visit.
func (v *visit) Time(t time.Time) template.HTML {
	if t.IsZero() {
		return template.HTML(template.HTMLEscapeString(v.T("not known"))) //nolint:gosec // escaped
	}
	return timeElement(t, v.clock(t))
}

// Now is the time of the visit.
func (v *visit) Now() template.HTML { return v.Time(v.now) }

// When is an absolute time with how long ago it is.
func (v *visit) When(t time.Time) template.HTML {
	if t.IsZero() {
		return v.Time(t)
	}
	return timeElement(t, v.clock(t)) + template.HTML(` <span class="quiet ago">(`+ //nolint:gosec // escaped
		template.HTMLEscapeString(v.Ago(t))+`)</span>`)
}

func timeElement(t time.Time, text string) template.HTML {
	return template.HTML(`<time datetime="` + t.UTC().Format(time.RFC3339) + `">` + //nolint:gosec // escaped
		template.HTMLEscapeString(text) + `</time>`)
}

// clock is a time in the zone of the visit. Abbreviations of zones are ambiguous: CST is one of China, and of America.
func (v *visit) clock(t time.Time) string {
	t = t.In(v.zone)
	zone := "UTC"
	if _, seconds := t.Zone(); seconds != 0 {
		zone += strings.TrimSuffix(t.Format("-07:00"), ":00")
	}
	return t.Format(v.T("Jan 2, 2006, 15:04")) + " " + zone
}

// Ago is how long ago, or how soon, something is, in its largest unit.
func (v *visit) Ago(t time.Time) string {
	left := t.Sub(v.now)
	past, soon, n := "", "", 0
	switch d := left.Abs(); {
	case t.IsZero():
		return v.T("not known")
	case d < time.Minute:
		return v.T("just now")
	case d < time.Hour:
		past, soon, n = say("%d minutes ago"), say("in %d minutes"), int(d.Minutes())
	case d < 48*time.Hour:
		past, soon, n = say("%d hours ago"), say("in %d hours"), int(d.Hours())
	default:
		past, soon, n = say("%d days ago"), say("in %d days"), int(d.Hours()/24)
	}
	if left > 0 {
		return v.T(soon, n)
	}
	return v.T(past, n)
}
