package main

import (
	"fmt"
	"math"
	"strings"
)

// The panels of the plot.
const (
	panelDecision = "decision"
	panelBuild    = "build"
)

// curve is how a cost grows.
type curve struct {
	Panel string    `json:"panel"`
	Name  string    `json:"name"`
	X     []float64 `json:"x"`
	Y     []float64 `json:"y"`
}

func (c *curve) add(x, y float64) {
	c.X = append(c.X, x)
	c.Y = append(c.Y, y)
}

const (
	panelWidth, panelHeight = 460, 300
	marginLeft, marginTop   = 60, 40
	legendHeight            = 90
)

// plot draws the curves as SVG, both axes logarithmic: a straight line that rises by one decade a decade is a cost that grows as the
// input does, a level one is a cost that does not grow.
func plot(curves []curve) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n",
		2*(panelWidth+marginLeft)+40, panelHeight+marginTop+legendHeight+30)
	fmt.Fprintln(&b, `<rect width="100%" height="100%" fill="white"/>`)
	for i, p := range []struct{ name, title, x, y string }{
		{panelDecision, "DecideJoin, ns", "accounts", "ns"},
		{panelBuild, "Build, ms (1,000,000 accounts)", "policies", "ms"},
	} {
		drawPanel(&b, p.title, p.x, float64(marginLeft+i*(panelWidth+marginLeft+10)), ofPanel(curves, p.name))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func ofPanel(curves []curve, panel string) (chosen []curve) {
	for _, c := range curves {
		if c.Panel == panel && len(c.X) > 0 {
			chosen = append(chosen, c)
		}
	}
	return chosen
}

func drawPanel(b *strings.Builder, title, xName string, left float64, curves []curve) {
	if len(curves) == 0 {
		return
	}
	var xs, ys []float64
	for _, c := range curves {
		xs, ys = append(xs, c.X...), append(ys, c.Y...)
	}
	x, y := decades(xs), decades(ys)
	at := func(px, py float64) (float64, float64) {
		return left + x.at(px)*panelWidth, marginTop + (1-y.at(py))*panelHeight
	}
	fmt.Fprintf(b, `<text x="%.0f" y="24" font-weight="bold">%s</text>`+"\n", left, title)
	for e := x.from; e <= x.to; e++ {
		px, _ := at(math.Pow10(e), 1)
		fmt.Fprintf(b, `<path d="M%.1f %d V%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			px, marginTop, marginTop+panelHeight, px, marginTop+panelHeight+16, tick(e))
	}
	for e := y.from; e <= y.to; e++ {
		_, py := at(1, math.Pow10(e))
		fmt.Fprintf(b, `<path d="M%.1f %.1f h%d" stroke="#ddd"/><text x="%.1f" y="%.1f" text-anchor="end">%s</text>`+"\n", left, py, panelWidth, left-6, py+4, tick(e))
	}
	fmt.Fprintf(b, `<text x="%.0f" y="%d" text-anchor="middle">%s</text>`+"\n", left+panelWidth/2, marginTop+panelHeight+32, xName)
	for i, c := range curves {
		color := []string{"#1b6ca8", "#c8553d", "#588157"}[i%3]
		var points []string
		for j := range c.X {
			px, py := at(c.X[j], c.Y[j])
			points = append(points, fmt.Sprintf("%.1f,%.1f", px, py))
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", px, py, color)
		}
		legend := marginTop + panelHeight + 52 + 18*i
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/><path d="M%.0f %d h20" stroke="%s" stroke-width="2"/><text x="%.0f" y="%d">%s</text>`+"\n",
			strings.Join(points, " "), color, left, legend-4, color, left+26, legend, c.Name)
	}
}

// scale is an axis from one power of ten to another.
type scale struct{ from, to int }

func decades(values []float64) scale {
	lowest, highest := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		lowest, highest = min(lowest, math.Log10(v)), max(highest, math.Log10(v))
	}
	s := scale{int(math.Floor(lowest)), int(math.Ceil(highest))}
	if s.from == s.to {
		s.to++
	}
	return s
}

// at is where a value lies on the axis, from 0 to 1.
func (s scale) at(v float64) float64 { return (math.Log10(v) - float64(s.from)) / float64(s.to-s.from) }

// tick writes a power of ten.
func tick(e int) string {
	switch {
	case e >= 6:
		return fmt.Sprintf("%.0fM", math.Pow10(e-6))
	case e >= 3:
		return fmt.Sprintf("%.0fk", math.Pow10(e-3))
	default:
		return fmt.Sprintf("%g", math.Pow10(e))
	}
}
