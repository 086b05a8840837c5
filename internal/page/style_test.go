package page

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestColoursCanBeReadByDayAndByNight holds the colours of the stylesheet against WCAG AA: 4.5 for text, 3 for edges of
// fields and for the parts of the chart.
func TestColoursCanBeReadByDayAndByNight(t *testing.T) {
	style, err := files.ReadFile("style.css")
	if err != nil {
		t.Fatal(err)
	}
	screen, _, _ := strings.Cut(string(style), "@media print")
	day, night, found := strings.Cut(screen, "@media (prefers-color-scheme: dark)")
	if !found {
		t.Fatal("there are no colours for the night")
	}
	for name, text := range map[string]string{"day": day, "night": night} {
		colours := map[string]float64{}
		for _, match := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6});`).FindAllStringSubmatch(text, -1) {
			if _, twice := colours[match[1]]; !twice {
				colours[match[1]] = luminance(match[2])
			}
		}
		for _, tc := range []struct {
			front, back string
			least       float64
		}{
			{"ink", "paper", 4.5}, {"ink", "card", 4.5}, {"ink", "tint", 4.5}, {"ink", "warn-tint", 4.5},
			{"ink", "bad-tint", 4.5}, {"quiet", "paper", 4.5}, {"quiet", "card", 4.5}, {"quiet", "tint", 4.5},
			{"quiet", "warn-tint", 4.5}, {"quiet", "bad-tint", 4.5}, {"accent", "paper", 4.5}, {"accent", "card", 4.5},
			{"accent", "tint", 4.5}, {"accent", "warn-tint", 4.5}, {"on-accent", "accent", 4.5}, {"on-bad", "bad", 4.5},
			{"bad", "paper", 4.5}, {"bad", "card", 4.5}, {"bad", "bad-tint", 4.5}, {"warn", "paper", 4.5},
			{"warn", "card", 4.5}, {"warn", "warn-tint", 4.5}, {"good", "paper", 4.5}, {"good", "card", 4.5},
			{"on-mark", "mark", 4.5}, {"edge", "paper", 3}, {"edge", "card", 3},
		} {
			front, known := colours[tc.front]
			back, also := colours[tc.back]
			contrast := (max(front, back) + 0.05) / (min(front, back) + 0.05)
			if !known || !also || contrast < tc.least {
				t.Errorf("by %s, %s on %s has contrast %.2f, want %.1f", name, tc.front, tc.back, contrast, tc.least)
			}
		}
	}
}

// luminance is that of WCAG, of a colour such as 0b5a78.
func luminance(colour string) (l float64) {
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, _ := strconv.ParseUint(colour[2*i:2*i+2], 16, 8)
		part := float64(n) / 255
		if part <= 0.04045 {
			part /= 12.92
		} else {
			part = math.Pow((part+0.055)/1.055, 2.4)
		}
		l += weight * part
	}
	return l
}
