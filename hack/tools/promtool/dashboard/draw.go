package main

import (
	"bytes"
	"cmp"
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
	"time"
)

// The picture resembles Grafana's, in its light theme.
const (
	width   = 1440.0
	column  = width / 24
	unit    = 34.0 // height of a row of the grid
	gap     = 8.0
	heading = 52.0

	ink, faint, line, paper, canvas = "#24292e", "#6e7781", "#e3e6ea", "#ffffff", "#f4f5f7"
)

var palette = []string{
	"#5794f2", "#ff9830", "#73bf69", "#f2495c", "#b877d9", "#fade2a", "#37872d", "#8ab8ff", "#c4162a", "#56a64b",
}

var named = map[string]string{"green": "#299c46", "red": "#d44a3a", "orange": "#ff9830", "blue": "#5794f2"}

func colour(name string) string { return cmp.Or(named[name], name) }

type picture struct{ bytes.Buffer }

func (s *picture) add(format string, args ...any) { fmt.Fprintf(s, format+"\n", args...) }

func (s *picture) text(x, y, size float64, fill, anchor, text string, style ...string) {
	s.add(`<text x="%.1f" y="%.1f" font-size="%.0f" fill="%s" text-anchor="%s" %s>%s</text>`, x, y, size, fill, anchor,
		strings.Join(style, " "), html.EscapeString(text))
}

