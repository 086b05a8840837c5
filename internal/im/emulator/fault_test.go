package emulator_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/groupgate/groupgate/internal/im/callback"
	"github.com/groupgate/groupgate/internal/im/emulator"
)

// call makes a REST call whose connection may break; it returns the HTTP status, 0 for none, and the body.
func (w *world) call(api, body string, patience time.Duration) (int, string, error) {
	w.t.Helper()
	address := w.BaseURL + "/v4/group_open_http_svc/" + api + "?" + w.query().Encode()
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, address, strings.NewReader(body))
	w.must(err)
	client := &http.Client{Timeout: patience}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	return response.StatusCode, string(raw), err
}

func TestFaultsOfCalls(t *testing.T) {
	const (
		body  = `{"GroupId":"g","MemberToDel_Account":["u1"]}`
		short = 100 * time.Millisecond
	)
	type testCase struct {
		fault    fault
		patience time.Duration
		status   int
		answer   string // contained
		broken   bool
		done     bool // the members were removed
	}
	unaffected := func(f fault) testCase {
		return testCase{fault: f, status: 200, answer: `"ErrorCode":0`, done: true}
	}
	cases := map[string]testCase{
		"http": {fault: fault{Kind: "http"}, status: 502, answer: "<html>"},
		"http after effect": {fault: fault{Kind: "http", Status: 503, AfterEffect: true}, status: 503, answer: "<html>",
			done: true},
		"code": {
			fault: fault{Kind: "code", Code: 60007, Info: "slow down"}, status: 200,
			answer: `{"ActionStatus":"FAIL","ErrorInfo":"slow down","ErrorCode":60007}`,
		},
		"truncate": {fault: fault{Kind: "truncate"}, status: 200, answer: `{"ActionStatus"`, broken: true,
			done: true},
		"drop":              {fault: fault{Kind: "drop"}, broken: true},
		"drop after effect": {fault: fault{Kind: "drop", AfterEffect: true}, broken: true, done: true},
		"hang":              {fault: fault{Kind: "hang"}, patience: short, broken: true},
		"hang after effect": {fault: fault{Kind: "hang", AfterEffect: true}, patience: short, broken: true, done: true},
		"latency":           unaffected(fault{Kind: "latency", Latency: "50ms"}),
		"another group":     unaffected(fault{Kind: "drop", Group: "h"}),
		"the group":         {fault: fault{Kind: "drop", Group: "g"}, broken: true},
		"another API":       unaffected(fault{Kind: "drop", API: "add_group_member"}),
		"callbacks only":    unaffected(fault{Kind: "drop", Callback: "*"}),
		"every API":         {fault: fault{Kind: "http", API: "*"}, status: 502, answer: "<html>"},
		"not yet":           unaffected(fault{Kind: "drop", Skip: 1}),
		"probability 1":     {fault: fault{Kind: "http", Probability: 1}, status: 502, answer: "<html>"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.group(groupSpec{ID: "g", Type: "Public", Members: []memberSpec{{Count: 1, Prefix: "u"}}})
			if tc.fault.API == "" && tc.fault.Callback == "" {
				tc.fault.API = "delete_group_member"
			}
			tc.fault.Count = 1
			w.must(errOf(w.AddFault(t.Context(), tc.fault)))
			start := time.Now()
			status, answer, err := w.call("delete_group_member", body, tc.patience)
			if (err != nil) != tc.broken || status != tc.status || !strings.Contains(answer, tc.answer) {
				t.Errorf("HTTP %d, %q, %v", status, answer, err)
			}
			if took := time.Since(start); tc.fault.Kind == "latency" && took < 50*time.Millisecond {
				t.Errorf("took %s", took)
			}
			if done := len(w.accounts("g")) == 0; done != tc.done {
				t.Errorf("removed: %v", done)
			}
			if tc.fault.API == "delete_group_member" && tc.fault.Skip == 0 && tc.fault.Group != "h" {
				records, err := w.Calls(t.Context(), filter{API: "delete_group_member"})
				w.must(err)
				if len(records) != 1 || records[0].Fault != tc.fault.Kind {
					t.Errorf("recorded %+v", records)
				}
				// The fault fires once.
				if status, _, err := w.call("delete_group_member", body, time.Minute); err != nil || status != 200 {
					t.Errorf("again: HTTP %d, %v", status, err)
				}
			}
		})
	}
}

