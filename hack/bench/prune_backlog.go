package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/dynamic"

	"github.com/groupgate/groupgate/internal/lab"
)

const (
	backlogRuns = 20_000
	// backlogRate is the requests a second of the app. A run of a group that does not exist takes one.
	backlogRate = 2
	// backlogIdle is how long a replica is watched while nothing happens, and backlogPatience how long it may take to
	// become quiet.
	backlogIdle     = time.Minute
	backlogPatience = 10 * time.Minute
	// idleCores is what a replica may use while nothing happens.
	idleCores = 0.05
)

// pruneBacklog measures what waiting runs cost, and whether an undo and a denial wait for them.
func (b *bench) pruneBacklog(ctx context.Context) error {
	table := b.results.table(
		fmt.Sprintf("Runs that wait, at %d requests a second of the app:", backlogRate),
		"runs", "that", "quiet after", "API requests", "in the next minute", "CPU then, cores", "resident, MiB",
		"undo begins after", "denial ends after", "load average")
	for _, c := range []struct {
		that  string
		shape func(run *unstructured.Unstructured)
	}{
		{"await approval", func(*unstructured.Unstructured) {}},
		{"have no plan", func(run *unstructured.Unstructured) { unstructured.RemoveNestedField(run.Object, "status") }},
	} {
		const rule = "{mode: Approve, inactiveFor: 30d, freeSeats: 10, notification: Silent}"
		err := b.onPruning(ctx, rule, func(p *pruning) error { return p.backlog(ctx, table, c.that, c.shape) })
		if err != nil {
			return fmt.Errorf("runs that %s: %w", c.that, err)
		}
	}
	return nil
}

// backlog adds a row to the table. The runs that wait are like one that the manager has planned.
func (p *pruning) backlog(
	ctx context.Context, table *table, that string, shape func(*unstructured.Unstructured),
) error {
	api, err := dynamic.NewForConfig(p.Config)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	runs := api.Resource(pruneRunResource).Namespace(p.Namespace)
	m, err := p.startManager(ctx, memoryLimit)
	if err != nil {
		return err
	}
	if err := p.fill(ctx, "lounge", "Public", 100); err != nil {
		return err
	}
	planned, err := p.awaitRun(ctx, runs, "", "Complete", "AwaitingApproval")
	if err != nil {
		return err
	}
	done := planned.GetName()
	if err := edit(ctx, runs, done, `{"spec":{"approval":"Approved"}}`); err != nil {
		return err
	}
	if _, err := p.awaitRun(ctx, runs, done, "Complete", "Removed"); err != nil {
		return err
	}
	app := lab.App{Spec: fmt.Sprintf("rest: {requestsPerSecond: %d}", backlogRate)}
	if err := p.Apply(ctx, app.Manifests()); err != nil {
		return err
	}
	begun, requests := time.Now(), [3]float64{}
	if requests[0], err = p.apiRequests(ctx); err != nil {
		return err
	}
	if err := p.storeBacklog(ctx, planned, shape); err != nil {
		return err
	}
	p.say("stored %d runs in %s", backlogRuns, time.Since(begun).Round(time.Second))
	if err := p.awaitQuiet(ctx, m); err != nil {
		return err
	}
	quietAfter := time.Since(begun)
	if requests[1], err = p.apiRequests(ctx); err != nil {
		return err
	}
	cores, err := coresOf(ctx, m.PID(), backlogIdle)
	if err != nil {
		return err
	}
	if requests[2], err = p.apiRequests(ctx); err != nil {
		return err
	}
	held, err := memory(m.PID(), resident)
	if err != nil {
		return err
	}
	undo, err := p.timed(ctx, runs, done, `{"spec":{"undo":"Requested"}}`, "Undone", "")
	if err != nil {
		return err
	}
	last := backlogName(backlogRuns - 1)
	denial, err := p.timed(ctx, runs, last, `{"spec":{"approval":"Denied"}}`, "Complete", "Denied")
	table.add(backlogRuns, that, quietAfter.Round(time.Second), requests[1]-requests[0], requests[2]-requests[1], cores,
		held, seconds(undo), seconds(denial), loadAverage())
	return err
}

func backlogName(i int) string { return fmt.Sprintf("prod-%s-1", groupHash(backlogGroup(i))) }

func backlogGroup(i int) string { return fmt.Sprintf("waiting-%d", i) }

func groupHash(group string) string {
	sum := sha256.Sum256([]byte(group))
	return hex.EncodeToString(sum[:8])
}

