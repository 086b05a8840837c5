package webhookserver

import (
	"bytes"
	"log"
	"strings"

	"github.com/go-logr/logr"
)

// serverLog passes on what net/http logs about connections. Any client can cause it, a port scan for instance, so it is
// logged at V(1), except for errors of the listener.
func serverLog(to logr.Logger) *log.Logger {
	return log.New(serverLogWriter{to}, "", 0)
}

type serverLogWriter struct{ log logr.Logger }

// Write takes one line, and cuts it at its first question mark: net/http logs no URL today, but if it did, the query
// with its signature must not appear.
func (w serverLogWriter) Write(line []byte) (int, error) {
	before, _, _ := bytes.Cut(line, []byte("?"))
	detail := strings.TrimSpace(string(before))
	switch {
	case strings.HasPrefix(detail, "http: Accept error"):
		w.log.Info("Cannot accept connections for callbacks", "detail", detail)
	case strings.HasPrefix(detail, "http: TLS handshake error"):
		w.log.V(1).Info("TLS handshake failed", "detail", detail)
	default:
		w.log.V(1).Info("Connection failed", "detail", detail)
	}
	return len(line), nil
}
