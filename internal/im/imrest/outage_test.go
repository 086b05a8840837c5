package imrest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const quick = 50 * time.Millisecond

// backend answers every call alike, after a delay, in the time of a synctest bubble.
type backend struct {
	answer atomic.Pointer[outageAnswer]
	mu     sync.Mutex
	at     []time.Time
}

type outageAnswer struct {
	status int
	body   string
	delay  time.Duration
}

// RoundTrip implements http.RoundTripper.
func (b *backend) RoundTrip(r *http.Request) (*http.Response, error) {
	b.mu.Lock()
	b.at = append(b.at, time.Now())
	b.mu.Unlock()
	answer := b.answer.Load()
	if err := sleep(r.Context(), answer.delay); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: answer.status, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader(answer.body))}, nil
}

// since is how many calls have arrived after at.
func (b *backend) since(at time.Time) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, call := range b.at {
		if !call.Before(at) {
			n++
		}
	}
	return n
}

func bubbleClient(t *testing.T, transport http.RoundTripper) *Client {
	t.Helper()
	client, err := NewClient(Config{
		Endpoint: "https://im.example.com", SDKAppID: testApp, AdminAccount: testAdmin, SecretKey: testKey,
		HTTPClient: &http.Client{Transport: transport},
	})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

const groupAnswer = `{"GroupInfo":[{"GroupId":"g","Type":"Public","MemberNum":7,"MaxMemberNum":200}]}`

// 100 runs wait for the vendor, and each begins anew a second after its call has failed.
func TestVendorThatIsOutOfOrderIsCalledAtMostOnceASecond(t *testing.T) {
	cases := map[string]struct {
		outageAnswer
		says string
	}{
		"HTTP 502":          {outageAnswer{502, "", quick}, "HTTP status 502"},
		"60008":             {outageAnswer{200, refusal(60008, "timeout"), quick}, "code 60008: timeout"},
		"60008 after 3 s":   {outageAnswer{200, refusal(60008, "timeout"), 3 * time.Second}, "code 60008: timeout"},
		"HTML":              {outageAnswer{200, "<html>", quick}, "not JSON"},
		"nothing":           {outageAnswer{200, "", quick}, "not JSON"},
		"no answer":         {outageAnswer{200, "", time.Hour}, "deadline exceeded"},
		"internal error":    {outageAnswer{200, refusal(10002, "internal"), quick}, "code 10002: internal"},
		"OK without a list": {outageAnswer{200, okAnswer, quick}, "no group in GroupInfo"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				vendor := &backend{}
				vendor.answer.Store(&tc.outageAnswer)
				client := bubbleClient(t, vendor)
				ctx, stop := context.WithCancel(t.Context())
				var runs sync.WaitGroup
				var silent, recovered atomic.Int64
				for range 100 {
					runs.Go(func() {
						for ctx.Err() == nil {
							_, err := client.Group(ctx, "g", time.Time{})
							switch {
							case err == nil:
								recovered.Add(1)
								return
							case ctx.Err() == nil && !strings.Contains(err.Error(), tc.says):
								silent.Add(1)
								t.Errorf("the error does not say what the vendor says: %v", err)
							}
							advance(ctx, time.Second)
						}
					})
				}
				begin := time.Now()
				advance(ctx, 11*time.Minute)
				calls := vendor.since(begin.Add(time.Minute))
				t.Logf("%d calls in the first minute, %d in the 10 minutes after it", vendor.since(begin)-calls, calls)
				if calls > 600 || calls < 10 {
					t.Errorf("%d calls in 10 minutes, want at most one a second, and still some", calls)
				}
				health := client.Health()
				if health.State != HealthUnreachable || !strings.Contains(health.Message, tc.says) {
					t.Errorf("health %+v, want Unreachable, saying %q", health, tc.says)
				}
				vendor.answer.Store(&outageAnswer{200, groupAnswer, quick})
				advance(ctx, longestOutagePause+time.Minute)
				if got := recovered.Load(); got != 100 {
					t.Errorf("%d of 100 runs went on after the vendor did", got)
				}
				stop()
				runs.Wait()
			})
		})
	}
}

// A call that fails for its own reasons, again and again, is no outage while others succeed.
func TestTroubleOfOneGroupSlowsDownNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := bubbleClient(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(r.Body)
			answer := groupAnswer
			if strings.Contains(string(body), "bad") {
				answer = refusal(10002, "internal")
			}
			advance(r.Context(), 10*time.Millisecond)
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{},
				Body: io.NopCloser(strings.NewReader(answer))}, err
		}))
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		var calls sync.WaitGroup
		calls.Go(func() {
			for ctx.Err() == nil {
				_, _ = client.Group(ctx, "bad", time.Time{})
			}
		})
		good := 0
		for ctx.Err() == nil {
			if _, err := client.Group(ctx, "g", time.Time{}); err == nil {
				good++
			} else if !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		}
		calls.Wait()
		if good < 1000 {
			t.Errorf("%d calls of another group in a minute, want nearly 20 a second", good)
		}
	})
}
