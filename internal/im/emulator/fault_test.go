package emulator_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/groupgate/groupgate/internal/im/callback"
	"github.com/groupgate/groupgate/internal/im/emulator"
)

// call makes a REST call that may break; it returns the HTTP status, 0 for none, and the body.
func (w *world) call(api, body string, patience time.Duration) (int, string, error) {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.BaseURL+"/v4/group_open_http_svc/"+api+"?"+w.query().Encode(), strings.NewReader(body))
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
	const body = `{"GroupId":"g","MemberToDel_Account":["u1"]}`
	cases := map[string]struct {
		fault    emulator.Fault
		patience time.Duration
		status   int
		answer   string // contained
		broken   bool
		done     bool // the effect has happened
	}{
		"http":               {fault: emulator.Fault{Kind: "http"}, status: 502, answer: "<html>"},
		"http after effect":  {fault: emulator.Fault{Kind: "http", Status: 503, AfterEffect: true}, status: 503, answer: "<html>", done: true},
		"code":               {fault: emulator.Fault{Kind: "code", Code: 60007, Info: "slow down"}, status: 200, answer: `{"ActionStatus":"FAIL","ErrorInfo":"slow down","ErrorCode":60007}`},
		"truncate":           {fault: emulator.Fault{Kind: "truncate"}, status: 200, answer: `{"ActionStatus"`, broken: true, done: true},
		"drop":               {fault: emulator.Fault{Kind: "drop"}, broken: true},
		"drop after effect":  {fault: emulator.Fault{Kind: "drop", AfterEffect: true}, broken: true, done: true},
		"hang":               {fault: emulator.Fault{Kind: "hang"}, patience: 100 * time.Millisecond, broken: true},
		"hang after effect":  {fault: emulator.Fault{Kind: "hang", AfterEffect: true}, patience: 100 * time.Millisecond, broken: true, done: true},
		"latency":            {fault: emulator.Fault{Kind: "latency", Latency: "50ms"}, status: 200, answer: `"ErrorCode":0`, done: true},
		"another group":      {fault: emulator.Fault{Kind: "drop", Group: "h"}, status: 200, answer: `"ErrorCode":0`, done: true},
		"the group":          {fault: emulator.Fault{Kind: "drop", Group: "g"}, broken: true},
		"another API":        {fault: emulator.Fault{Kind: "drop", API: "add_group_member"}, status: 200, answer: `"ErrorCode":0`, done: true},
		"callbacks only":     {fault: emulator.Fault{Kind: "drop", Callback: "*"}, status: 200, answer: `"ErrorCode":0`, done: true},
		"every API":          {fault: emulator.Fault{Kind: "http", API: "*"}, status: 502, answer: "<html>"},
		"not yet":            {fault: emulator.Fault{Kind: "drop", Skip: 1}, status: 200, answer: `"ErrorCode":0`, done: true},
		"with probability 1": {fault: emulator.Fault{Kind: "http", Probability: 1}, status: 502, answer: "<html>"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.group(emulator.GroupSpec{ID: "g", Type: "Public", Members: []emulator.MemberSpec{{Count: 1, Prefix: "u"}}})
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
				records, err := w.Calls(t.Context(), emulator.RecordFilter{API: "delete_group_member"})
				w.must(err)
				if len(records) != 1 || records[0].Fault != tc.fault.Kind {
					t.Errorf("recorded %+v", records)
				}
				// It was to happen once.
				if status, _, err := w.call("delete_group_member", body, time.Minute); err != nil || status != 200 {
					t.Errorf("again: HTTP %d, %v", status, err)
				}
			}
		})
	}
}

func TestFaultsAreRepeatable(t *testing.T) {
	run := func(seed uint64) string {
		w := newWorld(t)
		w.must(errOf(w.AddFault(t.Context(), emulator.Fault{API: "*", Kind: "code", Code: 60008, Probability: 0.5, Seed: seed})))
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
	cases := map[string]struct {
		fault    emulator.Fault
		result   string
		received int
		outcome  string
	}{
		"http":              {emulator.Fault{Kind: "http", Status: 503}, emulator.ResultJoined, 0, emulator.OutcomeFailedOpen},
		"code":              {emulator.Fault{Kind: "code", Code: 1}, emulator.ResultRefused, 0, emulator.OutcomeRefused},
		"drop":              {emulator.Fault{Kind: "drop"}, emulator.ResultJoined, 0, emulator.OutcomeFailedOpen},
		"drop after effect": {emulator.Fault{Kind: "drop", AfterEffect: true}, emulator.ResultJoined, 1, emulator.OutcomeFailedOpen},
		"truncate":          {emulator.Fault{Kind: "truncate"}, emulator.ResultJoined, 1, emulator.OutcomeFailedOpen},
		"latency":           {emulator.Fault{Kind: "latency", Latency: "20ms"}, emulator.ResultRefused, 1, emulator.OutcomeRefused},
		"repeat":            {emulator.Fault{Kind: "repeat"}, emulator.ResultRefused, 2, emulator.OutcomeRefused},
		"hang":              {emulator.Fault{Kind: "hang"}, emulator.ResultJoined, 0, emulator.OutcomeFailedOpen},
		"too much latency":  {emulator.Fault{Kind: "latency", Latency: "1m"}, emulator.ResultJoined, 0, emulator.OutcomeFailedOpen},
		"another command":   {emulator.Fault{Kind: "drop", Callback: string(callback.CommandAfterGroupFull)}, emulator.ResultRefused, 1, emulator.OutcomeRefused},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // two of them take the 2 seconds
			w := newWorld(t)
			w.group(emulator.GroupSpec{ID: "g", Type: "Meeting"})
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
			records, err := w.Callbacks(t.Context(), emulator.RecordFilter{Command: string(callback.CommandBeforeApplyJoin)})
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
	first, err := w.AddFault(t.Context(), emulator.Fault{API: "*", Kind: "latency", Latency: "1ms"})
	w.must(err)
	second, err := w.AddFault(t.Context(), emulator.Fault{API: "*", Kind: "code", Code: 10002, Info: "try again"})
	w.must(err)
	if got := w.rest("get_appid_group_list", "{}"); got.code() != 10002 {
		t.Errorf("delays do not hide what comes after: %v", got)
	}
	w.must(w.RemoveFault(t.Context(), first.ID))
	second.Fired = 1
	faults, err := w.Faults(t.Context())
	w.must(err)
	same := cmp.Comparer(func(a, b emulator.Fault) bool { return a.ID == b.ID && a.Fired == b.Fired && a.Kind == b.Kind })
	if diff := cmp.Diff([]emulator.Fault{second}, faults, same); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
	w.must(w.ClearFaults(t.Context()))
	if got := w.rest("get_appid_group_list", "{}"); got.code() != 0 {
		t.Errorf("after clearing: %v", got)
	}
}
