package decisionlog

import (
	"bytes"
	"context"
	"io"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/groupgate/groupgate/internal/policy"
)

const (
	// queued is how many decisions wait for the writer at most: those of a tenth of a second at 80,000 a second.
	queued = 8192
	// together is how long the writer waits for more once it has a decision: one write, and one wakeup of the writer,
	// for all that come in that time cost less than those of each.
	together = 20 * time.Millisecond
	// writeSize is the length from which on lines are written. A line has some 300 bytes, so that a write stays below
	// the 4 KiB that a pipe takes as a whole: where both outputs of the process go to one pipe, no lines are mixed.
	writeSize = 3 << 10
)

var newline = []byte{'\n'}

// Options say what is logged, and to where.
type Options struct {
	// Out takes whole lines. Writes to it may block. nil writes none.
	Out io.Writer
	// Keep, if set, is called with every decision that refuses, and with every leak, before its line is written,
	// whether or not there is an Out. It must not keep the strings.
	Keep func(d *Decision)
	// All logs every decision, instead of refusals and Audit differences only.
	All bool
	// Accounts is how they are written; nil is as they are.
	Accounts *Accounts
}

// Log takes decisions. A nil *Log takes none.
type Log struct {
	options Options
	queue   chan Decision
	dropped prometheus.Counter
	log     logr.Logger
	missed  atomic.Uint64

	buffer []byte
	lines  int // in buffer
	// torn says that the output has a part of a line last. failing says that its last write failed.
	torn, failing bool
}

// NewLog registers the counter of dropped decisions, and returns nil where nothing is logged or kept. Decisions are
// written while Run runs.
func NewLog(o Options, registerer prometheus.Registerer, log logr.Logger) *Log {
	dropped := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "groupgate_decisions_dropped_total",
		Help: "Decisions that are not in the decision log: its output did not take them in time, or failed.",
	})
	registerer.MustRegister(dropped)
	if o.Out == nil && o.Keep == nil {
		return nil
	}
	o.All = o.All && o.Out != nil
	return &Log{options: o, queue: make(chan Decision, queued), dropped: dropped, log: log}
}

// Wants reports whether a verdict is to be logged or kept.
func (l *Log) Wants(v *policy.Verdict) bool {
	return l != nil && (l.options.All || !v.Admit || v.AuditDiffers && l.options.Out != nil)
}

// Add logs and keeps a decision. It neither waits nor does I/O: it drops the decision if too many wait.
func (l *Log) Add(d Decision) {
	select {
	case l.queue <- d:
	default:
		if l.options.Out != nil {
			l.dropped.Inc()
		}
		if !d.Admitted {
			l.missed.Add(1)
		}
	}
}

// Missed returns how many decisions that refuse, and leaks, Keep was not called with, as too many waited.
func (l *Log) Missed() uint64 {
	if l == nil {
		return 0
	}
	return l.missed.Load()
}

// Run writes until ctx ends and nothing is left, however long the output takes. It returns at once for a nil *Log.
func (l *Log) Run(ctx context.Context) {
	if l == nil {
		return
	}
	l.discard() // what an earlier Run was encoding when it panicked
	for {
		select {
		case d := <-l.queue:
			l.take(&d)
		case <-ctx.Done():
			l.writeQueued()
			return
		}
		select {
		case <-time.After(together):
		case <-ctx.Done():
		}
		l.writeQueued()
	}
}

// writeQueued writes what is in the queue, until that is empty.
func (l *Log) writeQueued() {
	for {
		select {
		case d := <-l.queue:
			l.take(&d)
			if len(l.buffer) >= writeSize {
				l.flush()
			}
		default:
			l.flush()
			return
		}
	}
}

// take keeps and encodes a decision.
func (l *Log) take(d *Decision) {
	if l.options.Keep != nil && !d.Admitted {
		l.options.Keep(d)
	}
	if l.options.Out != nil {
		l.encode(d)
	}
}

func (l *Log) encode(d *Decision) {
	if l.torn {
		l.buffer = append(l.buffer, '\n')
		l.torn = false
	}
	l.buffer = d.appendLine(l.buffer, l.options.Accounts)
	l.lines++
}

// flush writes the buffer. What cannot be written is dropped: a later line matters more than an earlier one, and the
// output may fail for good.
func (l *Log) flush() {
	if l.lines == 0 {
		return
	}
	n, err := l.options.Out.Write(l.buffer)
	if err != nil {
		written := l.buffer[:n]
		l.lines -= bytes.Count(bytes.TrimPrefix(written, newline), newline)
		if n == 0 {
			l.torn = l.buffer[0] == '\n' // the end of an earlier line is still not written
		} else {
			l.torn = written[n-1] != '\n'
		}
	} else {
		l.lines = 0
	}
	if failing := err != nil; failing != l.failing {
		l.failing = failing
		if failing {
			l.log.Error(err, "Decisions are lost: the output of the decision log fails")
		} else {
			l.log.Info("The output of the decision log takes decisions again")
		}
	}
	l.discard()
}

// discard drops what is in the buffer.
func (l *Log) discard() {
	l.dropped.Add(float64(l.lines))
	l.buffer, l.lines = l.buffer[:0], 0
}

// Waiting returns how many decisions wait for the writer.
func (l *Log) Waiting() int { return len(l.queue) }