// draw returns the dashboard as an SVG, over the time from from to to.
func draw(b *board, from, to time.Time) []byte {
	bottom := 0
	for _, p := range b.Panels {
		bottom = max(bottom, p.GridPos.Y+p.GridPos.H)
	}
	height := heading + float64(bottom)*unit + gap
	s := &picture{}
	s.add(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" `+
		`font-family="Inter, 'Helvetica Neue', Helvetica, Arial, sans-serif">`, width, height, width, height)
	s.add(`<rect width="%.0f" height="%.0f" fill="%s"/>`, width, height, canvas)
	s.text(gap+4, 33, 20, ink, "start", b.Title, `font-weight="600"`)
	s.text(width-gap-4, 33, 13, faint, "end", "Namespace: All    App: All    "+to.Sub(from).Round(time.Minute).String()+
		" of recorded metrics")
	for i := range b.Panels {
		p := &b.Panels[i]
		x, y := float64(p.GridPos.X)*column+gap/2, heading+float64(p.GridPos.Y)*unit+gap/2
		w, h := float64(p.GridPos.W)*column-gap, float64(p.GridPos.H)*unit-gap
		if p.Type == "row" {
			s.text(x+4, y+19, 15, ink, "start", p.Title, `font-weight="600"`)
			continue
		}
		fill := paper
		if p.Type == "stat" && len(p.series) > 0 {
			fill = colour(p.level(p.series[0].last()))
		}
		s.add(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="3" fill="%s" stroke="%s"/>`,
			x, y, w, h, fill, line)
		switch {
		case p.Type == "stat":
			s.stat(p, x, y, w, h)
		case p.Type == "table":
			s.table(p, x, y, w)
		case len(p.series) == 0:
			s.text(x+10, y+21, 13, ink, "start", p.Title, `font-weight="600"`)
			s.text(x+w/2, y+h/2, 14, faint, "middle", "No data")
		default:
			s.text(x+10, y+21, 13, ink, "start", p.Title, `font-weight="600"`)
			s.graph(p, x, y, w, h, from, to)
		}
	}
	s.add(`</svg>`)
	return s.Bytes()
}

func (s series) last() float64 { return s.points[len(s.points)-1].value }

// level is the colour of the threshold that v reaches.
func (p *panel) level(v float64) string {
	reached := "green"
	for _, step := range p.FieldConfig.Defaults.Thresholds.Steps {
		if step.Value == nil || v >= *step.Value {
			reached = step.Color
		}
	}
	return reached
}

func (s *picture) stat(p *panel, x, y, w, h float64) {
	fill, value := paper, "No data"
	if len(p.series) > 0 {
		last := p.series[0].last()
		value = p.format(last)
		for _, mapping := range p.FieldConfig.Defaults.Mappings {
			if mapped, ok := mapping.Options[fmt.Sprint(last)]; ok {
				value = mapped.Text
			}
		}
	} else {
		fill = ink
	}
	s.text(x+10, y+20, 12, fill, "start", p.Title, `font-weight="600"`)
	s.text(x+w/2, y+h/2+24, min(36, 1.45*w/float64(max(4, len(value)))), fill, "middle", value, `font-weight="500"`)
}

func (s *picture) table(p *panel, x, y, w float64) {
	s.text(x+10, y+21, 13, ink, "start", p.Title, `font-weight="600"`)
	columns := []string{"namespace", "pod", "version", "revision", "goversion"}
	at := func(i int) float64 { return x + 10 + float64(i)*(w-20)/float64(len(columns)) }
	for i, name := range columns {
		s.text(at(i), y+47, 12, "#1f60c4", "start", name, `font-weight="600"`)
		for row, found := range p.series {
			s.text(at(i), y+73+float64(row)*26, 12, ink, "start", clip(found.labels[name], w/float64(len(columns)), 12))
		}
	}
	for row := range len(p.series) + 1 {
		s.add(`<path d="M%.1f %.1fh%.1f" stroke="%s"/>`, x+10, y+55+float64(row)*26, w-20, line)
	}
}

// clip cuts text to about the width.
func clip(text string, width, size float64) string {
	if most := int(width / (size * 0.56)); len(text) > most {
		return text[:max(0, most-1)] + "…"
	}
	return text
}

func (s *picture) graph(p *panel, x, y, w, h float64, from, to time.Time) {
	stacked := p.FieldConfig.Defaults.Custom.Stacking.Mode == "normal"
	logarithmic := p.FieldConfig.Defaults.Custom.ScaleDistribution.Type == "log"
	lines := p.series
	if stacked {
		lines = stack(lines)
	}
	axis := newAxis(lines, logarithmic, p)
	left, right, top, bottom := x+62, x+w-12, y+34, y+h-24-s.legendRows(p, w)*16
	atX := func(ms int64) float64 {
		return left + (right-left)*float64(ms-from.UnixMilli())/float64(to.UnixMilli()-from.UnixMilli())
	}
	atY := func(v float64) float64 { return bottom - (bottom-top)*axis.share(v) }

	for _, tick := range axis.ticks {
		s.add(`<path d="M%.1f %.1fH%.1f" stroke="%s"/>`, left, atY(tick), right, line)
		s.text(left-6, atY(tick)+4, 11, faint, "end", p.format(tick))
	}
	for i := range 5 {
		at := from.Add(time.Duration(i) * to.Sub(from) / 4)
		anchor := map[int]string{0: "start", 4: "end"}[i]
		s.text(atX(at.UnixMilli()), bottom+15, 11, faint, cmp.Or(anchor, "middle"), at.UTC().Format("15:04"))
	}
	for _, step := range p.FieldConfig.Defaults.Thresholds.Steps {
		if p.FieldConfig.Defaults.Custom.ThresholdsStyle.Mode == "line" && step.Value != nil {
			s.add(`<path d="M%.1f %.1fH%.1f" stroke="%s" stroke-dasharray="5 3"/>`, left, atY(*step.Value), right,
				colour(step.Color))
		}
	}
	for i := range slices.Backward(lines) { // the lower ones of a stack over the higher ones
		s.curve(lines[i], p.lineColour(i), stacked, atX, atY, bottom)
	}
	s.legends(p, x, bottom+34, w)
}

func (p *panel) lineColour(i int) string {
	for _, override := range p.FieldConfig.Overrides {
		if override.Matcher.Options == p.series[i].legend {
			return colour(override.Properties[0].Value.FixedColor)
		}
	}
	return palette[i%len(palette)]
}

func (s *picture) curve(
	c series, fill string, area bool, atX func(int64) float64, atY func(float64) float64, bottom float64,
) {
	var path strings.Builder
	for i, at := range c.points {
		fmt.Fprintf(&path, "%s%.1f %.1f", map[bool]string{true: "M", false: "L"}[i == 0], atX(at.at), atY(at.value))
	}
	if area {
		first, last := atX(c.points[0].at), atX(c.points[len(c.points)-1].at)
		closed := fmt.Sprintf("%sL%.1f %.1fL%.1f %.1fZ", path.String(), last, bottom, first, bottom)
		s.add(`<path d="%s" fill="%s"/><path d="%[1]s" fill="%[3]s" fill-opacity="0.3"/>`, closed, paper, fill)
	}
	s.add(`<path d="%s" fill="none" stroke="%s" stroke-width="1.4" stroke-linejoin="round"/>`, path.String(), fill)
}

// places are where the entries of a legend begin, as offsets, and the row of each.
func places(p *panel, w float64) (offsets []float64, rows []int) {
	x, row := 14.0, 0
	for _, entry := range p.series {
		wide := 26 + 6.4*float64(len(entry.legend))
		if x+wide > w-8 && x > 14 {
			x, row = 14, row+1
		}
		offsets, rows = append(offsets, x), append(rows, row)
		x += wide
	}
	return offsets, rows
}

func (*picture) legendRows(p *panel, w float64) float64 {
	_, rows := places(p, w)
	return float64(rows[len(rows)-1] + 1)
}

func (s *picture) legends(p *panel, x, y, w float64) {
	offsets, rows := places(p, w)
	for i, entry := range p.series {
		at := y + float64(rows[i])*16
		s.add(`<rect x="%.1f" y="%.1f" width="12" height="3" rx="1" fill="%s"/>`, x+offsets[i], at-5, p.lineColour(i))
		s.text(x+offsets[i]+17, at, 11, ink, "start", clip(entry.legend, w-30, 11))
	}
}

// stack adds to each series those before it.
func stack(lines []series) []series {
	sums := map[int64]float64{}
	stacked := make([]series, len(lines))
	for i, c := range lines {
		stacked[i] = series{legend: c.legend}
		for _, at := range c.points {
			sums[at.at] += at.value
			stacked[i].points = append(stacked[i].points, point{at.at, sums[at.at]})
		}
	}
	return stacked
}

// axis is the vertical one.
type axis struct {
	low, high   float64
	logarithmic bool
	ticks       []float64
}

func newAxis(lines []series, logarithmic bool, p *panel) axis {
	a := axis{low: math.Inf(1), logarithmic: logarithmic}
	for _, c := range lines {
		for _, at := range c.points {
			if at.value > 0 {
				a.low = min(a.low, at.value)
			}
			a.high = max(a.high, at.value)
		}
	}
	for _, step := range p.FieldConfig.Defaults.Thresholds.Steps {
		if step.Value != nil {
			a.high = max(a.high, *step.Value)
		}
	}
	if logarithmic && a.high > 0 {
		a.low, a.high = math.Pow(10, math.Floor(math.Log10(a.low))), math.Pow(10, math.Ceil(math.Log10(a.high)))
		for tick := a.low; tick <= a.high*1.01; tick *= 10 {
			a.ticks = append(a.ticks, tick)
		}
		return a
	}
	a.low, a.logarithmic = 0, false
	step := nice(a.high / 4)
	if p.FieldConfig.Defaults.Unit == "s" && step > 10 {
		step = 60 * nice(a.high/240)
	}
	a.high = step * max(1, math.Ceil(a.high/step*1.02))
	for tick := 0.0; tick <= a.high*1.001; tick += step {
		a.ticks = append(a.ticks, tick)
	}
	return a
}

// nice rounds up to 1, 2 or 5 and zeros; of bytes to a power of 2.
func nice(v float64) float64 {
	if v <= 0 {
		return 1
	}
	if v > 1<<20 {
		return math.Pow(2, math.Ceil(math.Log2(v)))
	}
	ten := math.Pow(10, math.Floor(math.Log10(v)))
	for _, factor := range []float64{1, 2, 5} {
		if v <= factor*ten {
			return factor * ten
		}
	}
	return 10 * ten
}

func (a axis) share(v float64) float64 {
	if a.logarithmic {
		return math.Log10(max(v, a.low)/a.low) / math.Log10(a.high/a.low)
	}
	return v / a.high
}

// format writes a value as Grafana does in the unit of the panel.
func (p *panel) format(v float64) string {
	switch p.FieldConfig.Defaults.Unit {
	case "percentunit":
		return short(v*100) + " %"
	case "s":
		return seconds(v)
	case "ops", "reqps":
		return short(v) + "/s"
	case "bytes":
		return short(v/(1<<20)) + " MiB"
	default:
		if v >= 10_000 {
			return short(v/1000) + " k"
		}
		return short(v)
	}
}

func short(v float64) string {
	text := fmt.Sprintf("%.*f", map[bool]int{true: 0, false: 2}[math.Abs(v) >= 100], v)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

func seconds(v float64) string {
	for _, u := range []struct {
		name   string
		length float64
	}{{"weeks", 604800}, {"days", 86400}, {"h", 3600}, {"min", 60}, {"s", 1}, {"ms", 1e-3}} {
		if v >= u.length {
			return short(v/u.length) + " " + u.name
		}
	}
	if v == 0 {
		return "0 s"
	}
	return short(v*1e6) + " µs"
}
