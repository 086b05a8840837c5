package webhookserver

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/groupgate/groupgate/internal/decisionlog"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/refusals"
)

// withDecisions starts a gate with a decision log. The returned function stops both.
func withDecisions(t testing.TB, input *policy.Input, o decisionlog.Options) (g *gate, stop func()) {
	registry := prometheus.NewRegistry()
	log := decisionlog.NewLog(o, registry, logr.Discard())
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() { log.Run(ctx) })
	g = startGate(t, input, func(s *Server) { s.Decisions = log })
	g.registry = registry
	return g, func() {
		g.stop()
		cancel()
		running.Wait()
	}
}

// audited admits the accounts, and only watches a policy that admits nobody.
func audited(accounts ...string) *policy.Input {
	input := members(accounts...)
	input.Policies = append(input.Policies, policy.Policy{
		Object: object("what-if"), App: "prod", Groups: everyGroup(),
		Join: &policy.JoinSection{Audit: true, Deny: &policy.AccountSelector{Accounts: []string{"anna"}}},
	})
	return input
}

func TestDecisionsAreLogged(t *testing.T) {
	input := audited("jared", "anna")
	line := func(account, rest string) string {
		return fmt.Sprintf(`{"log":"decision","version":1,"time":"2023-11-14T22:13:20.000Z","app":"chat/prod",`+
			`"group":%q,"groupType":"Public","account":%q,%s,"snapshot":"%016x"}`,
			group, account, rest, policy.Compile(*input).Hash())
	}
	refused := []string{
		line("mallory", `"trigger":"Apply","verdict":"Rejected","reason":"NotListed","policy":"gate","code":10110,`+
			`"audit":"Rejected"`),
		line("trent", `"operator":"leckie","trigger":"Invite","verdict":"Rejected","reason":"NotListed",`+
			`"policy":"gate","code":10110,"audit":"Rejected"`),
		line("anna", `"operator":"leckie","trigger":"Invite","verdict":"Admitted","reason":"Allowed",`+
			`"policy":"gate","code":0,"audit":"Rejected","auditReason":"Denied","auditPolicy":"what-if"`),
	}
	admitted := line("jared", `"trigger":"Apply","verdict":"Admitted","reason":"Allowed","policy":"gate","code":0,`+
		`"audit":"Admitted"`)
	for name, tc := range map[string]struct {
		all  bool
		want []string
	}{
		"refused": {false, refused},
		"all":     {true, append([]string{admitted}, refused...)},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			g, stop := withDecisions(t, input, decisionlog.Options{Out: &out, All: tc.all})
			g.post(t, signed(query(applyCommand)), applyBody("jared"))
			g.post(t, signed(query(applyCommand)), applyBody("mallory"))
			g.post(t, signed(query(inviteCommand)), inviteBody("trent", "anna"))
			g.post(t, signed(query(fullCommand)), fullBody(group))
			g.post(t, query(applyCommand), applyBody("mallory")) // not authenticated
			stop()
			if diff := cmp.Diff(tc.want, strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}

// Thousands of decisions may wait while the output blocks: none may keep the memory of a large invitation.
func TestWaitingDecisionsHoldTheirOwnIDsOnly(t *testing.T) {
	log := decisionlog.NewLog(decisionlog.Options{Out: io.Discard}, prometheus.NewRegistry(), logr.Discard())
	g := newGate(t, members("jared"), func(s *Server) { s.Decisions = log })
	padded := strings.Replace(inviteBody("jared", "mallory"), "[", "["+strings.Repeat(" ", 400<<10), 1)
	allocated := func() uint64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	invitation := newReplay(signed(query(inviteCommand)), padded)
	invitation.through(g.handler)
	const more = 100
	before := allocated()
	for range more {
		invitation.through(g.handler)
	}
	held := int64(allocated()) - int64(before)
	if log.Waiting() != 1+more || held > 8<<20 {
		t.Errorf("%d decisions hold %d bytes", log.Waiting(), held)
	}
}

// The kubelet may not read the standard output for as long as it likes.
func TestBlockedDecisionLogDelaysNoAnswer(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	g, stop := withDecisions(t, members("jared"), decisionlog.Options{Out: writer, All: true})
	accounts := make([]string, 500)
	for i := range accounts {
		accounts[i] = fmt.Sprint("stranger-", i)
	}
	const invitations = 30 // more than the pipe and the queue hold
	var slowest time.Duration
	for range invitations {
		began := time.Now()
		if got := g.post(t, signed(query(inviteCommand)), inviteBody(accounts...)); got.shape() != "200 OK 10110" {
			t.Fatalf("got %s", got.shape())
		}
		slowest = max(slowest, time.Since(began))
	}
	if slowest > time.Second {
		t.Errorf("an answer took %s", slowest)
	}
	dropped := int(g.count(t, "decisions_dropped_total"))
	if dropped == 0 {
		t.Error("nothing was dropped: the log did not block")
	}
	var lines strings.Builder
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(&lines, reader) })
	stop()
	writer.Close()
	reading.Wait()
	if got := strings.Count(lines.String(), "}\n{") + 1; got+dropped != invitations*len(accounts) {
		t.Errorf("%d lines and %d dropped, want %d", got, dropped, invitations*len(accounts))
	}
}

// BenchmarkDecisionLog is one callback of a kept connection over HTTP, every other one about a refused account.
// cpu-ns/op is the CPU time of the process, most of it that of HTTP; what the log costs is the difference to off, and
// what the ring of refusals does that between a case and the same one that is kept.
func BenchmarkDecisionLog(b *testing.B) {
	output, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer output.Close()
	ring := refusals.NewRing(refusals.DefaultCapacity, "replica-0", time.Now())
	for _, bc := range []struct {
		name    string
		options decisionlog.Options
	}{
		{"off", decisionlog.Options{}},
		{"off, kept", decisionlog.Options{Keep: ring.Keep}},
		{"refused", decisionlog.Options{Out: output}},
		{"refused, kept", decisionlog.Options{Out: output, Keep: ring.Keep}},
		{"all", decisionlog.Options{Out: output, All: true}},
		{"all, kept", decisionlog.Options{Out: output, All: true, Keep: ring.Keep}},
	} {
		b.Run(bc.name, func(b *testing.B) {
			g, stop := withDecisions(b, members("jared"), bc.options)
			defer stop()
			conn, err := net.Dial("tcp", g.server.Listener.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			answers := bufio.NewReader(conn)
			post := func(account string) {
				body := applyBody(account)
				if _, err := fmt.Fprintf(conn, "POST %s?%s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s",
					Path, signed(query(applyCommand)), len(body), body); err != nil {
					b.Fatal(err)
				}
				for left := -1; left != 0; {
					line, err := answers.ReadSlice('\n')
					if err != nil {
						b.Fatal(err)
					}
					if length, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
						if left, err = strconv.Atoi(string(bytes.TrimSpace(length))); err != nil {
							b.Fatal(err)
						}
					}
					if len(line) == 2 {
						_, err = answers.Discard(left)
						left = 0
					}
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			began, n := cpuTime(b), 0
			for b.Loop() {
				post([]string{"jared", "mallory"}[n%2])
				n++
			}
			b.ReportMetric(float64(cpuTime(b)-began)/float64(n), "cpu-ns/op")
		})
	}
}

// cpuTime is what the process has used.
func cpuTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
