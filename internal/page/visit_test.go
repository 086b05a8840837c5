package page

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// aVisit is a visit on 2026-11-22 at 12:00 UTC.
func aVisit(t *testing.T, language, zone string) *visit {
	t.Helper()
	s := &server{Options: Options{Zone: time.UTC, Now: func() time.Time {
		return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	}}, words: newWords()}
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
	r.Header.Set("Accept-Language", language)
	r.Header.Set("Cookie", zoneCookie+"="+zone)
	return s.visit(httptest.NewRecorder(), r)
}

func TestIdsShowWhatCannotBeToldApart(t *testing.T) {
	for name, tc := range map[string]struct{ id, want string }{
		"plain":                {"mallory_1@x-y", `mallory_1@x-y`},
		"markup":               {`<img src=x onerror="1">&`, `&lt;img src=x onerror=&#34;1&#34;&gt;&amp;`},
		"Chinese":              {"运营-小张2", `运营-小张2`},
		"Russian":              {"алексей", `алексей`},
		"a Cyrillic letter":    {"m\u0430llory", `m<mark>` + "\u0430" + `<small> U+0430</small></mark>llory`},
		"a Latin letter":       {"алексeй", `алекс<mark>e<small> U+0065</small></mark>й`},
		"a Cherokee letter":    {"ad\u13d2in", "ad<mark>\u13d2<small> U+13D2</small></mark>in"},
		"Cyrillic as Latin":    {"\u043e1", "<mark>\u043e<small> U+043E</small></mark>1"},
		"zero width":           {"mal\u200blory", `mal<mark>U+200B</mark>lory`},
		"right to left":        {"\u202egpj.exe", `<mark>U+202E</mark>gpj.exe`},
		"isolates":             {"a\u2066b\u2069", `a<mark>U+2066</mark>b<mark>U+2069</mark>`},
		"tag characters":       {"a\U000e0061", `a<mark>U+E0061</mark>`},
		"a filler":             {"a\u3164", `a<mark>U+3164</mark>`},
		"braille without dots": {"a\u2800", `a<mark>U+2800</mark>`},
		"a combining accent":   {"jose\u0301", `jose<mark>U+0301</mark>`},
		"an accent":            {"jos\u00e9", "jos\u00e9"},
		"control":              {"a\x1b[2J\n", `a<mark>U+001B</mark>[2J<mark>U+000A</mark>`},
		"blanks":               {" a b  c ", `<mark>U+0020</mark>a b<mark>U+0020</mark><mark>U+0020</mark>c<mark>U+0020</mark>`},
		"no-break space":       {"a\u00a0b", `a<mark>U+00A0</mark>b`},
		"fullwidth":            {"\uff41nna", "<mark>\uff41<small> U+FF41</small></mark>nna"},
		"mathematical":         {"\U0001d41anna", "<mark>\U0001d41a<small> U+1D41A</small></mark>nna"},
		"Arabic digit":         {"a\u0661", "a<mark>\u0661<small> U+0661</small></mark>"},
		"not UTF-8":            {"a\xff\xfeb", `a<mark>\xFF</mark><mark>\xFE</mark>b`},
		"replacement":          {"a\ufffd", "a\ufffd"},
		"empty":                {"", `<mark>(empty)</mark>`},
		"one blank":            {" ", `<mark>U+0020</mark>`},
		"emoji":                {"max🎉", `max🎉`},
	} {
		got := string(aVisit(t, "en", "").Account(tc.id))
		if want := `<bdi class="id">` + tc.want + `</bdi>`; got != want {
			t.Errorf("%s: %q is shown as\n%s, want\n%s", name, tc.id, got, want)
		}
	}
}

func TestTimesAreInTheZoneOfTheReader(t *testing.T) {
	at := time.Date(2026, 11, 21, 20, 30, 0, 0, time.UTC)
	for _, tc := range []struct{ language, zone, want string }{
		{"en", "", `<time datetime="2026-11-21T20:30:00Z">Nov 21, 2026, 20:30 UTC</time>`},
		{"en", "Asia/Shanghai", `<time datetime="2026-11-21T20:30:00Z">Nov 22, 2026, 04:30 UTC+08</time>`},
		{"zh-CN", "Asia/Kolkata", `<time datetime="2026-11-21T20:30:00Z">2026年11月22日 02:00 UTC+05:30</time>`},
		{"en", "../etc/passwd", `<time datetime="2026-11-21T20:30:00Z">Nov 21, 2026, 20:30 UTC</time>`},
	} {
		if got := string(aVisit(t, tc.language, tc.zone).Time(at)); got != tc.want {
			t.Errorf("%s, %s: %s, want %s", tc.language, tc.zone, got, tc.want)
		}
	}
	if got := aVisit(t, "en", "").Time(time.Time{}); got != "not known" {
		t.Errorf("no time is %s", got)
	}
}

func TestRelativeTimesCountRightly(t *testing.T) {
	for _, tc := range []struct {
		ago         time.Duration
		en, chinese string
	}{
		{30 * time.Second, "just now", "刚刚"},
		{time.Minute, "1 minute ago", "1 分钟前"},
		{59 * time.Minute, "59 minutes ago", "59 分钟前"},
		{time.Hour, "1 hour ago", "1 小时前"},
		{47 * time.Hour, "47 hours ago", "47 小时前"},
		{48 * time.Hour, "2 days ago", "2 天前"},
		{-time.Minute, "in 1 minute", "1 分钟后"},
		{-21 * time.Hour, "in 21 hours", "21 小时后"},
		{-1200 * 24 * time.Hour, "in 1,200 days", "1,200 天后"},
	} {
		for language, want := range map[string]string{"en": tc.en, "zh-CN": tc.chinese} {
			v := aVisit(t, language, "")
			if got := v.Ago(v.now.Add(-tc.ago)); got != want {
				t.Errorf("%s, %s: %q, want %q", tc.ago, language, got, want)
			}
		}
	}
}

func TestSentencesEscapeWhatTheyTell(t *testing.T) {
	v := aVisit(t, "en", "")
	got := string(v.HTML("%d minutes ago", 1)) + string(v.HTML("not known")) + string(v.HTML("%s", "<b>"))
	if !strings.HasSuffix(got, "&lt;b&gt;") || !strings.HasPrefix(got, "1 minute ago") {
		t.Error(got)
	}
}
