package webhookserver

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"

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

// TestHandlerAllocations: what remains are the strings read from the body, and Content-Length where it varies.
func TestHandlerAllocations(t *testing.T) {
	g := newGate(t, members("jared"))
	tests := map[string]struct {
		query, body string
		most        float64
	}{
		"apply, admitted":   {signed(query(applyCommand)), applyBody("jared"), 4},
		"apply, refused":    {signed(query(applyCommand)), applyBody("mallory"), 6},
		"invite, in part":   {signed(query(inviteCommand)), inviteBody("jared", "mallory"), 10},
		"full, not pruned":  {signed(query(fullCommand)), fullBody(group), 3},
		"another command":   {signed(query(otherCommand)), `{"CallbackCommand":"` + otherCommand + `","MsgBody":[{"a":1}]}`, 3},
		"unauthenticated":   {query(applyCommand), applyBody("jared"), 2},
		"of an unknown app": {"SdkAppid=7", applyBody("jared"), 2},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			r := newReplay(tc.query, tc.body)
			got := testing.AllocsPerRun(200, func() { r.through(g.handler) })
			t.Logf("%v allocations", got)
			if got > tc.most {
				t.Errorf("%v allocations, want at most %v", got, tc.most)
			}
		})
	}
}

// BenchmarkHandler is one signed callback against 1,000 groups that admit 1,000 accounts each.
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
		return fmt.Sprintf(`{"CallbackCommand":%q,"GroupId":"group-500","Type":"Public","Requestor_Account":%q,"EventTime":"1670574414123"}`, applyCommand, account)
	}
	gate := newGate(b, &input)
	for _, bc := range []struct {
		name, query, body string
		status            int
	}{
		{"apply admitted", signed(query(applyCommand)), apply("user-500-999"), 200},
		{"apply refused", signed(query(applyCommand)), apply("mallory"), 200},
		{"unauthenticated", query(applyCommand), apply("mallory"), 401},
	} {
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			r := newReplay(bc.query, bc.body)
			for b.Loop() {
				r.through(gate.handler)
			}
			if r.status != bc.status {
				b.Errorf("status %d, want %d", r.status, bc.status)
			}
		})
	}
}
