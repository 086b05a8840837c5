package decisionlog

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/groupgate/groupgate/internal/policy"
)

// newLog returns a log that runs until stop is called.
func newLog(t *testing.T, o Options, logger logr.Logger) (l *Log, stop func()) {
	t.Helper()
	l = NewLog(o, prometheus.NewPedanticRegistry(), logger)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { l.Run(ctx) })
	return l, func() {
		cancel()
		running.Wait()
	}
}

func logOf(o Options) *Log { return NewLog(o, prometheus.NewRegistry(), logr.Discard()) }

func TestWhatIsLogged(t *testing.T) {
	admitted, refused := policy.Verdict{Admit: true}, policy.Verdict{}
	differing := policy.Verdict{Admit: true, AuditDiffers: true}
	for name, tc := range map[string]struct {
		log  *Log
		want [3]bool
	}{
		"off":     {nil, [3]bool{}},
		"refused": {logOf(Options{Out: io.Discard}), [3]bool{false, true, true}},
		"all":     {logOf(Options{Out: io.Discard, All: true}), [3]bool{true, true, true}},
		"kept":    {logOf(Options{All: true, Keep: func(*Decision) {}}), [3]bool{false, true, false}},
	} {
		got := [3]bool{tc.log.Wants(&admitted), tc.log.Wants(&refused), tc.log.Wants(&differing)}
		if got != tc.want {
			t.Errorf("%s: %t, want %t of an admission, a refusal and an Audit difference", name, got, tc.want)
		}
	}
	if NewLog(Options{}, prometheus.NewRegistry(), logr.Discard()) != nil {
		t.Error("there is a log without an output")
	}
}

// Everything that was added before the end is written, in order, and soon.
func TestLinesAreWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out writes
		l, stop := newLog(t, Options{Out: &out}, logr.Discard())
		l.Add(refusal)
		<-time.After(2 * together)
		if got := out.text(); got != refusal.line(t, "") {
			t.Errorf("after %s: %q", 2*together, got)
		}
		for range 3000 {
			l.Add(refusal)
		}
		stop()
		if got := strings.Count(out.text(), refusal.line(t, "")); got != 3001 {
			t.Errorf("%d lines", got)
		}
		if n := out.count(); n > 400 || out.longest > 4096 {
			t.Errorf("%d writes of up to %d bytes: several lines share one that a pipe takes whole", n, out.longest)
		}
	})
}

// An output that is not read makes nobody wait. What it did not take in time is counted, and nothing else is lost.
func TestBlockedOutputBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader, writer := io.Pipe()
		l, stop := newLog(t, Options{Out: writer}, logr.Discard())
		l.Add(refusal)
		<-time.After(time.Minute) // the writer is in Write
		const more = queued + 1000
		began := time.Now()
		for range more {
			l.Add(refusal)
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("Add waited for %s", waited)
		}
		if got := testutil.ToFloat64(l.dropped); got != 1000 || l.Waiting() != queued {
			t.Errorf("%v dropped and %d waiting, want 1000 and %d", got, l.Waiting(), queued)
		}
		var got bytes.Buffer
		var reading sync.WaitGroup
		reading.Go(func() { _, _ = io.Copy(&got, reader) })
		stop()
		_ = writer.Close()
		reading.Wait()
		line := refusal.line(t, "")
		if n := strings.Count(got.String(), line); n != 1+queued || got.Len() != n*len(line) {
			t.Errorf("%d whole lines in %d bytes, want %d", n, got.Len(), 1+queued)
		}
	})
}

// Refusals are kept whatever is logged, and one that is not is counted.
func TestRefusalsAreKept(t *testing.T) {
	admitted, leak := refusal, refusal
	admitted.Admitted, leak.Leak = true, true
	for name, out := range map[string]io.Writer{"without a log": nil, "with a log": io.Discard} {
		synctest.Test(t, func(t *testing.T) {
			var kept []Decision
			keep := func(d *Decision) { kept = append(kept, *d) }
			l, stop := newLog(t, Options{Out: out, Keep: keep, All: true}, logr.Discard())
			l.Add(refusal)
			l.Add(admitted)
			l.Add(leak)
			stop()
			if diff := cmp.Diff([]Decision{refusal, leak}, kept); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
			for range queued + 3 { // nothing runs
				l.Add(refusal)
			}
			l.Add(admitted)
			if l.Missed() != 3 {
				t.Errorf("%s: %d missed, want 3", name, l.Missed())
			}
			want := 0.
			if out != nil {
				want = 4
			}
			if got := testutil.ToFloat64(l.dropped); got != want {
				t.Errorf("%s: %v are missing in the log, want %v", name, got, want)
			}
		})
	}
}

