package imrest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	testKey   = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
	testApp   = 1400000000
	testAdmin = "admin+1*"
	okAnswer  = `{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}`
)

// clock moves only with Sleep and move.
type clock struct {
	mu    sync.Mutex
	now   time.Time
	slept []time.Duration
}

func newClock() *clock { return &clock{now: time.Unix(1700000000, 0)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	c.slept = append(c.slept, d)
	return nil
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// request is a request that the vendor received.
type request struct {
	api   string
	query url.Values
	body  string
	at    time.Time
}

// vendor answers from a function and records the requests. A function that returns 0 has written the response itself.
type vendor struct {
	*httptest.Server
	clock *clock

	mu       sync.Mutex
	requests []request
}

func newVendor(t *testing.T, answer func(w http.ResponseWriter, n int, r request) (status int, body string)) *vendor {
	t.Helper()
	v := &vendor{clock: newClock()}
	v.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		api, ok := strings.CutPrefix(r.URL.Path, "/v4/group_open_http_svc/")
		if !ok || r.Method != http.MethodPost {
			t.Errorf("%s %s is no call of the group service", r.Method, r.URL.Path)
		}
		got := request{api: api, query: r.URL.Query(), body: string(body), at: v.clock.Now()}
		v.mu.Lock()
		v.requests = append(v.requests, got)
		n := len(v.requests)
		v.mu.Unlock()
		if status, text := answer(w, n, got); status != 0 {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
		}
	}))
	t.Cleanup(v.Close)
	return v
}

func (v *vendor) seen() []request {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.requests)
}

