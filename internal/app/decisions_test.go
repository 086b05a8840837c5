package app

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/groupgate/groupgate/internal/decisionlog"
	"github.com/groupgate/groupgate/internal/guard"
)

// The last decisions are written before the process ends; an output that is not read does not keep it.
func TestDecisionsAreDrainedAtTheEnd(t *testing.T) {
	for name, tc := range map[string]struct {
		reads   bool
		takes   time.Duration
		message string
	}{
		"read":     {true, 0, ""},
		"not read": {false, drainTimeout, "does not take the last decisions"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reader, writer := io.Pipe()
				defer reader.Close() // ends the writer
				var out, messages strings.Builder
				if tc.reads {
					go func() { _, _ = io.Copy(&out, reader) }() // ends with the pipe
				}
				log := funcr.New(func(_, message string) { messages.WriteString(message) }, funcr.Options{})
				a := &App{
					options:   Options{Log: log},
					guard:     guard.New(prometheus.NewRegistry(), logr.Discard()),
					decisions: decisionlog.NewLog(decisionlog.Options{Out: writer}, prometheus.NewRegistry(), log),
				}
				ctx, end := context.WithCancel(t.Context())
				a.decisions.Add(decisionlog.Decision{Account: "mallory"})
				end()
				began := time.Now()
				a.logDecisions(ctx)
				synctest.Wait()
				if took := time.Since(began); took != tc.takes {
					t.Errorf("the end took %s, want %s", took, tc.takes)
				}
				if tc.reads != strings.Contains(out.String(), "mallory") {
					t.Errorf("read %q", out.String())
				}
				if got := messages.String(); !strings.Contains(got, tc.message) || tc.message == "" && got != "" {
					t.Errorf("logged %q", got)
				}
			})
		})
	}
}
