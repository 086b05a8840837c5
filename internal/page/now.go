package page

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/manifests"
	"github.com/groupgate/groupgate/internal/overview"
	"github.com/groupgate/groupgate/internal/refusals"
	"github.com/groupgate/groupgate/internal/refusals/replicaclient"
)

const (
	// detailedApps is up to how many apps are shown with all that was found; of more, each has the worst.
	detailedApps = 5
	// plansOfNow bounds the plans that are named; the page Waiting has all.
	plansOfNow = 5
)

// nowPage is the page Now.
type nowPage struct {
	// App is the only one that is shown, as the query wants; empty for all.
	App   string
	Gates []gate
	// Brief says that each gate has only the worst of its findings.
	Brief bool
	Chart *chart
	// Silent says that not all of the joins are known.
	Silent bool
	// Waiting is how many plans wait, -1 where that is not known: WaitingProblem says why, or all that were read are
	// void. Plans are those of them to decide about first.
	Waiting        int
	Plans          []*entry
	WaitingProblem string
	// MoreWaiting says that more wait than Waiting.
	MoreWaiting bool
}

// gate is an app with what is known of it.
type gate struct {
	overview.App
	// Callbacks is what the condition CallbacksVerified says, and CallbacksSince since when.
	Callbacks      string
	CallbacksSince time.Time
	// More is how many findings are not shown.
	More int
}