func (v *vendor) client(t *testing.T, edit ...func(*Config)) *Client {
	t.Helper()
	config := Config{
		Endpoint: v.URL, SDKAppID: testApp, AdminAccount: testAdmin, SecretKey: testKey, RequestsPerSecond: 200,
		Now: v.clock.Now, Sleep: v.clock.Sleep, HTTPClient: v.Server.Client(),
	}
	for _, edit := range edit {
		edit(&config)
	}
	client, err := NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// always gives every request the same response.
func always(status int, body string) func(http.ResponseWriter, int, request) (int, string) {
	return func(http.ResponseWriter, int, request) (int, string) { return status, body }
}

func refusal(code int, info string) string {
	return fmt.Sprintf(`{"ActionStatus":"FAIL","ErrorCode":%d,"ErrorInfo":%q}`, code, info)
}

// simplest makes a call that asks for no list.
func simplest(ctx context.Context, c *Client, notAfter time.Time) error {
	body := deleteRequest{GroupID: "g", Accounts: []string{"a"}}
	return c.do(ctx, call{api: apiDeleteMembers, body: body, notAfter: notAfter, decode: func(r response) error {
		return r.read(&status{})
	}})
}

func TestCallShape(t *testing.T) {
	v := newVendor(t, always(200, okAnswer))
	client := v.client(t)
	for range 20 {
		if err := simplest(t.Context(), client, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	randoms := map[string]bool{}
	for _, r := range v.seen() {
		if r.api != "delete_group_member" {
			t.Errorf("api %q", r.api)
		}
		q := r.query
		if q.Get("sdkappid") != "1400000000" || q.Get("identifier") != testAdmin || q.Get("contenttype") != "json" ||
			len(q) != 5 {
			t.Errorf("query %v", q)
		}
		if err := VerifyUserSig(q.Get("usersig"), testKey, testApp, testAdmin, v.clock.Now()); err != nil {
			t.Errorf("usersig: %v", err)
		}
		randoms[q.Get("random")] = true
	}
	if len(randoms) < 19 { // two of twenty are alike once in 23 million runs
		t.Errorf("%d different randoms in 20 calls", len(randoms))
	}
	if got, want := v.seen()[0].body, `{"GroupId":"g","MemberToDel_Account":["a"],"Silence":0}`; got != want {
		t.Errorf("body %s, want %s", got, want)
	}
}

func TestRetries(t *testing.T) {
	reset := func(w http.ResponseWriter, _ int, _ request) (int, string) {
		panic(http.ErrAbortHandler) // cuts the connection
	}
	truncated := func(w http.ResponseWriter, _ int, _ request) (int, string) {
		w.Header().Set("Content-Length", "1000")
		return 200, okAnswer
	}
	cases := map[string]struct {
		answer   func(http.ResponseWriter, int, request) (int, string)
		class    Class
		attempts int
		health   HealthState
		says     string
	}{
		"HTTP 502":         {always(502, "<html>"), ClassTransient, 5, HealthUnreachable, "HTTP status 502"},
		"HTTP 408":         {always(408, ""), ClassTransient, 5, HealthUnreachable, "HTTP status 408"},
		"HTTP 429":         {always(429, ""), ClassThrottled, 5, HealthThrottled, "HTTP status 429"},
		"HTTP 404":         {always(404, okAnswer), ClassTransient, 5, HealthUnreachable, "HTTP status 404"},
		"HTTP 204":         {always(204, ""), ClassTransient, 5, HealthUnreachable, "HTTP status 204"},
		"connection reset": {reset, ClassTransient, 5, HealthUnreachable, "EOF"},
		"truncated":        {truncated, ClassTransient, 5, HealthUnreachable, "unexpected EOF"},
		"half of the JSON": {always(200, okAnswer[:20]), ClassTransient, 5, HealthUnreachable,
			"it is not JSON"},
		"not JSON": {always(200, "<html>"), ClassTransient, 5, HealthUnreachable,
			"it is not JSON"},
		"empty": {always(200, ""), ClassTransient, 5, HealthUnreachable,
			"it is not JSON"},
		"data after the JSON": {always(200, okAnswer+okAnswer), ClassTransient, 5, HealthUnreachable,
			"it is not JSON"},
		"JSON of something else": {always(200, "{}"), ClassTransient, 5, HealthUnreachable, "no ErrorCode"},
		"over 4 MiB": {always(200, okAnswer+strings.Repeat(" ", maxResponse)), ClassTransient, 5,
			HealthUnreachable, "longer than 4194304 bytes"},
		"internal error": {always(200, refusal(10002, "try again")), ClassTransient, 5, HealthUnreachable,
			"delete_group_member: code 10002: try again"},
		"too frequent": {always(200, refusal(60007, "slow down")), ClassThrottled, 5, HealthThrottled,
			"code 60007: slow down"},
		"too many verifications": {always(200, refusal(70050, "wait")), ClassThrottled, 1, HealthThrottled,
			"code 70050"},
		"quota of the trial": {always(200, refusal(60028, "quota")), ClassThrottled, 1, HealthThrottled,
			"code 60028"},
		"not an admin": {always(200, refusal(60010, "who?")), ClassUnauthorized, 1, HealthUnauthorized,
			"code 60010: who?"},
		"expired, and again": {always(200, refusal(70001, "expired")), ClassUnauthorized, 2, HealthUnauthorized,
			"code 70001"},
		"group gone": {always(200, refusal(10010, "gone")), ClassGroupGone, 1, HealthReachable,
			"code 10010"},
		"group never was": {always(200, refusal(10015, "bad id")), ClassGroupGone, 1, HealthReachable,
			"code 10015"},
		"bad parameter": {always(200, refusal(10004, "no")), ClassPermanent, 1, HealthReachable,
			"code 10004"},
		"no permission": {always(200, refusal(10007, "no")), ClassUnauthorized, 1, HealthUnauthorized,
			"code 10007: no"},
		"undocumented": {always(200, refusal(123456, "odd")), ClassPermanent, 1, HealthReachable,
			"code 123456: odd"},
		"OK with a code": {always(200, `{"ActionStatus":"OK","ErrorCode":10004,"ErrorInfo":"x"}`),
			ClassPermanent, 1, HealthReachable, "code 10004"},
		"FAIL without a code": {always(200, `{"ActionStatus":"FAIL","ErrorCode":0,"ErrorInfo":"x"}`), ClassPermanent,
			1, HealthReachable, "ActionStatus is not OK. x"},
		"no ActionStatus": {always(200, `{"ErrorCode":0}`), ClassTransient, 5, HealthUnreachable,
			"no ActionStatus"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t, tc.answer)
			client := v.client(t)
			err := simplest(t.Context(), client, time.Time{})
			failed, ok := errors.AsType[*Error](err)
			if !ok || failed.Class != tc.class || ClassOf(fmt.Errorf("wrapped: %w", err)) != tc.class ||
				!strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v (class %q), want class %q saying %q", err, ClassOf(err), tc.class, tc.says)
			}
			if got := len(v.seen()); got != tc.attempts {
				t.Errorf("%d attempts, want %d", got, tc.attempts)
			}
			health := client.Health()
			if health.State != tc.health || (health.Message == "") != (tc.health == HealthReachable) {
				t.Errorf("health %+v, want state %s", health, tc.health)
			}
		})
	}
}

