package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// latencyConnections are enough that none has to wait for another at half the capacity.
const latencyConnections = 64

// background is what goes on during a measurement, 100 times a second, with a running number.
type background func(ctx context.Context, n int) error

// latency measures Groupgate under an open loop at half of its capacity: quiet, while 100 ConfigMaps a second are
// edited, and while 100 policies a second are. Every answer is checked against the editions that may have answered.
func (b *bench) latency(ctx context.Context) (err error) {
	gate, err := startGroupgate(ctx, b, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, gate.end()) }()
	bare, err := b.startPeer(ctx, "bare", 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bare.end()) }()
	if err := b.plane.renice(10); err != nil {
		return err
	}
	defer func() {
		if err := b.plane.renice(0); err != nil {
			b.say("the control plane stays at low priority: %v", err)
		}
	}()
	w := streamWorld
	l := &latencyRun{bench: b, gate: gate, bare: bare, policies: newEditor(b.plane, w), tails: map[string][]float64{}}
	var capacities []float64
	for range 3 {
		measured, err := closedLoop(ctx, gate.target, contenders()[1].requests(w.population), b.connections, b.round)
		if err != nil {
			return err
		}
		capacities = append(capacities, measured.perSecond())
	}
	l.rate = median(capacities) / 2
	b.results.add("latency/rate", l.rate)
	b.say("open loop at %.0f a second", l.rate)

	if err := b.configMaps(ctx, w); err != nil {
		return err
	}
	states := []struct {
		name string
		background
	}{
		{"quiet", nil},
		{"configmaps", func(ctx context.Context, n int) error {
			edit := object{"data": object{"edition": fmt.Sprint(n)}}
			return b.plane.mergePatch(ctx, configMapPath(w, n%configMapCount), edit)
		}},
		{"policies", func(ctx context.Context, n int) error {
			group := n % w.groups
			return l.policies.store(ctx, group, l.policies.begin(group))
		}},
	}
	for round := range b.rounds {
		for i := range states {
			state := states[(i+round)%len(states)]
			if err := during(ctx, state.background, func(ctx context.Context) error {
				err := l.measure(ctx, state.name)
				if err == nil && state.background != nil {
					err = l.measureBare(ctx, state.name)
				}
				return err
			}); err != nil {
				return fmt.Errorf("%s: %w", state.name, err)
			}
		}
	}
	b.results.add("latency/policies-per-configmaps", ratios(l.tails["policies"], l.tails["configmaps"])...)
	b.results.add("latency/policies-per-quiet", ratios(l.tails["policies"], l.tails["quiet"])...)
	b.results.add(
		"latency/bare/policies-per-configmaps",
		ratios(l.tails["policies, bare"], l.tails["configmaps, bare"])...)
	b.results.add("latency/wrong", float64(l.checked.wrong.Load()))
	b.results.add("latency/answers", float64(l.checked.answers.Load()))
	b.results.add("latency/oldest-answer-ms", milliseconds(l.checked.oldest))
	if first := l.checked.first.Load(); first != nil {
		b.say("the first wrong verdict: %s", *first)
	}
	return b.restore(ctx, l.policies)
}

// latencyRun is one run of the section.
type latencyRun struct {
	*bench
	gate, bare *server
	policies   *editor
	rate       float64
	checked    verdictCount
	tails      map[string][]float64 // p99.9 by state
}

// measure puts the manager under load. The difference between the states is the cost of edits.
func (l *latencyRun) measure(ctx context.Context, state string) error {
	before, err := cpuTime(l.gate.pids...)
	if err != nil {
		return err
	}
	drawn := streamWorld.callbacks(4096)
	h, err := l.load(ctx, l.gate, state, func(i int, sent, received time.Time, answer []byte) {
		l.checked.add(l.policies, &drawn[i], sent, received, answer)
	})
	if err != nil {
		return err
	}
	after, err := cpuTime(l.gate.pids...)
	each := float64((after - before).Microseconds()) / float64(h.TotalCount())
	l.results.add("latency/"+state+"/manager-us-per-callback", each)
	l.results.add("latency/"+state+"/p50-ms", quantile(h, 50))
	l.results.add("latency/"+state+"/p99-ms", quantile(h, 99))
	l.results.add("latency/"+state+"/p99.9-ms", quantile(h, 99.9))
	return err
}

// measureBare does so with a process without policies, which shares the machine with the API server that takes the
// edits, and nothing else.
func (l *latencyRun) measureBare(ctx context.Context, state string) error {
	h, err := l.load(ctx, l.bare, state+", bare", nil)
	if err == nil {
		l.results.add("latency/"+state+"/bare-p99.9-ms", quantile(h, 99.9))
	}
	return err
}

func (l *latencyRun) load(ctx context.Context, s *server, state string, check func(int, time.Time, time.Time, []byte)) (
	*hdrhistogram.Histogram, error,
) {
	requests := contenders()[1].requests(streamWorld.population)
	h, err := openLoop(ctx, s.target, requests, latencyConnections, l.rate, 3*l.round, check)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", state, err)
	}
	l.say("%s: p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, worst %.2f ms",
		state, quantile(h, 50), quantile(h, 99), quantile(h, 99.9), quantile(h, 100))
	l.tails[state] = append(l.tails[state], quantile(h, 99.9))
	return h, nil
}

// verdictCount counts answers and the wrong ones among them.
type verdictCount struct {
	answers, wrong atomic.Int64
	first          atomic.Pointer[string]

	mu     sync.Mutex
	oldest time.Duration
}

// add counts an answer. It is right if it is that of an edition that may have given it.
func (v *verdictCount) add(policies *editor, asked *callback, sent, received time.Time, answer []byte) {
	v.answers.Add(1)
	problem := ""
	if asked.listed {
		if !bytes.Contains(answer, []byte(admission)) {
			problem = "a listed account is refused"
		}
	} else if number, ok := editionOf(answer); !ok {
		problem = "a stranger is not refused"
	} else if age, ok := policies.age(asked.group, number, sent, received); !ok {
		problem = "that edition did not exist yet"
	} else {
		v.mu.Lock()
		v.oldest = max(v.oldest, age)
		v.mu.Unlock()
		if age > staleAfter {
			problem = fmt.Sprintf("the next edition had been stored for %s", age)
		}
	}
	if problem != "" {
		v.wrong.Add(1)
		problem = fmt.Sprintf("%s: %s in group %s: %s", problem, asked.account, groupID(asked.group), answer)
		v.first.CompareAndSwap(nil, &problem)
	}
}

const configMapCount = 1000

func configMapPath(w world, n int) string {
	return fmt.Sprintf("/api/v1/namespaces/%s/configmaps/noise-%06d", w.namespace, n)
}

func (b *bench) configMaps(ctx context.Context, w world) error {
	for n := range configMapCount {
		configMap := object{
			"apiVersion": "v1",
			"kind":       "ConfigMap",
			"metadata":   object{"name": fmt.Sprintf("noise-%06d", n)},
		}
		if err := b.plane.create(ctx, "/api/v1/namespaces/"+w.namespace+"/configmaps", configMap); err != nil {
			return err
		}
	}
	return nil
}

// restore leaves the policies as the next section expects them: without an edition.
func (b *bench) restore(ctx context.Context, e *editor) error {
	for group, editions := range e.editions {
		if len(editions) == 0 {
			continue
		}
		if err := b.plane.mergePatch(ctx, e.world.policyPath(group), refusing(refusal)); err != nil {
			return err
		}
	}
	return b.plane.awaitStatuses(ctx)
}
