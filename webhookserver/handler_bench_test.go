package webhookserver

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/groupgate/groupgate/internal/decisionlog"
	"github.com/groupgate/groupgate/internal/policy"
)

// replay sends one request again and again, at the cost of the handler alone.
type replay struct {
	request *http.Request
	body    *bytes.Reader
	header  http.Header
	status  int
	written int
}

func newReplay(query, body string) *replay {
	r := &replay{body: bytes.NewReader([]byte(body)), header: http.Header{}}
	r.request = request(query, body)
	r.request.Body = io.NopCloser(r.body)
	return r
}

func (r *replay) Header() http.Header { return r.header }
func (r *replay) WriteHeader(status int) {
	r.status = status
}
func (r *replay) Write(p []byte) (int, error) {
	r.written += len(p)
	return len(p), nil
}

func (r *replay) through(h http.Handler) {
	_, _ = r.body.Seek(0, io.SeekStart)
	h.ServeHTTP(r, r.request)
}

// TestHandlerAllocations allows one string for all ids of the body, the list of an invitation, and an unknown command,
// with a decision log or without. It does not see what net/http allocates for headers.
func TestHandlerAllocations(t *testing.T) {
	t.Run("without a decision log", func(t *testing.T) { testAllocations(t, nil) })
	t.Run("with a decision log", func(t *testing.T) {
		options := decisionlog.Options{Out: io.Discard, All: true}
		testAllocations(t, decisionlog.NewLog(options, prometheus.NewRegistry(), logr.Discard()))
	})
}

func testAllocations(t *testing.T, decisions *decisionlog.Log) {
	g := newGate(t, members("jared"), func(s *Server) { s.Decisions = decisions })
	tests := map[string]struct {
		query, body string
		most        float64
	}{
		"apply, admitted":  {signed(query(applyCommand)), applyBody("jared"), 1},
		"apply, refused":   {signed(query(applyCommand)), applyBody("mallory"), 1},
		"invite, in part":  {signed(query(inviteCommand)), inviteBody("jared", "mallory"), 2},
		"full, not pruned": {signed(query(fullCommand)), fullBody(group), 1},
		"another command": {signed(query(otherCommand)), `{"CallbackCommand":"` + otherCommand +
			`","MsgBody":[{"a":1}]}`, 1},
		"unreadable":        {signed(query(applyCommand)), applyBody("jared") + "x", 2},
		"unauthenticated":   {query(applyCommand), applyBody("jared"), 0},
		"of an unknown app": {"SdkAppid=7", applyBody("jared"), 0},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			r := newReplay(tc.query, tc.body)
			got := testing.AllocsPerRun(200, func() { r.through(g.handler) })
			if lossyPools {
				got-- // the memory of an exchange, every few times
			}
			if got > tc.most {
				t.Errorf("%v allocations, want at most %v", got, tc.most)
			}
		})
	}
}

// bare is a minimal handler: it reads the body into reused memory, and answers with a constant.
func bare() http.Handler {
	buffers := sync.Pool{New: func() any { return new([firstRead]byte) }}
	constant := []byte(`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}`)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		buffer := buffers.Get().(*[firstRead]byte)
		defer buffers.Put(buffer)
		for {
			if _, err := r.Body.Read(buffer[:]); err != nil {
				break
			}
		}
		_, _ = w.Write(constant)
	})
}

// BenchmarkHandler is one signed callback against 1,000 groups that admit 1,000 accounts each, and beside it the bare
// handler, which makes its figures comparable between machines, and between hours on a busy one.
func BenchmarkHandler(b *testing.B) {
	input := policy.Input{Apps: []policy.App{theApp()}}
	for g := range 1000 {
		allow := &policy.AccountSelector{}
		for a := range 1000 {
			allow.Accounts = append(allow.Accounts, fmt.Sprintf("user-%d-%d", g, a))
		}
		input.Policies = append(input.Policies, policy.Policy{
			Object: object(fmt.Sprint("group-", g)), App: "prod",
			Groups: []policy.GroupMatcher{{Kind: policy.MatchExact, Value: fmt.Sprint("group-", g)}},
			Join:   &policy.JoinSection{Allow: allow, Reject: policy.Rejection{Code: 10110, Message: "Members only"}},
		})
	}
	apply := func(account string) string {
		return fmt.Sprintf(`{"CallbackCommand":%q,"GroupId":"group-500","Type":"Public","Requestor_Account":%q,`+
			`"EventTime":"1670574414123"}`, applyCommand, account)
	}
	gate := newGate(b, &input).handler
	for _, bc := range []struct {
		name, query, body string
		handler           http.Handler
		status            int
	}{
		{"bare", signed(query(applyCommand)), apply("user-500-999"), bare(), 0},
		{"apply admitted", signed(query(applyCommand)), apply("user-500-999"), gate, 200},
		{"apply refused", signed(query(applyCommand)), apply("mallory"), gate, 200},
		{"unauthenticated", query(applyCommand), apply("mallory"), gate, 401},
	} {
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			r := newReplay(bc.query, bc.body)
			for b.Loop() {
				r.through(bc.handler)
			}
			if r.status != bc.status {
				b.Errorf("status %d, want %d", r.status, bc.status)
			}
		})
	}
}
