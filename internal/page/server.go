package page

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"time"

	"github.com/go-logr/logr"
)

// Options are what the page is told by its flags.
type Options struct {
	// Identity tells whose request it is.
	Identity Identity
	// Origin is the scheme and host of the page, the only ones that are accepted; nil for any, behind a test's server.
	Origin *url.URL
	// Key is what a browser must know; nil where a proxy has authenticated the viewer.
	Key *Key
	// Namespace is the one whose objects are shown; empty for all.
	Namespace string
	// Replicas returns those that answer a viewer, with the viewer's rights; nil if none can be asked, and then
	// NoReplicas says why in a sentence.
	Replicas   func(*Viewer) Replicas
	NoReplicas string
	// Zone is that of the times that are shown, unless the viewer chooses another.
	Zone *time.Location
	// Now is the clock.
	Now func() time.Time
	Log logr.Logger
}

// server answers the requests of all viewers.
type server struct {
	Options
	mux       *http.ServeMux
	templates map[string]*template.Template
	words     *words
	style     []byte
	stylePath string

	// key is that of the tokens of forms.
	key         []byte
	limits      *limits
	crossOrigin *http.CrossOriginProtection
}

//go:embed templates/*.html style.css
var files embed.FS

// New returns the handler of the page.
func New(o Options) (http.Handler, error) {
	s := &server{
		Options: o, mux: http.NewServeMux(), words: newWords(),
		key: make([]byte, 32), limits: newLimits(o.Now), crossOrigin: http.NewCrossOriginProtection(),
	}
	_, _ = rand.Read(s.key) // never fails
	var err error
	if s.templates, err = parse(files); err != nil {
		return nil, err
	}
	if s.style, err = files.ReadFile("style.css"); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(s.style)
	s.stylePath = "/style." + hex.EncodeToString(sum[:8]) + ".css"
	s.mux.HandleFunc("GET "+s.stylePath, s.serveStyle)
	s.routes()
	return s.protect(s.mux), nil
}

// parse reads the templates: each page is one of its own, within layout.html.
func parse(files fs.FS) (map[string]*template.Template, error) {
	layout, err := template.ParseFS(files, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(files, "templates/*.html")
	if err != nil {
		return nil, err
	}
	templates := map[string]*template.Template{}
	for _, name := range names {
		page, err := layout.Clone()
		if err != nil {
			return nil, err
		}
		if templates[path.Base(name)], err = page.ParseFS(files, name); err != nil {
			return nil, err
		}
	}
	return templates, nil
}

// view is the answer to a visit: a template, and what it shows.
type view struct {
	// template is the name of a file in templates.
	template string
	// title is that of the page, in English.
	title string
	// status is that of the answer; 0 is 200.
	status int
	data   any
}

// handle serves a page at a pattern of http.ServeMux.
func (s *server) handle(pattern string, page func(v *visit) (*view, error)) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), maxVisit)
		defer cancel()
		v := s.visit(w, r.WithContext(ctx))
		shown, err := s.ask(v, page) //nolint:contextcheck // that of the request
		switch {
		case err != nil:
			s.fail(v, err)
		case shown != nil: // nil once the page has answered, with a redirect
			s.write(w, v, shown)
		}
	})
}

// ask is what a page answers to a viewer who may visit it.
func (s *server) ask(v *visit, page func(v *visit) (*view, error)) (*view, error) {
	viewer, err := s.Identity.Viewer(v.request)
	if err != nil {
		return nil, err
	}
	v.Viewer = viewer
	leave, err := s.enter(v)
	if err != nil {
		return nil, err
	}
	defer leave()
	return page(v)
}

// fail answers with what an error means for the viewer.
func (s *server) fail(v *visit, err error) {
	p, known := problemOf(err)
	if !known {
		s.Log.Error(err, "A page cannot be shown", "pattern", v.request.Pattern)
	}
	p.advice = v.T(p.advice, p.args...)
	refusalHeaders(v.answer.Header(), err)
	s.write(v.answer, v, &view{template: "problem.html", title: p.text, status: p.status, data: &p})
}

// write answers with a page. It is made before anything is sent, so that an error is never sent as half a page.
func (s *server) write(w http.ResponseWriter, v *visit, shown *view) {
	page := &page{visit: v, Title: v.T(shown.title), Data: shown.data, Style: s.stylePath}
	var html bytes.Buffer
	if err := s.templates[shown.template].ExecuteTemplate(&html, "layout", page); err != nil {
		s.Log.Error(err, "A page cannot be made", "template", shown.template)
		http.Error(w, "The page cannot be made. Its log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Language", v.Language())
	if shown.status != 0 {
		w.WriteHeader(shown.status)
	}
	_, _ = w.Write(html.Bytes()) // the client may be gone
}

// serveStyle serves the stylesheet. Its path changes with it.
func (s *server) serveStyle(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(s.style)
}

// page is what templates see: . at the top, $ anywhere.
type page struct {
	*visit
	Title string
	Style string
	Data  any
}
