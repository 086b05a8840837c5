package webhookserver

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/policy"
)

// broken panics in all calls of the server, but for the snapshot only once, since metrics load it, too.
type broken struct{ loaded atomic.Bool }

func (b *broken) Load() *policy.Snapshot {
	if b.loaded.CompareAndSwap(false, true) {
		panic("no snapshot today")
	}
	return nil
}
func (*broken) GroupFull(policy.Object, string) { panic("no intake today") }

// TestPanicAdmitsNoUser: a connection that is closed without an answer lets the user in.
func TestPanicAdmitsNoUser(t *testing.T) {
	noSnapshots := func(s *Server) { s.Snapshots = new(broken) }
	noIntake := func(s *Server) { s.FullGroups = new(broken) }
	tests := map[string]struct {
		breaks      func(*Server)
		query, body string
		want        string
		counted     string
	}{
		"application": {noSnapshots, signed(query(applyCommand)), applyBody("jared"), "200 OK 1",
			applyCommand + " failed"},
		"invitation": {noSnapshots, signed(query(inviteCommand)), inviteBody("jared"), "200 OK 1",
			inviteCommand + " failed"},
		"may be an application": {noSnapshots, signed(query("Group.CallbackBeforeAplyJoinGroup")), applyBody("jared"),
			"200 OK 1", "other failed"},
		"no command": {noSnapshots, signed("SdkAppid=1400000000"), applyBody("jared"), "200 OK 1",
			"other failed"},
		"another command": {noSnapshots, signed(query(otherCommand)), "{}", "500 FAIL 1", "other failed"},
		"full group": {noIntake, signed(query(fullCommand)), fullBody(group), "500 FAIL 1", fullCommand +
			" failed"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var log strings.Builder
			g := startGate(t, prunable(group), tc.breaks, func(s *Server) {
				s.Log = funcr.New(func(_, line string) { log.WriteString(line + "\n") }, funcr.Options{})
			})
			if got := g.post(t, tc.query, tc.body); got.shape() != tc.want {
				t.Errorf("got %s, want %s", got.shape(), tc.want)
			}
			if diff := cmp.Diff(map[string]float64{tc.counted: 1}, g.moved(t, "callback_requests_total")); diff != "" {
				t.Errorf("callback_requests_total (-want,+got):\n%s", diff)
			}
			g.stop()
			if got := log.String(); !strings.Contains(got, "today") || !strings.Contains(got, "rescue_test.go") {
				t.Errorf("the log does not say what failed where:\n%s", got)
			}
			if got := log.String(); strings.Contains(got, "Sign=") || strings.Contains(got, "jared") {
				t.Errorf("the log says too much:\n%s", got)
			}
		})
	}
}

// TestRejectionIsNeverCodeZero: whatever package policy returns, a refusal must not read as an admission.
func TestRejectionIsNeverCodeZero(t *testing.T) {
	if got := new(exchange).rejection(&policy.Verdict{}); string(got.body) != string(rejected.body) {
		t.Errorf("got %s, want %s", got.body, rejected.body)
	}
}