// A line that was written in part must not spoil the one after it.
func TestFailedWriteIsCountedAndEndsItsLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := refusal.line(t, "")
		out := writes{fails: func(nth int, text []byte) (int, error) {
			if nth == 0 || nth == 1 {
				return len(line) + 10, errors.New("no space left on device")
			}
			return len(text), nil
		}}
		var log strings.Builder
		logger := funcr.New(func(_, text string) { log.WriteString(text + "\n") }, funcr.Options{})
		l, stop := newLog(t, Options{Out: &out}, logger)
		for range 3 {
			for range 3 {
				l.Add(refusal)
			}
			<-time.After(time.Second)
		}
		stop()
		part := line[:10]
		want := line + part + "\n" + line + part[:9] + "\n" + strings.Repeat(line, 3)
		if got := out.text(); got != want {
			t.Errorf("written\n%s\nwant\n%s", got, want)
		}
		if got := testutil.ToFloat64(l.dropped); got != 4 {
			t.Errorf("%v dropped, want 2 of each write that failed", got)
		}
		if lines := strings.Split(log.String(), "\n"); len(lines) != 3 ||
			!strings.Contains(lines[0], "no space left") || !strings.Contains(lines[1], "again") {
			t.Errorf("one message for the failure and one for its end: %q", lines)
		}
	})
}

// An output that is full takes a part of a line, then nothing for a while, then all again.
func TestPartOfALineIsEndedWhenWritesSucceedAgain(t *testing.T) {
	line := refusal.line(t, "")
	out := writes{fails: func(nth int, text []byte) (int, error) {
		switch nth {
		case 0:
			return 10, errors.New("no space left on device")
		case 1, 2:
			return 0, errors.New("no space left on device")
		}
		return len(text), nil
	}}
	l := NewLog(Options{Out: &out}, prometheus.NewRegistry(), logr.Discard())
	for range 5 {
		l.encode(&refusal)
		l.flush()
	}
	if got, want := out.text(), line[:10]+"\n"+line+line; got != want {
		t.Errorf("written\n%s\nwant\n%s", got, want)
	}
	if got := testutil.ToFloat64(l.dropped); got != 3 {
		t.Errorf("%v dropped, want 3", got)
	}
}

func TestLogAllocatesNothing(t *testing.T) {
	l := NewLog(Options{Out: io.Discard}, prometheus.NewRegistry(), logr.Discard())
	object := policy.Object{Namespace: "chat", Name: "banned"}
	if got := testing.AllocsPerRun(3*queued, func() {
		v := policy.Verdict{Policy: &object}
		q := policy.JoinQuery{Account: "mallory"}
		if l.Wants(&v) {
			l.Add(New("chat/prod", 1, &q, &v))
		}
	}); got != 0 {
		t.Errorf("Add allocates %v times", got)
	}
	if got := testing.AllocsPerRun(100, func() {
		l.encode(&refusal)
		l.flush()
	}); got != 0 {
		t.Errorf("encode allocates %v times", got)
	}
}

// writes is an output that can be read while it is written.
type writes struct {
	mu  sync.Mutex
	all []byte
	n   int
	// longest is the length of the longest one.
	longest int
	fails   func(nth int, text []byte) (int, error)
}

func (w *writes) Write(text []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := len(text), error(nil)
	if w.fails != nil {
		n, err = w.fails(w.n, text)
	}
	w.n++
	w.longest = max(w.longest, len(text))
	w.all = append(w.all, text[:n]...)
	return n, err
}

func (w *writes) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.all)
}

func (w *writes) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.n
}

func BenchmarkLine(b *testing.B) {
	hashed, err := Hashed(testKey)
	if err != nil {
		b.Fatal(err)
	}
	for name, accounts := range map[string]*Accounts{"plain": nil, "hash": hashed} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var line []byte
			for b.Loop() {
				line = refusal.appendLine(line[:0], accounts)
			}
		})
	}
}