// storeBacklog puts copies of a run into etcd, past the API server: 20,000 runs with a status would take it many
// minutes.
func (p *pruning) storeBacklog(
	ctx context.Context, like *unstructured.Unstructured, shape func(*unstructured.Unstructured),
) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i := range backlogRuns {
		run := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": like.GetAPIVersion(), "kind": like.GetKind(),
			"spec": like.Object["spec"], "status": like.Object["status"],
		}}
		run = run.DeepCopy()
		run.SetName(backlogName(i))
		run.SetNamespace(p.Namespace)
		run.SetUID(uuid.NewUUID())
		run.SetGeneration(1)
		run.SetCreationTimestamp(like.GetCreationTimestamp())
		labels := like.GetLabels()
		labels["groupgate.io/group-hash"] = groupHash(backlogGroup(i))
		run.SetLabels(labels)
		if err := unstructured.SetNestedField(run.Object, backlogGroup(i), "spec", "groupID"); err != nil {
			return fmt.Errorf("name the group of a run: %w", err)
		}
		shape(run)
		g.Go(func() error { return p.store(ctx, run) })
	}
	return g.Wait()
}

// store is a put of the JSON gateway of etcd.
func (p *pruning) store(ctx context.Context, run *unstructured.Unstructured) error {
	value, err := run.MarshalJSON()
	if err != nil {
		return fmt.Errorf("write a run: %w", err)
	}
	key := "/registry/groupgate.io/pruneruns/" + run.GetNamespace() + "/" + run.GetName()
	body, err := json.Marshal(map[string][]byte{"key": []byte(key), "value": value})
	if err != nil {
		return fmt.Errorf("write a request to etcd: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.EtcdURL()+"/v3/kv/put", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make a request to etcd: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("store a run: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("store a run: etcd answers %s", response.Status)
	}
	return nil
}

// awaitQuiet waits until the replica uses no more CPU time than an idle one may. It may still examine runs, at the pace
// of the API server.
func (p *pruning) awaitQuiet(ctx context.Context, m *lab.Manager) error {
	ctx, cancel := context.WithTimeout(ctx, backlogPatience)
	defer cancel()
	for {
		cores, err := coresOf(ctx, m.PID(), 5*time.Second)
		if err != nil {
			return fmt.Errorf("wait for a quiet replica: %w", err)
		}
		if p.say("%.3f cores", cores); cores < idleCores {
			return nil
		}
	}
}

// apiRequests is how many requests for PruneRuns the API server has answered.
func (p *pruning) apiRequests(ctx context.Context) (float64, error) {
	text, err := p.Kubectl(ctx, "", "get", "--raw=/metrics")
	if err != nil {
		return 0, err
	}
	return lab.SumMetric(text, "apiserver_request_total", `resource="pruneruns"`)
}

// coresOf is the CPU time of a process by the time that passes.
func coresOf(ctx context.Context, pid int, during time.Duration) (float64, error) {
	before, err := cpuTime(pid)
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	if err := wait(ctx, during); err != nil {
		return 0, err
	}
	after, err := cpuTime(pid)
	return (after - before).Seconds() / time.Since(begun).Seconds(), err
}

// timed is how long it takes from an edit of a run to the condition.
func (p *pruning) timed(
	ctx context.Context, runs dynamic.ResourceInterface, name, patch, condition, reason string,
) (time.Duration, error) {
	begun := time.Now()
	if err := edit(ctx, runs, name, patch); err != nil {
		return 0, err
	}
	_, err := p.awaitRun(ctx, runs, name, condition, reason)
	return time.Since(begun), err
}

func edit(ctx context.Context, runs dynamic.ResourceInterface, name, patch string) error {
	_, err := runs.Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("edit run %s: %w", name, err)
	}
	return nil
}

// awaitRun waits for a condition of a run, for that reason if there is one. Without a name it is the only run.
func (p *pruning) awaitRun(
	ctx context.Context, runs dynamic.ResourceInterface, name, condition, reason string,
) (run *unstructured.Unstructured, _ error) {
	what := fmt.Sprintf("run %q to be %s/%s", name, condition, reason)
	return run, p.await(ctx, what, func(ctx context.Context) (bool, error) {
		if name == "" {
			list, err := runs.List(ctx, metav1.ListOptions{})
			if err != nil || len(list.Items) == 0 {
				return false, err
			}
			name = list.Items[0].GetName()
		}
		got, err := runs.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		run = got
		conditions, _, err := unstructured.NestedSlice(run.Object, "status", "conditions")
		for _, c := range conditions {
			if c, ok := c.(map[string]any); ok && c["type"] == condition && (reason == "" || c["reason"] == reason) {
				return true, nil
			}
		}
		return false, err
	})
}