func TestRetryUntilItWorks(t *testing.T) {
	v := newVendor(t, func(_ http.ResponseWriter, n int, _ request) (int, string) {
		if n < 5 {
			return 503, ""
		}
		return 200, okAnswer
	})
	var results []string
	client := v.client(t, func(c *Config) {
		c.Observe = func(api, result string, _ time.Duration) { results = append(results, api+" "+result) }
	})
	if got := client.Health(); got != (Health{}) {
		t.Errorf("health before the first call: %+v", got)
	}
	if err := simplest(t.Context(), client, time.Time{}); err != nil {
		t.Fatal(err)
	}
	// Doubling from 200 ms, each up to half as much more or less.
	var gaps []time.Duration
	seen := v.seen()
	for i := 1; i < len(seen); i++ {
		gaps = append(gaps, seen[i].at.Sub(seen[i-1].at))
	}
	for i, gap := range gaps {
		if mid := minBackOff << i; gap < mid/2 || gap > mid*3/2+time.Second/200 {
			t.Errorf("gap %d is %s, want %s and up to half of it more or less", i, gap, mid)
		}
	}
	if diff := cmp.Diff([]string{"delete_group_member transient", "delete_group_member transient",
		"delete_group_member transient", "delete_group_member transient", "delete_group_member ok"},
		results); diff != "" {
		t.Errorf("observed: -want, +got:\n%s", diff)
	}
	if got, want := client.Health(), (Health{State: HealthReachable}); got != want {
		t.Errorf("health %+v, want %+v: what a repetition cures does not show", got, want)
	}
}

func TestBackOffIsCapped(t *testing.T) {
	if longest := minBackOff << (maxAttempts - 2) * 3 / 2; longest > longestWait {
		t.Errorf("the last delay may be %s, which a call does not wait out (%s)", longest, longestWait)
	}
}

func TestFrequencyLimitWaitsAtLeastASecond(t *testing.T) {
	v := newVendor(t, func(_ http.ResponseWriter, n int, _ request) (int, string) {
		if n == 1 {
			return 200, refusal(60018, "slow down")
		}
		return 200, okAnswer
	})
	if err := simplest(t.Context(), v.client(t), time.Time{}); err != nil {
		t.Fatal(err)
	}
	if seen := v.seen(); seen[1].at.Sub(seen[0].at) < time.Second {
		t.Errorf("second attempt after %s", seen[1].at.Sub(seen[0].at))
	}
}

