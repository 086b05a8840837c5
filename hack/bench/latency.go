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

// latency measures Groupgate under an open loop at half of what it can take: quiet, while 100 ConfigMaps a second are edited, and while
// 100 policies a second are. Every answer is checked against the editions that may have answered.
func (b *bench) latency(ctx context.Context) (err error) {
	s, err := startGroupgate(ctx, b, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	bare, err := b.startPeer(ctx, "bare", 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bare.end()) }()
	if err := b.plane.yield(); err != nil {
		return err
	}
	defer func() {
		if err := b.plane.unyield(); err != nil { // only root may take that back
			b.say("the control plane stays at low priority: %v", err)
		}
	}()
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
	tail, bareTail := map[string][]float64{}, map[string][]float64{}
	at := func(h *hdrhistogram.Histogram, q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1e3 }
	var checked verdictCount
	for round := range b.rounds {
		for i := range states {
			state := states[(i+round)%len(states)]
			if err := during(ctx, state.background, func(ctx context.Context) error {
				before, err := cpuTime(s.pids...)
				if err != nil {
					return err
				}
				requests, drawn := groupgate.requests(w.population), w.callbacks(4096)
				h, err := openLoop(ctx, s.target, requests, latencyConnections, rate, 3*b.round, func(i int, sent, received time.Time, answer []byte) {
					checked.add(policies, &drawn[i], sent, received, answer)
				})
				if err != nil {
					return err
				}
				after, err := cpuTime(s.pids...)
				if err != nil {
					return err
				}
				// What edits cost the manager is the difference between the states.
				b.results.add("latency/"+state.name+"/manager-us-per-callback", float64((after-before).Microseconds())/float64(h.TotalCount()))
				b.say("%s round %d: p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, worst %.2f ms", state.name, round+1, at(h, 50), at(h, 99), at(h, 99.9), float64(h.Max())/1e3)
				b.results.add("latency/"+state.name+"/p50-ms", at(h, 50))
				b.results.add("latency/"+state.name+"/p99-ms", at(h, 99))
				b.results.add("latency/"+state.name+"/p99.9-ms", at(h, 99.9))
				tail[state.name] = append(tail[state.name], at(h, 99.9))
				if state.background == nil {
					return nil
				}
				// What a process without any policies feels of the same: it shares the machine, and nothing else, with who takes the edits.
				if h, err = openLoop(ctx, bare.target, requests, latencyConnections, rate, 3*b.round, nil); err != nil {
					return fmt.Errorf("bare: %w", err)
				}
				b.say("%s round %d, bare: p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, worst %.2f ms", state.name, round+1, at(h, 50), at(h, 99), at(h, 99.9), float64(h.Max())/1e3)
				b.results.add("latency/"+state.name+"/bare-p99.9-ms", at(h, 99.9))
				bareTail[state.name] = append(bareTail[state.name], at(h, 99.9))
				return nil
			}); err != nil {
				return fmt.Errorf("%s: %w", state.name, err)
			}
		}
	}
	b.results.add("latency/policies-per-configmaps", ratios(tail["policies"], tail["configmaps"])...)
	b.results.add("latency/policies-per-quiet", ratios(tail["policies"], tail["quiet"])...)
	b.results.add("latency/bare/policies-per-configmaps", ratios(bareTail["policies"], bareTail["configmaps"])...)
	b.results.add("latency/wrong", float64(checked.wrong.Load()))
	b.results.add("latency/answers", float64(checked.answers.Load()))
	b.results.add("latency/oldest-answer-ms", milliseconds(checked.oldest))
	if first := checked.first.Load(); first != nil {
		b.say("the first wrong verdict: %s", *first)
	}
	return b.restore(ctx, policies)
}

// verdictCount counts answers and the wrong ones among them.
type verdictCount struct {
	answers, wrong atomic.Int64
	first          atomic.Pointer[string]

	mu     sync.Mutex
	oldest time.Duration
}

func (v *verdictCount) seen(age time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.oldest = max(v.oldest, age)
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
		problem = "nobody had made that edition yet"
	} else {
		v.seen(age)
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
