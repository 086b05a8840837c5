package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/groupgate/groupgate/hack/bench/peers"
	"github.com/groupgate/groupgate/internal/lab"
)

// small is the stream in little.
var small = population{sdkAppID: 1400000001, groups: 4, accounts: 8}

func smallData() *peers.Data {
	data := &peers.Data{SDKAppID: "1400000001", Token: lab.CallbackToken, Members: map[string]map[string]bool{}}
	for group := range small.groups {
		members := map[string]bool{}
		for _, account := range small.members(group) {
			members[account] = true
		}
		data.Members[groupID(group)] = members
	}
	return data
}

func serve(t *testing.T, handler http.Handler) *server {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return &server{target: target{address: s.Listener.Addr().String()}}
}

func TestPeersDecideRight(t *testing.T) {
	data := smallData()
	deciders := map[string]func() (peers.Decider, error){
		"maps":   func() (peers.Decider, error) { return peers.FromMaps(data), nil },
		"cedar":  func() (peers.Decider, error) { return peers.FromCedar(data) },
		"casbin": func() (peers.Decider, error) { return peers.FromCasbin(data) },
	}
	for name, make := range deciders {
		t.Run(name, func(t *testing.T) {
			admits, err := make()
			if err != nil {
				t.Fatal(err)
			}
			c := &contender{decides: true, encode: population.asVendor}
			if err := c.verify(t.Context(), serve(t, peers.Handwritten(data, admits)), small); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestVerifyRejectsContendersThatCheckLess(t *testing.T) {
	data := smallData()
	tests := map[string]http.Handler{
		"admits every account":        peers.Bare(),
		"does not look at signatures": unsigned(data),
		"fails":                       http.NotFoundHandler(),
		"admits no account":           peers.Handwritten(data, admitsNone),
	}
	for name, handler := range tests {
		t.Run(name, func(t *testing.T) {
			c := &contender{decides: true, encode: population.asVendor}
			if err := c.verify(t.Context(), serve(t, handler), small); err == nil {
				t.Error("it passed")
			}
		})
	}
}

func admitsNone(context.Context, string, string) (bool, error) { return false, nil }

// unsigned answers right whatever the signature.
func unsigned(data *peers.Data) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		for _, members := range data.Members {
			for account := range members {
				if strings.Contains(string(body), account) {
					_, _ = io.WriteString(w, admission)
					return
				}
			}
		}
		_, _ = io.WriteString(w, refusal)
	})
}

// The latency of a request counts from when it was due: a stall shows in all requests that were due meanwhile.
func TestOpenLoopCountsRequestsDueDuringAStall(t *testing.T) {
	const stall = 400 * time.Millisecond
	var stalled atomic.Bool
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if stalled.CompareAndSwap(false, true) {
			time.Sleep(stall) //nolint:forbidigo // the stall is what is tested
		}
		_, _ = io.WriteString(w, admission)
	}))
	c := callback{group: 1, account: small.member(1, 1), listed: true}
	requests := []request{{bytes: small.asVendor(&c, lab.CallbackToken, time.Now())}}
	h, err := openLoop(t.Context(), s.target, requests, 1, 200, time.Second, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := h.TotalCount(); got != 200 {
		t.Errorf("%d requests, want 200", got)
	}
	// 80 requests were due during the stall, one after the other: half of them waited for at least half of it.
	if got := time.Duration(h.ValueAtQuantile(85)) * time.Microsecond; got < stall/4 {
		t.Errorf("p85 is %s: the requests due during the stall of %s are missing", got, stall)
	}
}

func TestOpenLoopEndsWithAServerThatFails(t *testing.T) {
	s := serve(t, http.NotFoundHandler())
	c := callback{group: 1, account: small.member(1, 1)}
	_, err := openLoop(t.Context(), s.target, []request{{bytes: small.asVendor(&c, lab.CallbackToken, time.Now())}}, 2,
		100, 10*time.Second, nil)
	if err == nil || !strings.Contains(err.Error(), "HTTP 404") {
		t.Errorf("got %v, want HTTP 404", err)
	}
}