// now is the page that says whether the gate is closed.
func (s *server) now(v *visit) (*view, error) {
	apps, err := v.appsOfNow()
	if err != nil {
		return nil, err
	}
	page := &nowPage{App: v.query("app"), Waiting: -1}
	replicas := v.replicas()
	in := &overview.Input{Apps: apps, Activity: replicaclient.AboutEach(overview.Keys(apps),
		func(app types.NamespacedName) replicaclient.Answer[refusals.Activity] {
			return replicas.Activity(v.request.Context(), app)
		})}
	namespace := s.Namespace
	if page.App != "" {
		namespace = choice{App: page.App}.Name().Namespace
	}
	if in.Policies, err = manifests.Policies(v.request.Context(), v.Client, namespace); err != nil {
		in.PoliciesProblem = err.Error()
	}
	switch plans, _, more, err := v.waitingPlans(namespace); {
	case err != nil:
		page.WaitingProblem = err.Error()
	case len(plans) > 0:
		page.Waiting, page.MoreWaiting, page.Plans = len(plans), more, plans[:min(len(plans), plansOfNow)]
	case !more:
		page.Waiting = 0
	}
	o := overview.New(in)
	page.Brief = len(o.Apps) > detailedApps
	for i := range o.Apps {
		g := gate{App: o.Apps[i]}
		if c := apimeta.FindStatusCondition(apps[i].Status.Conditions, v1alpha1.ConditionCallbacksVerified); c != nil {
			g.Callbacks, g.CallbacksSince = c.Message, c.LastTransitionTime.Time
		}
		if page.Brief && len(g.Findings) > 1 {
			g.More = len(g.Findings) - 1
			g.Findings = g.Findings[:1]
		}
		page.Gates = append(page.Gates, g)
	}
	slices.SortStableFunc(page.Gates, func(a, b gate) int {
		return cmp.Or(int(b.State-a.State), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	page.Chart = newChart(v, o.Apps)
	for _, answer := range in.Activity {
		page.Silent = page.Silent || len(answer.Problems) > 0 || len(answer.Replicas) == 0
	}
	return &view{template: "now.html", title: "Now", data: page}, nil
}

// appsOfNow are the app that the query names, or all.
func (v *visit) appsOfNow() ([]v1alpha1.IMApp, error) {
	name := v.query("app")
	if name == "" {
		return manifests.Apps(v.request.Context(), v.Client, v.server.Namespace)
	}
	key := choice{App: name}.Name()
	if !v.nameable(key) {
		return nil, noSuchApp()
	}
	apps := make([]v1alpha1.IMApp, 1)
	return apps, v.Client.Get(v.request.Context(), key, &apps[0])
}

// Key is the "namespace/name" of the app.
func (g *gate) Key() string { return g.Namespace + "/" + g.Name }

// Class is that of the state in style.css.
func (g *gate) Class() string {
	return map[overview.State]string{
		overview.Closed: "good", overview.Doubtful: "warn", overview.Unknown: "unknown", overview.Open: "bad",
	}[g.State]
}

// LastJoin is when a join was last decided, to five minutes; zero if that is not known.
func (g *gate) LastJoin() (last time.Time) {
	for _, interval := range g.Joins.Intervals {
		if interval.Admitted+interval.Refused > 0 {
			last = interval.Start
		}
	}
	return last
}

// GateState says in a sentence whether a gate is closed.
func (v *visit) GateState(state overview.State) string {
	return v.T(map[overview.State]string{
		overview.Closed:   say("The gate is closed: every join is decided by the policies as they are written."),
		overview.Doubtful: say("The gate decides, but something needs attention."),
		overview.Unknown:  say("It is not known whether the gate is closed."),
		overview.Open:     say("The gate is open: accounts join without being judged."),
	}[state])
}

// Finding is what was found, in the language of the visit.
func (v *visit) Finding(f overview.Finding) template.HTML {
	text := template.HTML(template.HTMLEscapeString(v.T(f.Text, f.Args...))) //nolint:gosec // escaped
	if f.Object != "" {
		text = v.HTML("%s: %s", f.Object, text)
	}
	if f.Recorded != "" {
		text += " " + v.Recorded(f.Recorded)
	}
	return text
}

const (
	// chartSpan and chartStep are what the chart shows, and in what steps.
	chartSpan, chartStep = 12 * time.Hour, 30 * time.Minute
	// chartWidth, chartHeight and barWidth are in units of the picture.
	chartWidth, chartHeight, barWidth = 720, 120, chartWidth / int(chartSpan/chartStep)
)

// chart is a picture of the joins of the last hours, and the same as a table.
type chart struct {
	Bars []bar
	// Admitted, Refused and Leaked are the paths of the bars, and Unknown that of the times of which not all is known.
	Admitted, Refused, Leaked, Unknown string
	Labels                             []label
	// Sum is what all bars have together; its Start is that of the first.
	Sum refusals.Interval
	// Most is the height of the highest bar.
	Most uint64
	// Since is from when on all replicas counted; zero if that was before the first bar.
	Since time.Time
	// Gaps says that an app is not in the chart.
	Gaps bool
}

// bar is a step of the chart.
type bar struct {
	refusals.Interval
	// Complete says that all replicas counted during all of it.
	Complete bool
}

// label is a time below the chart.
type label struct {
	X    int
	Text string
}

func newChart(v *visit, apps []overview.App) *chart {
	c := &chart{}
	first := v.now.Truncate(chartStep).Add(chartStep - chartSpan)
	c.Bars = make([]bar, chartSpan/chartStep)
	for i := range c.Bars {
		start := first.Add(time.Duration(i) * chartStep)
		c.Bars[i] = bar{Interval: refusals.Interval{Start: start}, Complete: true}
		if i%4 == 0 {
			c.Labels = append(c.Labels, label{X: i * barWidth, Text: v.Hour(start)})
		}
	}
	c.Sum.Start = first
	known := false
	for i := range apps {
		joins := apps[i].Joins
		if joins == nil {
			c.Gaps = true
			continue
		}
		known = true
		if joins.Since.After(first) && joins.Since.After(c.Since) {
			c.Since = joins.Since
		}
		for _, interval := range joins.Intervals {
			if at := int(interval.Start.Sub(first) / chartStep); !interval.Start.Before(first) && at < len(c.Bars) {
				add(&c.Bars[at].Interval, interval)
				add(&c.Sum, interval)
			}
		}
	}
	if !known {
		return nil
	}
	for i := range c.Bars {
		b := &c.Bars[i]
		b.Complete = !c.Since.After(b.Start)
		c.Most = max(c.Most, b.Admitted+b.Refused+b.Leaked)
	}
	c.draw()
	return c
}

func add(sum *refusals.Interval, interval refusals.Interval) {
	sum.Admitted += interval.Admitted
	sum.Refused += interval.Refused
	sum.Leaked += interval.Leaked
}

// draw makes the paths: one for all bars of a kind, which is a tenth of the size of as many rectangles.
func (c *chart) draw() {
	var admitted, refused, leaked, unknown strings.Builder
	for i, b := range c.Bars {
		if !b.Complete {
			fmt.Fprintf(&unknown, "M%d %dh%dv-%dh-%dz", i*barWidth, chartHeight, barWidth, chartHeight, barWidth)
		}
		base := uint64(0)
		for _, part := range []struct {
			to *strings.Builder
			n  uint64
		}{{&admitted, b.Admitted}, {&refused, b.Refused}, {&leaked, b.Leaked}} {
			if part.n == 0 {
				continue
			}
			height := max(2, int(float64(part.n)/float64(c.Most)*(chartHeight-16)))
			bottom := chartHeight - int(float64(base)/float64(c.Most)*(chartHeight-16))
			fmt.Fprintf(part.to, "M%d %dh%dv-%dh-%dz", i*barWidth, bottom, barWidth-2, height, barWidth-2)
			base += part.n
		}
	}
	c.Admitted, c.Refused, c.Leaked, c.Unknown = admitted.String(), refused.String(), leaked.String(), unknown.String()
}

// Hour is a time of day in the zone of the visit.
func (v *visit) Hour(t time.Time) string { return t.In(v.zone).Format("15:04") }
