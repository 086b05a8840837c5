package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb"
)

// day is the length of a block: one holds a record.
const day = int64(24 * time.Hour / time.Millisecond)

// database has the recorded series.
type database struct {
	*tsdb.DB
	dir      string
	engine   *promql.Engine
	from, to int64 // milliseconds of Unix time
	times    int   // at which a replica was scraped
}

func (d *database) step() time.Duration {
	return time.Duration(d.to-d.from) * time.Millisecond / time.Duration(max(1, d.times-1))
}

// load reads the files of hack/record into a database to close.
func load(scrapes string) (*database, error) {
	files, err := filepath.Glob(filepath.Join(scrapes, "*.txt"))
	if err != nil || len(files) < 4 {
		return nil, fmt.Errorf("%d scrapes in %q: say where hack/record wrote them, with --scrapes: %w", len(files),
			scrapes, err)
	}
	slices.Sort(files) // by time
	d := &database{}
	if d.dir, err = os.MkdirTemp("", "groupgate-dashboard-"); err != nil {
		return nil, err
	}
	options := tsdb.DefaultOptions()
	options.MinBlockDuration, options.MaxBlockDuration, options.RetentionDuration = day, day, 0
	if d.DB, err = tsdb.Open(d.dir, nil, nil, options, nil); err != nil {
		return nil, errors.Join(err, os.RemoveAll(d.dir))
	}
	d.engine = promql.NewEngine(promql.EngineOpts{MaxSamples: 50_000_000, Timeout: time.Minute,
		Parser: parser.NewParser(parser.Options{})})
	times := map[string]int{}
	for _, file := range files {
		at, pod, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".txt"), "-")
		ms, err := strconv.ParseInt(at, 10, 64)
		if err == nil {
			err = d.append(file, pod, ms)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("read %s: %w", file, err), d.close())
		}
		if d.from == 0 {
			d.from = ms
		}
		d.to = ms
		times[pod]++
		d.times = max(d.times, times[pod])
	}
	return d, nil
}

func (d *database) close() error { return errors.Join(d.Close(), os.RemoveAll(d.dir)) }

// append adds a scrape, with the labels that a ServiceMonitor gives to its series.
func (d *database) append(file, pod string, at int64) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	parsed, err := textparse.New(text, "text/plain", labels.NewSymbolTable(), textparse.ParserOptions{})
	if err != nil {
		return err
	}
	appender := d.Appender(context.Background())
	for {
		entry, err := parsed.Next()
		if errors.Is(err, io.EOF) {
			return appender.Commit()
		}
		if err != nil {
			return errors.Join(err, appender.Rollback())
		}
		if entry != textparse.EntrySeries {
			continue
		}
		var own labels.Labels
		parsed.Labels(&own)
		builder := labels.NewBuilder(own)
		if own.Has("namespace") {
			builder.Set("exported_namespace", own.Get("namespace"))
		}
		builder.Set("namespace", "groupgate-system").Set("pod", pod).Set("job", "groupgate-metrics")
		_, _, value := parsed.Series()
		if _, err := appender.Append(0, builder.Labels(), at, value); err != nil {
			return errors.Join(err, appender.Rollback())
		}
	}
}

// metrics are the names that were scraped.
func (d *database) metrics(ctx context.Context) ([]string, error) {
	q, err := d.Querier(d.from, d.to)
	if err != nil {
		return nil, err
	}
	defer func() { _ = q.Close() }()
	names, _, err := q.LabelValues(ctx, labels.MetricName, nil)
	return names, err
}

// evaluate fills in the series of a panel.
func (d *database) evaluate(ctx context.Context, p *panel, rateInterval time.Duration) error {
	for _, target := range p.Targets {
		from, step := time.UnixMilli(d.from).Add(rateInterval), d.step()
		to := time.UnixMilli(d.to)
		if target.Instant {
			from = to
		}
		query, err := d.engine.NewRangeQuery(ctx, d, nil, expand(target.Expr, rateInterval), from, to, step)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", p.Title, target.Expr, err)
		}
		result := query.Exec(ctx)
		matrix, err := result.Matrix()
		if err != nil {
			query.Close()
			return fmt.Errorf("%s: %s: %w", p.Title, target.Expr, err)
		}
		for _, found := range matrix {
			s := series{labels: found.Metric.Map()}
			s.legend = legend(target.LegendFormat, s.labels)
			for _, f := range found.Floats {
				if !math.IsNaN(f.F) {
					s.points = append(s.points, point{f.T, f.F})
				}
			}
			if len(s.points) > 0 {
				p.series = append(p.series, s)
			}
		}
		query.Close()
	}
	return nil
}
