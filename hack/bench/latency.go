package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// latencyConnections are enough that none has to wait for another at half the capacity.
const latencyConnections = 64

// latency measures Groupgate under an open loop at half of what it can take: quiet, while 100 ConfigMaps a second are edited, and while
// 100 policies a second are. Every answer is checked against the editions that may have answered.
func (b *bench) latency(ctx context.Context) (err error) {
	s, err := startGroupgate(ctx, b, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	groupgate := contenders()[1]
	w := streamWorld
	var capacities []float64
	for range 3 {
		measured, err := closedLoop(ctx, s.target, groupgate.requests(w.population), b.connections, b.round)
		if err != nil {
			return err
		}
		capacities = append(capacities, measured.perSecond())
	}
	rate := median(capacities) / 2
	b.results.add("latency/rate", rate)
	b.say("open loop at %.0f a second", rate)

	policies := newEditor(b.plane, w)
	if err := b.configMaps(ctx, w); err != nil {
		return err
	}
	states := []struct {
		name       string
		background func(ctx context.Context, n int) error
	}{
		{"quiet", nil},
		{"configmaps", func(ctx context.Context, n int) error {
			return b.plane.mergePatch(ctx, configMapPath(w, n%configMapCount), object{"data": object{"edition": fmt.Sprint(n)}})
		}},
		{"policies", func(ctx context.Context, n int) error {
			group := n % w.groups
			return policies.store(ctx, group, policies.begin(group))
		}},
	}
	tail := map[string][]float64{}
	var wrong, answers atomic.Int64
	for round := range b.rounds {
		for i := range states {
			state := states[(i+round)%len(states)]
			if err := during(ctx, state.background, func(ctx context.Context) error {
				requests, drawn := groupgate.requests(w.population), w.callbacks(4096)
				h, err := openLoop(ctx, s.target, requests, latencyConnections, rate, 3*b.round, func(i int, sent, received time.Time, answer []byte) {
					answers.Add(1)
					if !right(policies, &drawn[i], sent, received, answer) {
						wrong.Add(1)
					}
				})
				if err != nil {
					return err
				}
				at := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1e3 }
				b.say("%s round %d: p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, worst %.2f ms", state.name, round+1, at(50), at(99), at(99.9), float64(h.Max())/1e3)
				b.results.add("latency/"+state.name+"/p50-ms", at(50))
				b.results.add("latency/"+state.name+"/p99-ms", at(99))
				b.results.add("latency/"+state.name+"/p99.9-ms", at(99.9))
				tail[state.name] = append(tail[state.name], at(99.9))
				return nil
			}); err != nil {
				return fmt.Errorf("%s: %w", state.name, err)
			}
		}
	}
	b.results.add("latency/policies-per-configmaps", ratios(tail["policies"], tail["configmaps"])...)
	b.results.add("latency/policies-per-quiet", ratios(tail["policies"], tail["quiet"])...)
	b.results.add("latency/wrong", float64(wrong.Load()))
	b.results.add("latency/answers", float64(answers.Load()))
	return b.restore(ctx, policies)
}

// right says whether an answer is that of an edition that may have given it.
func right(policies *editor, asked *callback, sent, received time.Time, answer []byte) bool {
	if asked.listed {
		return bytes.Contains(answer, []byte(admission))
	}
	number, ok := editionOf(answer)
	return ok && policies.allows(asked.group, number, sent, received)
}

const configMapCount = 1000

func configMapPath(w world, n int) string {
	return fmt.Sprintf("/api/v1/namespaces/%s/configmaps/noise-%06d", w.namespace, n)
}

func (b *bench) configMaps(ctx context.Context, w world) error {
	for n := range configMapCount {
		if err := b.plane.create(ctx, fmt.Sprintf("/api/v1/namespaces/%s/configmaps", w.namespace), object{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": object{"name": fmt.Sprintf("noise-%06d", n)}, "data": object{"edition": "0"},
		}); err != nil {
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
		if err := b.plane.mergePatch(ctx, e.world.policyPath(group), object{"spec": object{"join": object{"reject": object{"message": refusal}}}}); err != nil {
			return err
		}
	}
	return b.plane.settle(ctx)
}
