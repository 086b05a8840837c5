package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMedian(t *testing.T) {
	tests := map[string]struct {
		samples []float64
		want    float64
	}{
		"none": {nil, 0},
		"odd":  {[]float64{9, 1, 5}, 5},
		"even": {[]float64{4, 1, 3, 2}, 2.5},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := median(tc.samples); got != tc.want {
				t.Errorf("median(%v) = %v, want %v", tc.samples, got, tc.want)
			}
		})
	}
}

func TestRatiosAreThoseOfTheRounds(t *testing.T) {
	got := ratios([]float64{2, 9, 8}, []float64{1, 3})
	if diff := cmp.Diff([]float64{2, 3}, got); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
}

func TestTableCountsWhatIsExceeded(t *testing.T) {
	most, least := 1.10, 3.0
	goals := &thresholds{Goals: []goal{
		{Figure: "cost", Goal: "<= 1.10", Limits: []limit{{Key: "met", Max: &most}, {Key: "missed", Max: &most}}},
		{Figure: "gain", Goal: ">= 3.0", Limits: []limit{{Key: "short", Min: &least}, {Key: "absent", Min: &least}}},
	}}
	r := &results{
		Figures: map[string][]float64{"met": {1.0, 1.1, 9}, "missed": {1.2}, "short": {2.9}, "more": {7}},
		LeftOut: map[string]string{"Redis": "no redis-server here"},
	}
	table, exceeded := r.markdown(goals)
	if exceeded != 2 {
		t.Errorf("%d limits exceeded, want 2", exceeded)
	}
	for _, want := range []string{
		"| cost | <= 1.10 | 1.10 | met |", "|  |  | 1.20 | **missed** |", "| gain | >= 3.0 | 2.90 | **missed** |",
		"|  |  | - | not measured |", "| more | 7 |", "Left out: Redis: no redis-server here",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
}

func TestThresholdsCanBeRead(t *testing.T) {
	goals, err := loadThresholds()
	if err != nil {
		t.Fatal(err)
	}
	if len(goals.Goals) == 0 {
		t.Error("no goals")
	}
	for _, goal := range goals.Goals {
		if goal.Figure == "" || len(goal.Limits) == 0 {
			t.Errorf("a goal without a figure or a limit: %+v", goal)
		}
	}
}

func TestReplaceResults(t *testing.T) {
	got, err := replaceResults("before\n"+docsBegin+"old\n"+docsEnd+"after\n", "new")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("before\n"+docsBegin+"\nnew\n"+docsEnd+"after\n", got); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
	if _, err := replaceResults("no marks", "new"); err == nil {
		t.Error("a page without marks was changed")
	}
}

func TestHowOldAnAnswerIs(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(int64(ms)) }
	e := &editor{editions: [][]edition{{{sent: at(1000), stored: at(1010)}, {sent: at(5000)}}}}
	tests := map[string]struct {
		number, sent, received int
		want                   time.Duration
		ok                     bool
	}{
		"the first before the edit":               {0, 900, 950, 0, true},
		"the first after it":                      {0, 2011, 2020, 1001 * time.Millisecond, true},
		"the second before it was sent":           {1, 900, 999, 0, false},
		"the second once it was sent":             {1, 900, 1001, 0, true},
		"the second while the third is under way": {1, 9000, 9001, 0, true},
		"the third while it is under way":         {2, 5001, 5002, 0, true},
		"one that does not exist":                 {3, 9000, 9001, 0, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got, ok := e.age(0, tc.number, at(tc.sent), at(tc.received)); got != tc.want || ok != tc.ok {
				t.Errorf("got %s, %t, want %s, %t", got, ok, tc.want, tc.ok)
			}
		})
	}
}

func TestWrongVerdictsAreCounted(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(int64(ms)) }
	e := &editor{editions: [][]edition{{{sent: at(1000), stored: at(1010)}}}}
	member, other := &callback{account: "m", listed: true}, &callback{account: "s"}
	tests := map[string]struct {
		asked  *callback
		sent   int
		answer string
		wrong  int64
	}{
		"a member is admitted":        {member, 0, admission, 0},
		"a member is refused":         {member, 0, refusal, 1},
		"a stranger is refused":       {other, 0, refusal, 0},
		"a stranger is admitted":      {other, 0, admission, 1},
		"a second later":              {other, 2010, refusal, 0},
		"more than a second later":    {other, 2011, refusal, 1},
		"an edition from the future":  {other, 0, refusal + editionMark + "2", 1},
		"the edition that is current": {other, 9000, refusal + editionMark + "1", 0},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var v verdictCount
			v.add(e, tc.asked, at(tc.sent), at(tc.sent+1000), []byte(tc.answer))
			if got := v.wrong.Load(); got != tc.wrong {
				t.Errorf("%d wrong, want %d", got, tc.wrong)
			}
		})
	}
}

func TestEditionOf(t *testing.T) {
	tests := map[string]struct {
		answer string
		want   int
		ok     bool
	}{
		"admitted":    {`{"ErrorCode":0}`, 0, false},
		"as made":     {`{"ErrorInfo":"Members only","ErrorCode":10110}`, 0, true},
		"twelve":      {`{"ErrorInfo":"Members only, edition 12","ErrorCode":10110}`, 12, true},
		"other words": {`{"ErrorInfo":"rejected","ErrorCode":1}`, 0, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got, ok := editionOf([]byte(tc.answer)); got != tc.want || ok != tc.ok {
				t.Errorf("got %d, %t, want %d, %t", got, ok, tc.want, tc.ok)
			}
		})
	}
}
