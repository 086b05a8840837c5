package imrest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var hello = Message{GroupID: "g", Text: `a "<b>" & c`, Random: 7}

func TestSendGroupMessageBody(t *testing.T) {
	v := newVendor(t, always(200, `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"MsgTime":1,"MsgSeq":1}`))
	if err := v.client(t).SendGroupMessage(t.Context(), hello, time.Time{}); err != nil {
		t.Fatal(err)
	}
	got := v.seen()[0]
	if want := `{"GroupId":"g","Random":7,"MsgBody":[{"MsgType":"TIMTextElem",` +
		`"MsgContent":{"Text":"a \"\u003cb\u003e\" \u0026 c"}}]}`; got.api != "send_group_msg" || got.body != want {
		t.Errorf("%s %s, want %s", got.api, got.body, want)
	}
}

// A message that may have been sent must not be sent again, and one that was not must not be given up.
func TestHadNoEffect(t *testing.T) {
	refused := func(code int) func(http.ResponseWriter, int, request) (int, string) {
		return always(200, refusal(code, "no"))
	}
	cases := map[string]struct {
		answer func(http.ResponseWriter, int, request) (int, string)
		want   bool
		calls  int
	}{
		"no such group":            {refused(10010), true, 1},
		"refused for its text":     {refused(80001), true, 1},
		"called too often":         {refused(60007), true, maxAttempts},
		"internal error":           {refused(10002), false, 1},
		"the vendor's own timeout": {refused(60008), false, 1},
		"a proxy":                  {always(502, ""), false, 1},
		"not JSON":                 {always(200, "<html>"), false, 1},
		"cut off": {func(http.ResponseWriter, int, request) (int, string) {
			panic(http.ErrAbortHandler)
		}, false, 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t, tc.answer)
			err := v.client(t).SendGroupMessage(t.Context(), hello, time.Time{})
			if got := HadNoEffect(err); err == nil || got != tc.want {
				t.Errorf("%v: HadNoEffect = %v, want %v", err, got, tc.want)
			}
			if got := len(v.seen()); got != tc.calls {
				t.Errorf("%d calls, want %d", got, tc.calls)
			}
		})
	}
	t.Run("no connection", func(t *testing.T) {
		client := bubbleClient(t, &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("connection refused")
		}})
		if err := client.SendGroupMessage(t.Context(), hello, time.Time{}); !HadNoEffect(err) {
			t.Errorf("%v: HadNoEffect = false", err)
		}
	})
	t.Run("too late", func(t *testing.T) {
		v := newVendor(t, always(200, "{}"))
		client := v.client(t)
		err := client.SendGroupMessage(t.Context(), hello, client.settings().Now().Add(-time.Second))
		if !errors.Is(err, ErrTooLate) || !HadNoEffect(err) || len(v.seen()) > 0 {
			t.Errorf("%v after %d calls: HadNoEffect = %v", err, len(v.seen()), HadNoEffect(err))
		}
	})
}

// A leader that stops must not wait for the turn of a message, which takes minutes at a low rate, nor leave a message
// in doubt that is under way.
func TestMessageThatWaitsForItsTurnIsGivenUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := make(chan struct{})
		client := bubbleClient(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			_, _ = io.Copy(io.Discard, r.Body)
			select {
			case <-answers:
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(okAnswer))}, nil
		}))
		ctx, cancel := context.WithCancel(t.Context())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { first <- client.SendGroupMessage(ctx, hello, time.Time{}) }() // ends with the test
		synctest.Wait()
		go func() { second <- client.SendGroupMessage(ctx, hello, time.Time{}) }()
		synctest.Wait()
		cancel()
		synctest.Wait()
		select {
		case err := <-second:
			if !errors.Is(err, context.Canceled) || !HadNoEffect(err) {
				t.Errorf("%v: HadNoEffect = %v", err, HadNoEffect(err))
			}
		default:
			t.Error("a message still waits for its turn")
		}
		close(answers)
		if err := <-first; err != nil {
			t.Errorf("a message that was under way: %v", err)
		}
	})
}
