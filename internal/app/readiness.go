package app

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/healthz"
)

const (
	probeTimeout   = 5 * time.Second
	probeIdle      = 90 * time.Second
	maxProbeHeader = 1 << 16
)

// readyCheck is one of the conditions of readiness.
type readyCheck struct {
	name  string
	check func() error // says in a few words why the process is not ready; anybody may read it
}

// readiness answers /readyz, and says why not. controller-runtime's handler withholds the reasons, and logs a line for
// every probe that fails.
type readiness []readyCheck

// ServeHTTP implements http.Handler. What is ready is answered by controller-runtime's handler, `?verbose` and single
// checks too.
func (r readiness) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	checks := map[string]healthz.Checker{}
	var failed []string
	for _, c := range r {
		err := c.check()
		checks[c.name] = func(*http.Request) error { return err }
		if err != nil {
			failed = append(failed, fmt.Sprintf("%s: %v", c.name, err))
		}
	}
	if len(failed) > 0 && strings.Trim(request.URL.Path, "/") == "" {
		http.Error(w, strings.Join(failed, "\n"), http.StatusInternalServerError)
		return
	}
	(&healthz.Handler{Checks: checks}).ServeHTTP(w, request)
}

// newProbes serves the probes.
func newProbes(address string, ready readiness) *http.Server {
	mux := http.NewServeMux()
	for path, handler := range map[string]http.Handler{
		"/healthz": &healthz.Handler{Checks: map[string]healthz.Checker{"ping": healthz.Ping}}, "/readyz": ready,
	} {
		mux.Handle(path, http.StripPrefix(path, handler))
		mux.Handle(path+"/", http.StripPrefix(path, handler))
	}
	return &http.Server{
		Addr: address, Handler: mux,
		ReadHeaderTimeout: probeTimeout, IdleTimeout: probeIdle, MaxHeaderBytes: maxProbeHeader,
	}
}
