package webhookserver

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/policy"
)

func TestWindow(t *testing.T) {
	tests := map[string]struct {
		skew time.Duration // our clock minus RequestTime
		want string
	}{
		"no skew":         {0, "200 OK 0"},
		"60 s late":       {60 * time.Second, "200 OK 0"},
		"over 60 s late":  {60*time.Second + time.Millisecond, "401 FAIL 1"},
		"60 s early":      {-60 * time.Second, "200 OK 0"},
		"over 60 s early": {-60*time.Second - time.Millisecond, "401 FAIL 1"},
		"replayed":        {time.Hour, "401 FAIL 1"},
		"of another age":  {-1e6 * time.Hour, "401 FAIL 1"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := startGate(t, members("jared"), func(s *Server) {
				s.Now = func() time.Time { return wallClock.Add(tc.skew) }
			})
			got := g.post(t, signed(query(applyCommand)), applyBody("jared"))
			if got.shape() != tc.want {
				t.Errorf("got %s, want %s", got.shape(), tc.want)
			}
			wantSkew, wantExpired := tc.skew.Seconds(), 0.0
			if got.Status != 200 {
				wantSkew, wantExpired = 0, 1
			}
			if got := g.count(t, "callback_clock_skew_seconds"); got != wantSkew {
				t.Errorf("callback_clock_skew_seconds is %v, want %v", got, wantSkew)
			}
			if got := g.count(t, "callback_auth_failures_total", "expired"); got != wantExpired {
				t.Errorf("counted as expired: %v, want %v", got, wantExpired)
			}
		})
	}
}

// TestClockSkewIsMeasuredByTheVendorOnly: an unauthenticated client must neither raise an alert nor hide one.
func TestClockSkewIsMeasuredByTheVendorOnly(t *testing.T) {
	g := startGate(t, members("jared"))
	g.post(t, signedBy(token, wallClock.Add(-7*time.Second), query(applyCommand)), applyBody("jared"))
	g.post(t, signedBy("forged", wallClock.Add(-50*time.Second), query(applyCommand)), applyBody("jared"))
	if got := g.count(t, "callback_clock_skew_seconds"); got != 7 {
		t.Errorf("callback_clock_skew_seconds is %v, want 7", got)
	}
}

func TestTokenRotation(t *testing.T) {
	app := func(tokens ...policy.Token) *policy.Snapshot {
		input := members("jared")
		input.Apps[0].Tokens = tokens
		return policy.Compile(*input)
	}
	current := func(value policy.Secret) policy.Token {
		return policy.Token{Name: policy.TokenCurrent, Value: value}
	}
	previous := func(value policy.Secret) policy.Token {
		return policy.Token{Name: policy.TokenPrevious, Value: value}
	}
	g := startGate(t, nil)
	steps := []struct {
		name     string
		snapshot *policy.Snapshot
		signer   string
		want     int
		verified map[string]float64
	}{
		{"before", app(current("old")), "old", 200, map[string]float64{"current": 1}},
		{"both, vendor still old", app(current("new"), previous("old")), "old", 200, map[string]float64{"current": 1,
			"previous": 1}},
		{"both, vendor already new", app(current("new"), previous("old")), "new", 200, map[string]float64{"current": 2,
			"previous": 1}},
		{"both, order does not matter", app(previous("old"), current("new")), "new", 200,
			map[string]float64{"current": 3, "previous": 1}},
		{"after, old refused", app(current("new")), "old", 401, map[string]float64{"current": 3, "previous": 1}},
		{"after", app(current("new")), "new", 200, map[string]float64{"current": 4, "previous": 1}},
		{"current empty, previous holds", app(current(""), previous("old")), "old", 200,
			map[string]float64{"current": 4, "previous": 2}},
		{"both the same", app(current("old"), previous("old")), "old", 200, map[string]float64{"current": 5,
			"previous": 2}},
		{"empty verifies nothing", app(current(""), previous("old")), "", 401, map[string]float64{"current": 5,
			"previous": 2}},
	}
	for _, step := range steps {
		g.store.Publish(step.snapshot)
		got := g.post(t, signedBy(step.signer, wallClock, query(applyCommand)), applyBody("jared"))
		if got.Status != step.want {
			t.Errorf("%s: status %d, want %d", step.name, got.Status, step.want)
		}
		if diff := cmp.Diff(step.verified, g.moved(t, "callback_auth_token_total")); diff != "" {
			t.Errorf("%s: callback_auth_token_total (-want,+got):\n%s", step.name, diff)
		}
	}
}

// TestSignInUpperCase: the vendor documents hex, but not its case.
func TestSignInUpperCase(t *testing.T) {
	g := startGate(t, members("jared"))
	before, rest, _ := strings.Cut(signed(query(applyCommand)), "&Sign=")
	sign, after, _ := strings.Cut(rest, "&")
	if got := g.post(t, before+"&Sign="+strings.ToUpper(sign)+"&"+after, applyBody("jared")); got.Status != 200 {
		t.Errorf("got %s", got.shape())
	}
}

// TestAppsAreKeptApart: the token of one app verifies no other app.
func TestAppsAreKeptApart(t *testing.T) {
	input := members("jared")
	second := theApp()
	second.Object, second.SDKAppID = object("second"), 1400000001
	second.Tokens = []policy.Token{{Name: policy.TokenCurrent, Value: "another"}}
	input.Apps = append(input.Apps, second)
	g := startGate(t, input)

	other := strings.Replace(query(applyCommand), "1400000000", "1400000001", 1)
	if got := g.post(t, signed(other), applyBody("mallory")); got.Status != 401 {
		t.Errorf("another app's token: got %s, want 401", got.shape())
	}
	if got, want := g.post(t, signedBy("another", wallClock, other), applyBody("mallory")).shape(),
		"200 OK 0"; got != want {
		t.Errorf("another app's policies: got %s, want %s", got, want)
	}
	if got, want := g.post(t, signed(query(applyCommand)), applyBody("mallory")).shape(), "200 OK 10110"; got != want {
		t.Errorf("own policies: got %s, want %s", got, want)
	}
}
