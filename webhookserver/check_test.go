package webhookserver

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/callbackhealth"
	"github.com/groupgate/groupgate/internal/im/callback"
	"github.com/groupgate/groupgate/internal/policy"
)

// A probe says whether a token is right, and is taken for no callback of the vendor's.
func TestCheckCountsForNothing(t *testing.T) {
	probe := query(string(callback.CommandCheck))
	other := "SdkAppid=7&CallbackCommand=" + string(callback.CommandCheck)
	tests := map[string]struct {
		query, body, want string
		counts            bool // as a callback of the vendor's
	}{
		"a right token":          {query: signed(probe), want: "200 OK 0"},
		"whatever the body says": {query: signed(probe), body: fullBody(group), want: "200 OK 0"},
		"a wrong token":          {query: signedBy("other", wallClock, probe), want: "401 FAIL 1"},
		"no token":               {query: probe, want: "401 FAIL 1"},
		"signed long ago":        {query: signedBy(token, wallClock.Add(-2*time.Minute), probe), want: "401 FAIL 1"},
		"signed twice":           {query: signed(signed(probe)), want: "401 FAIL 1"},
		"another app":            {query: signedBy(token, wallClock, other), want: "403 FAIL 1"},
		"a probe that names a join, too": {
			query: signed(probe) + "&CallbackCommand=" + applyCommand, body: applyBody("eve"), want: "200 OK 1",
			counts: true,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			health := new(callbackhealth.Recorder)
			g := startGate(t, members("jared"), func(s *Server) { s.Health = health })
			if diff := cmp.Diff(tc.want, g.post(t, tc.query, tc.body).shape()); diff != "" {
				t.Errorf("answer (-want,+got)\n%s", diff)
			}
			app := theApp()
			seen := health.Seen(callbackhealth.ID{Namespace: app.Namespace, Name: app.Name, UID: app.UID})
			if counted := seen != (callbackhealth.Seen{}); counted != tc.counts {
				t.Errorf("seen: %+v", seen)
			}
			if groups := g.full.groups(); len(groups) > 0 {
				t.Errorf("full groups %q", groups)
			}
			failures := g.moved(t, "groupgate_callback_auth_failures_total")
			if len(failures) > 0 {
				t.Errorf("failures %v", failures)
			}
		})
	}
	none := members("jared")
	none.Apps[0].Authentication = policy.AuthenticateNone
	if got := startGate(t, none).post(t, probe, "").shape(); got != "200 OK 0" {
		t.Errorf("an app without authentication: %s", got)
	}
}
