package page

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// protect is what every request passes before its page.
func (s *server) protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := s.Now()
		answer := &recorded{ResponseWriter: w}
		s.setHeaders(answer.Header())
		defer func() {
			if p := recover(); p != nil {
				s.Log.Error(fmt.Errorf("panic: %v", p), "A page panicked", "pattern", r.Pattern,
					"stack", string(debug.Stack()))
				if answer.status == 0 {
					s.fail(s.visit(answer, r), errPanic)
				}
			}
			s.record(r, answer, s.Now().Sub(began))
		}()
		if err := s.check(r); err != nil {
			s.fail(s.visit(answer, r), err)
			return
		}
		if s.Key != nil && r.URL.Path != s.stylePath {
			answered, err := s.Key.admit(answer, r)
			if err != nil {
				s.fail(s.visit(answer, r), err)
			}
			if answered || err != nil {
				return
			}
		}
		next.ServeHTTP(answer, r)
	})
}

// setHeaders sets what browsers obey.
func (s *server) setHeaders(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; "+
		"base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	// Within the page, since a browser that sends no referrer at all sends no origin with forms either.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
	h.Set("Cache-Control", "no-store")
	if s.Origin != nil && s.Origin.Scheme == "https" {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// check refuses requests that no browser sends for the viewer.
func (s *server) check(r *http.Request) error {
	if !slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodPost}, r.Method) {
		return notAllowed("GET, HEAD, POST")
	}
	if s.Origin != nil {
		if r.Host != s.Origin.Host {
			return &Refusal{
				Status: http.StatusMisdirectedRequest, Text: "This is not the address of the page.",
				Advice: "Open %s instead.", Args: []any{s.Origin.String()},
			}
		}
		if err := s.checkOrigin(r); err != nil {
			return err
		}
	}
	return checkQuery(r)
}

// checkOrigin refuses forms of other sites, for old browsers by the origin alone.
func (s *server) checkOrigin(r *http.Request) error {
	origins := r.Header.Values("Origin")
	foreign := r.Method == http.MethodPost && len(origins) > 0 && !slices.Equal(origins, []string{originOf(s.Origin)})
	if foreign || s.crossOrigin.Check(r) != nil {
		return &Refusal{
			Status: http.StatusForbidden, Text: "Nothing was done: another site has sent this form.",
			Advice: "Load the page again, look at it, and send its form.",
		}
	}
	return nil
}

func originOf(u *url.URL) string { return u.Scheme + "://" + u.Host }

// enter is what a visit passes once its viewer is known: limits, and what a form must have.
func (s *server) enter(v *visit) (leave func(), err error) {
	r := v.request
	if err := s.limits.count(v.Name, r.Method == http.MethodPost); err != nil {
		return nil, err
	}
	for name, problems := range map[string]func(string) []string{
		"namespace": validation.IsDNS1123Label, "name": validation.IsDNS1123Subdomain,
	} {
		if value := r.PathValue(name); value != "" && len(problems(value)) > 0 {
			return nil, noSuchPage()
		}
	}
	if r.Method == http.MethodPost {
		if err := s.checkForm(v.answer, r, v.Viewer); err != nil {
			return nil, err
		}
		if v.ReadOnly != "" && strings.HasPrefix(r.URL.Path, "/runs/") {
			return nil, &Refusal{
				Status: http.StatusForbidden, Text: "Nothing can be decided on this page.", Advice: v.ReadOnly,
			}
		}
	}
	return s.limits.enter(r.Context(), heavyPages[r.URL.Path])
}

// heavyPages read all policies and lists.
var heavyPages = map[string]bool{"/ask": true, "/group": true}

// missing answers for a path that no page has, and for a method that a page does not have.
func (s *server) missing(v *visit) (*view, error) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		r := v.request.Clone(v.request.Context())
		r.Method = method
		if _, pattern := s.mux.Handler(r); pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) > 0 {
		return nil, notAllowed(strings.Join(allowed, ", "))
	}
	return nil, noSuchPage()
}

func noSuchPage() error {
	return &Refusal{
		Status: http.StatusNotFound, Text: "There is no such page.", Advice: "Begin with one of the links above.",
	}
}

func notAllowed(methods string) error {
	return &Refusal{
		Status: http.StatusMethodNotAllowed, Allow: methods, Text: "This address cannot be used in this way.",
		Advice: "Begin with one of the links above.",
	}
}

var errPanic = &Refusal{
	Status: http.StatusInternalServerError, Text: "The page has a defect, and cannot be shown.",
	Advice: "Its log says more. The gate does not depend on the page.",
}

// refusalHeaders are those that an error wants with its answer.
func refusalHeaders(h http.Header, err error) {
	refusal, ok := errors.AsType[*Refusal](err)
	if !ok {
		return
	}
	if refusal.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(refusal.RetryAfter/time.Second)))
	}
	if refusal.Allow != "" {
		h.Set("Allow", refusal.Allow)
	}
}

// record logs a request without anything that names a person, a group or a run: the pattern instead of the path.
func (s *server) record(r *http.Request, answer *recorded, took time.Duration) {
	level := 1
	if r.Method == http.MethodPost {
		level = 0
	}
	s.Log.V(level).Info("Answered", "method", r.Method, "pattern", r.Pattern, "status", answer.status,
		"bytes", answer.bytes, "seconds", took.Seconds())
}

// recorded is an answer of which the status is known.
type recorded struct {
	http.ResponseWriter
	status, bytes int
}

func (w *recorded) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorded) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += n
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *recorded) Unwrap() http.ResponseWriter { return w.ResponseWriter }