// 70050 stops every call of the app for a minute; none of them waits for it, and the vendor sees none.
func TestVerificationPause(t *testing.T) {
	v := newVendor(t, func(_ http.ResponseWriter, n int, _ request) (int, string) {
		if n == 1 {
			return 200, refusal(70050, "wait")
		}
		return 200, `{"ActionStatus":"OK","ErrorCode":0,"MemberList":[]}`
	})
	client := v.client(t)
	for range 3 {
		_, _, err := client.MembersNamed(t.Context(), "g", []string{"a"}, time.Time{})
		failed, ok := errors.AsType[*Error](err)
		if !ok || failed.Class != ClassThrottled || failed.Code != 70050 || failed.RetryAfter <= 0 ||
			failed.RetryAfter > time.Minute {
			t.Fatalf("got %v (%+v), want a throttled 70050 with RetryAfter", err, failed)
		}
		v.clock.move(15 * time.Second)
	}
	if got := len(v.seen()); got != 1 {
		t.Errorf("%d requests in the pause, want 1", got)
	}
	if got := client.Health().State; got != HealthThrottled {
		t.Errorf("health %s in the pause", got)
	}
	// The last seconds of it are short enough to be waited out.
	v.clock.move(10 * time.Second)
	if _, _, err := client.MembersNamed(t.Context(), "g", []string{"a"}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	seen := v.seen()
	if got := seen[1].at.Sub(seen[0].at); got < time.Minute {
		t.Errorf("next request after %s, want a minute", got)
	}
}

// An outage that one call meets delays the others too.
func TestOutagePauseIsShared(t *testing.T) {
	v := newVendor(t, func(_ http.ResponseWriter, _ int, r request) (int, string) {
		if r.api == apiDeleteMembers {
			return 502, ""
		}
		return 200, `{"ActionStatus":"OK","ErrorCode":0,"MemberList":[]}`
	})
	client := v.client(t)
	if err := simplest(t.Context(), client, time.Time{}); ClassOf(err) != ClassTransient {
		t.Fatal(err)
	}
	failedAt := v.clock.Now()
	if _, _, err := client.MembersNamed(t.Context(), "g", []string{"a"}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if got := v.clock.Now().Sub(failedAt); got < (minBackOff<<4)/2 {
		t.Errorf("the next call waited %s only", got)
	}
	// A failure that is about one call delays no other.
	v2 := newVendor(t, func(_ http.ResponseWriter, _ int, r request) (int, string) {
		if r.api == apiDeleteMembers {
			return 200, refusal(10002, "")
		}
		return 200, `{"ActionStatus":"OK","ErrorCode":0,"MemberList":[]}`
	})
	client = v2.client(t)
	if err := simplest(t.Context(), client, time.Time{}); ClassOf(err) != ClassTransient {
		t.Fatal(err)
	}
	failedAt = v2.clock.Now()
	if _, _, err := client.MembersNamed(t.Context(), "g", []string{"a"}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if got := v2.clock.Now().Sub(failedAt); got > time.Second/200 {
		t.Errorf("the next call waited %s for the trouble of another", got)
	}
}

func TestLimiterIsSharedAndSurvivesUpdate(t *testing.T) {
	v := newVendor(t, always(200, okAnswer))
	client := v.client(t, func(c *Config) { c.RequestsPerSecond = 10 })
	started := v.clock.Now()
	for range 11 {
		if err := simplest(t.Context(), client, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	if got := v.clock.Now().Sub(started); got != time.Second {
		t.Errorf("11 calls at 10 per second took %s, want 1s", got)
	}
	config := client.settings()
	config.RequestsPerSecond, config.SecretKey = 1, "another"
	if err := client.Update(config); err != nil {
		t.Fatal(err)
	}
	started = v.clock.Now()
	for range 3 {
		if err := simplest(t.Context(), client, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	if got := v.clock.Now().Sub(started); got < 2900*time.Millisecond {
		t.Errorf("3 more calls at 1 per second took %s: the limiter started anew", got)
	}
	last := v.seen()[13]
	if err := VerifyUserSig(last.query.Get("usersig"), "another", testApp, testAdmin, v.clock.Now()); err != nil {
		t.Errorf("the changed key is not used: %v", err)
	}
}

func TestUpdateKeepsThePauseOfTheSameIdentity(t *testing.T) {
	v := newVendor(t, func(_ http.ResponseWriter, n int, _ request) (int, string) {
		if n == 1 {
			return 200, refusal(70050, "wait")
		}
		return 200, okAnswer
	})
	client := v.client(t)
	_ = simplest(t.Context(), client, time.Time{})
	config := client.settings()
	config.RequestsPerSecond = 7
	if err := client.Update(config); err != nil {
		t.Fatal(err)
	}
	if err := simplest(t.Context(), client, time.Time{}); ClassOf(err) != ClassThrottled {
		t.Errorf("after another rate: %v, want the pause to go on", err)
	}
	config.SecretKey = "the right one"
	if err := client.Update(config); err != nil {
		t.Fatal(err)
	}
	if got := client.Health(); got != (Health{}) {
		t.Errorf("health %+v after another key, want none", got)
	}
	if err := simplest(t.Context(), client, time.Time{}); err != nil {
		t.Errorf("after another key: %v", err)
	}
	config.SecretKey = ""
	if err := client.Update(config); err == nil {
		t.Error("updated to no key")
	}
	if got := client.settings().SecretKey; got != "the right one" {
		t.Error("an update that is refused changes the config")
	}
}

func TestUserSigIsCachedAndRenewed(t *testing.T) {
	v := newVendor(t, func(_ http.ResponseWriter, n int, _ request) (int, string) {
		if n == 4 {
			return 200, refusal(70001, "expired")
		}
		return 200, okAnswer
	})
	client := v.client(t)
	steps := []time.Duration{0, userSigLife/2 - time.Minute, 2 * time.Minute, time.Minute, -time.Hour}
	for _, step := range steps {
		v.clock.move(step)
		if err := simplest(t.Context(), client, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	var sigs []string
	for _, r := range v.seen() {
		sigs = append(sigs, r.query.Get("usersig"))
	}
	// Request 4 is refused as expired and repeated as 5.
	for i, same := range []bool{true, false, true, false, false} {
		if (sigs[i] == sigs[i+1]) != same {
			t.Errorf("requests %d and %d have the same UserSig: %t, want %t", i+1, i+2, !same, same)
		}
	}
}

func TestNotAfter(t *testing.T) {
	v := newVendor(t, always(503, ""))
	client := v.client(t, func(c *Config) { c.RequestsPerSecond = 1 })
	start := v.clock.Now()
	call := func(notAfter time.Time) error {
		return simplest(t.Context(), client, notAfter)
	}
	// In the past: nothing is sent.
	err := call(start.Add(-time.Nanosecond))
	if !errors.Is(err, ErrTooLate) || len(v.seen()) != 0 {
		t.Errorf("in the past: %v after %d requests, want ErrTooLate and none", err, len(v.seen()))
	}
	// Retries stop at that time, and no sleep goes beyond it.
	err = call(start.Add(2500 * time.Millisecond))
	if !errors.Is(err, ErrTooLate) || ClassOf(err) != "" {
		t.Errorf("%v (class %q), want ErrTooLate and no class", err, ClassOf(err))
	}
	for _, r := range v.seen() {
		if r.at.After(start.Add(2500 * time.Millisecond)) {
			t.Errorf("an attempt started after %s", r.at.Sub(start))
		}
	}
	if n := len(v.seen()); n < 2 || v.clock.Now().After(start.Add(2500*time.Millisecond)) {
		t.Errorf("%d attempts, given up at %s; want at least 2 and no sleep beyond the moment", n,
			v.clock.Now().Sub(start))
	}
	// The limiter admits the call too late.
	sent := len(v.seen())
	v.clock.move(time.Minute)
	_ = call(v.clock.Now()) // takes the slot of this second
	if err := call(v.clock.Now().Add(time.Millisecond)); !errors.Is(err, ErrTooLate) || len(v.seen()) != sent+1 {
		t.Errorf("behind the limiter: %v after %d requests, want ErrTooLate and one", err, len(v.seen())-sent)
	}
}

// A vendor that answers too slowly for a second attempt is unreachable, although the call ends for lack of time.
func TestOutageShowsWhereACallRunsOutOfTime(t *testing.T) {
	var v *vendor
	v = newVendor(t, func(http.ResponseWriter, int, request) (int, string) {
		v.clock.move(attemptTimeout)
		return http.StatusBadGateway, ""
	})
	client := v.client(t)
	_, err := client.Group(t.Context(), "g", v.clock.Now().Add(attemptTimeout))
	if !errors.Is(err, ErrTooLate) || ClassOf(err) != "" || !strings.Contains(err.Error(), "HTTP status 502") {
		t.Errorf("%v (class %q), want ErrTooLate that tells the HTTP status, and no class", err, ClassOf(err))
	}
	if got := client.Health(); got.State != HealthUnreachable || !strings.Contains(got.Message, "HTTP status 502") {
		t.Errorf("health %+v, want Unreachable", got)
	}
}

func TestLateCallTakesNoSlot(t *testing.T) {
	v := newVendor(t, always(200, okAnswer))
	client := v.client(t, func(c *Config) { c.RequestsPerSecond = 1 })
	if err := simplest(t.Context(), client, time.Time{}); err != nil {
		t.Fatal(err)
	}
	start := v.clock.Now()
	for range 5 {
		if err := simplest(t.Context(), client, start); !errors.Is(err,
			ErrTooLate) {
			t.Fatal(err)
		}
	}
	if err := simplest(t.Context(), client, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if got := v.clock.Now().Sub(start); got > time.Second {
		t.Errorf("waited %s, want 1s", got)
	}
}

func TestContextEnds(t *testing.T) {
	cause := errors.New("term is over")
	ctx, cancel := context.WithCancelCause(t.Context())
	v := newVendor(t, func(http.ResponseWriter, int, request) (int, string) {
		cancel(cause)
		return 503, ""
	})
	client := v.client(t)
	err := simplest(ctx, client, time.Time{})
	if !errors.Is(err, cause) || ClassOf(err) != "" {
		t.Errorf("%v (class %q), want the cause and no class", err, ClassOf(err))
	}
	if got := len(v.seen()); got != 1 {
		t.Errorf("%d attempts after the context ended", got)
	}
	if got := client.Health(); got != (Health{}) {
		t.Errorf("health %+v: a context that ends says nothing about the vendor", got)
	}
}

func TestRealSleepEndsWithTheContext(t *testing.T) {
	cause := errors.New("over")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if err := sleep(ctx, time.Hour); !errors.Is(err, cause) {
		t.Errorf("sleep: %v, want the cause", err)
	}
	if err := sleep(t.Context(), time.Nanosecond); err != nil {
		t.Errorf("sleep: %v", err)
	}
}

// attemptOver is a transport whose attempts all time out.
type attemptOver struct{ limits []time.Duration }

func (a *attemptOver) RoundTrip(r *http.Request) (*http.Response, error) {
	deadline, _ := r.Context().Deadline()
	a.limits = append(a.limits, time.Until(deadline))
	return nil, context.DeadlineExceeded
}

func TestAttemptsHaveATimeLimit(t *testing.T) {
	v := newVendor(t, always(200, okAnswer))
	over := &attemptOver{}
	client := v.client(t, func(c *Config) { c.HTTPClient = &http.Client{Transport: over} })
	if err := simplest(t.Context(), client, time.Time{}); ClassOf(err) != ClassTransient {
		t.Errorf("%v, want a transient failure", err)
	}
	if len(over.limits) != maxAttempts {
		t.Errorf("%d attempts, want %d", len(over.limits), maxAttempts)
	}
	for _, limit := range over.limits {
		if limit > attemptTimeout || limit <= 0 {
			t.Errorf("an attempt may take %s", limit)
		}
	}
	if attemptTimeout <= 3*time.Second {
		t.Error("the vendor's own backend gives up after 3s; its answer must be seen")
	}
}

func TestRedirectsAreRefused(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("followed to %s", r.Host)
	}))
	t.Cleanup(elsewhere.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		v := newVendor(t, func(w http.ResponseWriter, _ int, _ request) (int, string) {
			w.Header().Set("Location", elsewhere.URL)
			return status, ""
		})
		err := simplest(t.Context(), v.client(t, func(c *Config) { c.HTTPClient = &http.Client{} }), time.Time{})
		failed, ok := errors.AsType[*Error](err)
		if !ok || failed.HTTPStatus != status || failed.Class != ClassTransient {
			t.Errorf("%d: got %v", status, err)
		}
	}
}

// No error and no way of printing shows the key or the UserSig.
func TestNothingSecretShows(t *testing.T) {
	echo := func(_ http.ResponseWriter, _ int, r request) (int, string) {
		sig := r.query.Get("usersig")
		return 200, refusal(60010, "bad request: usersig="+sig+"&x="+url.QueryEscape(sig)+" key "+testKey+"\n\x00 end")
	}
	leaky := func(r *http.Request) (*http.Response, error) { return nil, fmt.Errorf("cannot send to %s", r.URL) }
	cases := map[string]struct {
		answer func(http.ResponseWriter, int, request) (int, string)
		edit   func(*Config)
	}{
		"the vendor repeats it": {answer: echo, edit: func(*Config) {}},
		"connection refused":    {answer: echo, edit: func(c *Config) { c.Endpoint = "http://127.0.0.1:1" }},
		"not TLS": {answer: echo, edit: func(c *Config) {
			c.Endpoint = strings.Replace(c.Endpoint,
				"http:", "https:", 1)
		}},
		"a transport's error": {answer: echo,
			edit: func(c *Config) { c.HTTPClient = &http.Client{Transport: roundTrip(leaky)} }},
		"reset": {answer: func(http.ResponseWriter, int, request) (int,
			string) {
			panic(http.ErrAbortHandler)
		}, edit: func(*Config) {}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t, tc.answer)
			client := v.client(t, tc.edit)
			err := simplest(t.Context(), client, time.Time{})
			if err == nil {
				t.Fatal("no error")
			}
			sig := client.sig.text
			if sig == "" {
				t.Fatal("no signature was made")
			}
			var texts []string
			for cause := err; cause != nil; cause = errors.Unwrap(cause) {
				texts = append(texts, cause.Error(), fmt.Sprintf("%+v %#v", cause, cause))
			}
			config := client.settings()
			for _, value := range []any{client, config, &config, client.Health(), []any{config}} {
				texts = append(texts, fmt.Sprintf("%v %+v %#v %s %d", value, value, value, value, value))
			}
			var logged strings.Builder
			slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "config", config, "err", err)
			texts = append(texts, logged.String())
			for _, text := range texts {
				for _, secret := range []string{sig, url.QueryEscape(sig), testKey} {
					if strings.Contains(text, secret) {
						t.Errorf("a secret shows in %s", text)
					}
				}
				if strings.Contains(text, "usersig=eJ") || strings.Contains(text, "sdkappid=") {
					t.Errorf("a URL shows in %s", text)
				}
			}
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestErrorInfoIsOneBoundedLine(t *testing.T) {
	v := newVendor(t, always(200, refusal(10004, "a\n\tb"+strings.Repeat("é", 500))))
	failed, ok := errors.AsType[*Error](simplest(t.Context(), v.client(t), time.Time{}))
	if !ok || len(failed.Info) > maxInfo || !strings.HasPrefix(failed.Info, "a  b") ||
		!json.Valid([]byte(`"`+failed.Info+`"`)) {
		t.Errorf("Info %q", failed.Info)
	}
}

func TestConfigIsChecked(t *testing.T) {
	good := Config{Endpoint: "https://im.example.com", SDKAppID: 1, AdminAccount: "a", SecretKey: "k"}
	if client, err := NewClient(good); err != nil || client.limiter.interval != time.Second/20 {
		t.Errorf("NewClient: %v, want 20 requests per second by default", err)
	}
	for name, edit := range map[string]func(*Config){
		"plain http":  func(c *Config) { c.Endpoint = "http://im.example.com" },
		"no endpoint": func(c *Config) { c.Endpoint = "" },
		"no app":      func(c *Config) { c.SDKAppID = 0 },
		"no admin":    func(c *Config) { c.AdminAccount = "" },
		"no key":      func(c *Config) { c.SecretKey = "" },
		"rate < 0":    func(c *Config) { c.RequestsPerSecond = -1 },
		"rate > 200":  func(c *Config) { c.RequestsPerSecond = 201 },
	} {
		config := good
		edit(&config)
		if _, err := NewClient(config); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestConnectionsAreReused(t *testing.T) {
	v := newVendor(t, always(200, okAnswer))
	addresses := map[string]bool{}
	handler := v.Config.Handler
	v.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		addresses[r.RemoteAddr] = true
		handler.ServeHTTP(w, r)
	})
	client := v.client(t, func(c *Config) { c.HTTPClient = nil })
	t.Cleanup(client.Close)
	for range 10 {
		if err := simplest(t.Context(), client, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	if len(addresses) != 1 {
		t.Errorf("10 calls over %d connections", len(addresses))
	}
}

func TestConcurrentCalls(t *testing.T) {
	v := newVendor(t, func(_ http.ResponseWriter, n int, _ request) (int, string) {
		if n%7 == 0 {
			return 502, ""
		}
		return 200, okAnswer
	})
	client := v.client(t)
	var calls sync.WaitGroup
	for range 20 {
		calls.Go(func() {
			_ = simplest(t.Context(), client, time.Time{})
			_ = client.Health()
			_ = client.Update(client.settings())
		})
	}
	calls.Wait()
	if got := client.Health().State; got == HealthUnknown {
		t.Error("no health after 20 calls")
	}
}
