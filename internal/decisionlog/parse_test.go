package decisionlog

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
	"sigs.k8s.io/json"

	"github.com/groupgate/groupgate/internal/policy"
)

func TestWhatIsWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDecision(t)
		before := rapid.SampledFrom([]string{"", "2026-11-21T11:42:20.1Z stdout F ", "[pod/a/b] "}).Draw(t, "prefix")
		got, err := Parse(before + strings.TrimSuffix(d.line(t, ""), "\n"))
		if diff := cmp.Diff(Recorded{Decision: d}, got); err != nil || diff != "" {
			t.Fatalf("%v, (-want,+got):\n%s", err, diff)
		}
	})
	hashed, err := Parse(refusal.line(t, testKey))
	if err != nil || hashed.AccountKey == "" || len(hashed.Account) != 64 {
		t.Errorf("%+v, %v", hashed, err)
	}
}

// Lines that others have written, or passed through a tool that writes JSON in its own way.
func TestParse(t *testing.T) {
	line := strings.TrimSuffix(refusal.line(t, ""), "\n")
	want := refusal
	want.Time = want.Time.Truncate(time.Millisecond)
	reordered := `{ "snapshot" : "fd28924ef623dd21", "audit":"Rejected","code":10120,"policy":"banned",` +
		`"reason":"Denied","verdict":"Rejected","trigger":"Apply","account":"mall\u006fry","groupType":"Public",` +
		`"group":"vip-berlin","app":"chat/prod","time":"2026-11-21T11:42:20.123Z","version":1,"log":"decision",` +
		`"kubernetes":{"pod":["a",1,null,true]},"new":-1.5e3}`
	for name, text := range map[string]string{"as written": line, "reordered": reordered, "with \\r": line + "\r"} {
		got, err := Parse(text)
		if diff := cmp.Diff(Recorded{Decision: want}, got); err != nil || diff != "" {
			t.Errorf("%s: %v, (-want,+got):\n%s", name, err, diff)
		}
	}
	for name, tc := range map[string]struct{ line, want string }{
		"text":             {"hello", "no JSON object"},
		"torn":             {line[:100], "unexpected end"},
		"two objects":      {line + line, "after top-level value"},
		"another version":  {strings.Replace(line, `"version":1`, `"version":2`, 1), "version 2 is not known"},
		"without a group":  {strings.Replace(line, `"group":`, `"gruppe":`, 1), "field group is missing"},
		"trigger":          {strings.Replace(line, "Apply", "Walk", 1), `field trigger is "Walk"`},
		"verdict":          {strings.Replace(line, `"verdict":"R`, `"verdict":"r`, 1), "want Admitted or Rejected"},
		"time":             {strings.Replace(line, "2026-11-21T", "21.11.2026 ", 1), "want RFC 3339"},
		"snapshot":         {strings.Replace(line, "fd28", "fd2_", 1), "want 16 hexadecimal digits"},
		"a text for code":  {strings.Replace(line, `"code":10120`, `"code":"1"`, 1), "cannot unmarshal string"},
		"a number for app": {strings.Replace(line, `"chat/prod"`, `7`, 1), "cannot unmarshal number"},
	} {
		if got, err := Parse(tc.line); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %+v, error %v, want %q", name, got, err, tc.want)
		}
	}
	for _, other := range []string{
		`{"time":"2026-11-21T11:42:20Z","level":"INFO","msg":"Starting","version":"v1","namespaces":["chat"]}`,
		`{"log":"something","code":"x"}`, `{"log":{"a":1}}`, `{}`,
	} {
		if _, err := Parse(other); !errors.Is(err, ErrNotDecision) {
			t.Errorf("%s: %v, want ErrNotDecision", other, err)
		}
	}
}

// The quick reader sees nothing that encoding/json does not see.
func FuzzParse(f *testing.F) {
	f.Add(refusal.line(f, ""))
	f.Add(`{"log":"decision","log":"x","version":1}`)
	f.Add(`{"log":"decision","version":01,"code":,"app":"\u0000"}`)
	f.Fuzz(func(t *testing.T, line string) {
		var quick fields
		if !quick.scan(line) {
			return
		}
		var want fields
		err := json.UnmarshalCaseSensitivePreserveInts([]byte(line), &want)
		if diff := cmp.Diff(want, quick); err != nil || diff != "" {
			t.Fatalf("%q: %v (-want,+got):\n%s", line, err, diff)
		}
	})
}

func TestReasonsAreRead(t *testing.T) {
	if got := parseReason("Whatever"); got != 0 {
		t.Errorf("got %s", got)
	}
	if next := policy.ReasonRestored + 1; next.String() != "Unknown" {
		t.Errorf("parseReason does not know %s", next)
	}
}

func BenchmarkParse(b *testing.B) {
	line := refusal.line(b, "")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(line); err != nil {
			b.Fatal(err)
		}
	}
}
