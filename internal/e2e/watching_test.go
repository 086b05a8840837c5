package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/groupgate/groupgate/internal/lab"
)

// An operator greps: lines are short, and name a group, a run and an app by the same keys everywhere, those of the
// decision log.
func TestLogLinesAreShortAndGreppable(t *testing.T) {
	t.Parallel()
	const longest = 210 // columns of JSON, in the namespace chat, without sentences of conditions
	w := newWorld(t)
	w.app()
	w.policy("club", `groups: [{value: club}]
whenFull: {prune: {mode: Enforce, inactiveFor: 30d}}`)
	r := w.startReady(nil, "--log-level=info", "--log-format=json", "--decision-log=all")
	w.ready("imapp/prod", "grouppolicy/club")
	fillClub(t, w, 20, 6)
	r.apply("club", "newcomer")
	r.reportFull("club")
	lines := func() (lines []map[string]any) {
		for text := range strings.Lines(r.log.String()) {
			line := map[string]any{}
			if err := json.Unmarshal([]byte(text), &line); err != nil {
				continue // half written
			}
			if line["log"] != "decision" {
				lines = append(lines, line)
			}
		}
		return lines
	}
	about := func(key, value string) (messages []string) {
		for _, line := range lines() {
			if line[key] == value {
				messages = append(messages, line["msg"].(string))
			}
		}
		return messages
	}
	eventually(t, "the run to end", func() bool { return slices.Contains(about("group", "club"), "Prune run ended") })

	story := []string{"Prune run created", "Prune run planned", "Prune run ended"}
	if got := about("group", "club"); !slices.Equal(got, story) {
		t.Errorf("lines with the group: %q, want %q", got, story)
	}
	if got := about("app", w.Namespace+"/prod"); !slices.Contains(got, story[0]) {
		t.Errorf("lines with the app: %q, want %q among them", got, story[0])
	}
	name := strings.TrimSpace(w.kubectl("get", "pruneruns", "-o=jsonpath={.items[*].metadata.name}"))
	if got := about("run", w.Namespace+"/"+name); !slices.Equal(got, story[1:]) {
		t.Errorf("lines with the run: %q, want %q", got, story[1:])
	}
	if got := lines(); len(got) > 25 {
		t.Errorf("%d lines for a start and a run: too many to read", len(got))
	}
	for _, line := range lines() {
		delete(line, "message")
		encoded, err := json.Marshal(line)
		text := strings.ReplaceAll(string(encoded), w.Namespace, "chat")
		if err != nil || len(text) > longest {
			t.Errorf("%d columns, want at most %d: %s, %v", len(text), longest, text, err)
		}
		for _, key := range []string{"reconcileID", "controller", "controllerKind", "controllerGroup", "namespace"} {
			if value, ok := line[key]; ok {
				t.Errorf("%q has %s=%v, which no one needs", line["msg"], key, value)
			}
		}
		if at, _ := line["time"].(string); len(at) != len("2006-01-02T15:04:05.000Z") {
			t.Errorf("time %q, want milliseconds of UTC, as in the decision log", at)
		}
	}
}

// Profiles are read through a port-forward, and no other port has them.
func TestProfilesAreServedOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	address, err := lab.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	r := w.startReady(nil, "--pprof-bind-address="+address)
	get := func(url string) (int, []byte) {
		response, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, body
	}
	for _, path := range []string{"heap", "goroutine", "profile?seconds=1"} {
		status, body := get("http://" + address + "/debug/pprof/" + path)
		if status != http.StatusOK {
			t.Errorf("%s: status %d: %s", path, status, body)
			continue
		}
		if _, err := gzip.NewReader(bytes.NewReader(body)); err != nil {
			t.Errorf("%s is no profile: %v", path, err)
		}
	}
	for _, other := range []string{r.CallbackURL, r.MetricsURL, r.ReadyURL} {
		base := other[:strings.LastIndexByte(other, '/')]
		if status, _ := get(base + "/debug/pprof/heap"); status != http.StatusNotFound {
			t.Errorf("%s/debug/pprof/heap: status %d, want %d", base, status, http.StatusNotFound)
		}
	}
	if got := r.metric("groupgate_build_info", `goversion="go1.`, `version="`, `revision="`); got != 1 {
		t.Errorf("groupgate_build_info is %v, want 1", got)
	}
}