func TestFaultsAreReproducible(t *testing.T) {
	run := func(seed uint64) string {
		w := newWorld(t)
		w.must(errOf(w.AddFault(t.Context(), fault{API: "*", Kind: "code", Code: 60008, Probability: 0.5, Seed: seed})))
		var pattern strings.Builder
		for range 40 {
			if w.rest("get_appid_group_list", "{}").code() == 0 {
				pattern.WriteByte('.')
			} else {
				pattern.WriteByte('x')
			}
		}
		return pattern.String()
	}
	first := run(7)
	if again := run(7); first != again {
		t.Errorf("seed 7 gave %s, then %s", first, again)
	}
	if other := run(8); first == other || !strings.Contains(first, ".") || !strings.Contains(first, "x") {
		t.Errorf("seed 7 gave %s, seed 8 %s", first, other)
	}
}

func TestFaultsOfCallbacks(t *testing.T) {
	const refusing = `{"ActionStatus":"OK","ErrorInfo":"members only","ErrorCode":10100}`
	const joined, refused, failedOpen = emulator.ResultJoined, emulator.ResultRefused, emulator.OutcomeFailedOpen
	cases := map[string]struct {
		fault    fault
		result   string
		received int
		outcome  string
	}{
		"http":              {fault{Kind: "http", Status: 503}, joined, 0, failedOpen},
		"code":              {fault{Kind: "code", Code: 1}, refused, 0, emulator.OutcomeRefused},
		"drop":              {fault{Kind: "drop"}, joined, 0, failedOpen},
		"drop after effect": {fault{Kind: "drop", AfterEffect: true}, joined, 1, failedOpen},
		"truncate":          {fault{Kind: "truncate"}, joined, 1, failedOpen},
		"latency":           {fault{Kind: "latency", Latency: "20ms"}, refused, 1, emulator.OutcomeRefused},
		"repeat":            {fault{Kind: "repeat"}, refused, 2, emulator.OutcomeRefused},
		"hang":              {fault{Kind: "hang"}, joined, 0, failedOpen},
		"too much latency":  {fault{Kind: "latency", Latency: "1m"}, joined, 0, failedOpen},
		"another command": {fault{Kind: "drop", Callback: string(callback.CommandAfterGroupFull)}, refused, 1,
			emulator.OutcomeRefused},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // two cases take the 2 seconds of a callback
			w := newWorld(t)
			w.group(groupSpec{ID: "g", Type: "Meeting"})
			w.backend.willSay(says(refusing))
			if tc.fault.Callback == "" {
				tc.fault.Callback = string(callback.CommandBeforeApplyJoin)
			}
			w.must(errOf(w.AddFault(t.Context(), tc.fault)))
			got, err := w.Apply(t.Context(), "g", "mallory")
			w.must(err)
			if got.Result != tc.result {
				t.Errorf("%+v, want %s", got, tc.result)
			}
			records, err := w.Callbacks(t.Context(), filter{Command: string(callback.CommandBeforeApplyJoin)})
			w.must(err)
			if len(records) != 1 || records[0].Outcome != tc.outcome {
				t.Errorf("recorded %+v", records)
			}
			received := 0
			for _, r := range w.backend.all() {
				if r.Command == string(callback.CommandBeforeApplyJoin) {
					received++
				}
			}
			if received != tc.received {
				t.Errorf("received %d times, want %d", received, tc.received)
			}
		})
	}
}

func TestFaultList(t *testing.T) {
	w := newWorld(t)
	first, err := w.AddFault(t.Context(), fault{API: "*", Kind: "latency", Latency: "1ms"})
	w.must(err)
	second, err := w.AddFault(t.Context(), fault{API: "*", Kind: "code", Code: 10002, Info: "try again"})
	w.must(err)
	if got := w.rest("get_appid_group_list", "{}"); got.code() != 10002 {
		t.Errorf("a latency must not hide the next fault: %v", got)
	}
	w.must(w.RemoveFault(t.Context(), first.ID))
	faults, err := w.Faults(t.Context())
	w.must(err)
	if len(faults) != 1 || faults[0].ID != second.ID || faults[0].Fired != 1 || faults[0].Kind != second.Kind {
		t.Errorf("%+v, want only the second, fired once", faults)
	}
	w.must(w.ClearFaults(t.Context()))
	if got := w.rest("get_appid_group_list", "{}"); got.code() != 0 {
		t.Errorf("after clearing: %v", got)
	}
}
