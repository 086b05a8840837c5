package refusals

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// samplePeriod is how often the counters are read, so that an interval has what happened in it up to this.
const samplePeriod = 10 * time.Second

// Totals are how many accounts of one app were admitted, refused, and found to be leaks, since some time that only goes
// forward when the app is deleted.
type Totals struct{ Admitted, Refused, Leaked uint64 }

// Counts is the activity of each app, read from counters that count anyway: a join costs nothing for it. It is safe for
// concurrent use.
type Counts struct {
	// Replica is its name.
	Replica string
	// Totals returns those of all apps that the snapshot in force has, by "namespace/name".
	Totals func() map[string]Totals
	// Freshness returns Activity.SnapshotAt and Activity.Stale.
	Freshness func() (at time.Time, stale bool)
	Now       func() time.Time

	mu    sync.Mutex
	since time.Time
	apps  map[string]*counted
}

// counted is what is known of one app.
type counted struct {
	last      Totals
	intervals []Interval // those in which something happened, oldest first
}

// Start reads the counters until ctx ends.
func (c *Counts) Start(ctx context.Context) error {
	ticker := time.NewTicker(samplePeriod)
	defer ticker.Stop()
	for {
		c.sample()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// NeedLeaderElection is false: every replica counts.
func (c *Counts) NeedLeaderElection() bool { return false }

func (c *Counts) sample() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	// One reading after the other: an older one would look like counters that began again.
	totals, now := c.Totals(), c.Now().UTC()
	if c.apps == nil {
		c.since, c.apps = now, map[string]*counted{}
	}
	maps.DeleteFunc(c.apps, func(app string, _ *counted) bool {
		_, ok := totals[app]
		return !ok
	})
	start := now.Truncate(IntervalLength)
	for app, total := range totals {
		known := c.apps[app]
		if known == nil {
			known = &counted{}
			c.apps[app] = known
		}
		known.add(start, total)
	}
	return now
}

// add adds what is new of the totals to the interval.
func (c *counted) add(start time.Time, total Totals) {
	last := c.last
	if total.Admitted < last.Admitted || total.Refused < last.Refused || total.Leaked < last.Leaked {
		last = Totals{} // another app of the same name
	}
	c.last = total
	if total == last {
		return
	}
	if n := len(c.intervals); n == 0 || c.intervals[n-1].Start.Before(start) {
		oldest := start.Add(-MaxIntervals * IntervalLength)
		c.intervals = slices.DeleteFunc(c.intervals, func(i Interval) bool { return !i.Start.After(oldest) })
		c.intervals = append(c.intervals, Interval{Start: start})
	}
	current := &c.intervals[len(c.intervals)-1]
	current.Admitted += total.Admitted - last.Admitted
	current.Refused += total.Refused - last.Refused
	current.Leaked += total.Leaked - last.Leaked
}

// Activity returns that of an app, "namespace/name". ok is false for an app that the snapshot in force does not have.
// Before there is a snapshot, nothing is known of any app, and nothing was decided.
func (c *Counts) Activity(app string) (activity Activity, ok bool) {
	at, stale := c.Freshness() // before the sample, which has the apps of any snapshot that there was
	now := c.sample()
	c.mu.Lock()
	defer c.mu.Unlock()
	activity = Activity{Replica: c.Replica, Since: c.since, Now: now, SnapshotAt: at, Stale: stale}
	known := c.apps[app]
	switch {
	case known == nil && at.IsZero():
		known = &counted{}
	case known == nil:
		return Activity{}, false
	}
	first := now.Truncate(IntervalLength).Add(-(MaxIntervals - 1) * IntervalLength)
	if since := c.since.Truncate(IntervalLength); since.After(first) {
		first = since
	}
	byStart := map[time.Time]Interval{}
	for _, interval := range known.intervals {
		byStart[interval.Start] = interval
	}
	for start := first; !start.After(now); start = start.Add(IntervalLength) {
		interval := byStart[start]
		interval.Start = start
		activity.Intervals = append(activity.Intervals, interval)
	}
	return activity, true
}
