package webhookserver

import (
	"bytes"
	"log"
	"strings"

	"github.com/go-logr/logr"
)

// serverLog passes on what net/http has to say about connections. All of it
// can be provoked from outside, failed TLS handshakes by every port scan, so
// it stands at V(1); only trouble with the listener is ours.
func serverLog(to logr.Logger) *log.Logger {
	return log.New(serverLogWriter{to}, "", 0)
}

type serverLogWriter struct{ log logr.Logger }

// Write takes one line. The line is cut at its first question mark: net/http
// prints no URL today, and a query, which holds the signature, must not appear
// should it begin to.
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
