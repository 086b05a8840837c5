package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/lab"
	"github.com/groupgate/groupgate/internal/lists"
)

// churnWorld has one policy over a list that `groupgate lists` keeps. Its accounts are made by churn.
var churnWorld = world{
	namespace:  "bench-churn",
	population: population{sdkAppID: 1400000006, groups: 1},
}

const (
	churnRate = 50 // edits a second
	// churnName is the name of the list.
	churnName = "churn"
	// churnPoll is how often each replica is asked whether an edit is in force: by so much it may seem later.
	churnPoll = 2 * time.Millisecond
	// churnConnections is how many connections to each replica are asked over. One signature verifies no more than 16,
	// and others are closed after their answer.
	churnConnections = 12
	// podNamespace is where replicas report what they enforce.
	podNamespace = "groupgate-system"
)

// churn measures how soon the edits of a long list are in force on two replicas, and what they write to etcd.
func (b *bench) churn(ctx context.Context) (err error) {
	w := churnWorld
	list, err := b.churnList(ctx, w)
	if err != nil {
		return err
	}
	accounts := population{accounts: b.churnAccounts}.members(0)
	begun := time.Now()
	made, err := list.Sync(ctx, accounts)
	if err != nil {
		return err
	}
	took := time.Since(begun)
	b.say("a list of %d accounts in %d AccountLists: %s", len(accounts), len(made.Shards), took.Round(time.Second))
	b.results.add("churn/sync-s", took.Seconds())

	var replicas []*lab.Manager
	defer func() {
		for _, m := range replicas {
			err = errors.Join(err, m.Stop(time.Minute))
		}
	}()
	for _, name := range []string{"a", "b"} {
		m, err := b.startPod(ctx, w, name)
		if err != nil {
			return err
		}
		replicas = append(replicas, m)
	}
	if err := b.plane.awaitStatuses(ctx); err != nil {
		return err
	}
	before, err := b.walBytes(ctx)
	if err != nil {
		return err
	}
	used, err := b.apiServer(ctx)
	if err != nil {
		return err
	}
	c := &churning{list: list, world: w, write: newHistogram(), force: newHistogram()}
	for _, m := range replicas {
		pool, err := connect(ctx, m, w)
		if err != nil {
			return err
		}
		c.replicas = append(c.replicas, pool)
	}
	edits, err := c.run(ctx, int(b.churnTime.Seconds()*churnRate), accounts)
	if err != nil {
		return err
	}
	if err := b.plane.awaitStatuses(ctx); err != nil {
		return err
	}
	after, err := b.walBytes(ctx)
	if err != nil {
		return err
	}
	used, err = used.since(b.apiServer(ctx))
	if err != nil {
		return err
	}
	lost, err := list.Diff(ctx, c.expected(accounts))
	if err != nil {
		return err
	}
	b.results.add("churn/lost", float64(len(lost.Add)+len(lost.Remove)))
	b.results.add("churn/etcd", (after-before)/float64(edits)/1024)
	b.results.add("churn/apiserver-cpu-ms", used[apiServerCPU]/float64(edits)*1000)
	b.results.add("churn/write-p50-ms", quantile(c.write, 50))
	b.results.add("churn/write-p99-ms", quantile(c.write, 99))
	b.results.add("churn/force-p50-ms", quantile(c.force, 50))
	b.results.add("churn/force", quantile(c.force, 99))
	b.results.add("churn/force-worst-ms", quantile(c.force, 100))
	b.results.add("churn/late-edits", float64(c.late))
	b.say("%d edits: in force p50 %.1f ms, p99 %.1f ms, worst %.1f ms; a write p50 %.1f ms, p99 %.1f ms; load %s",
		edits, quantile(c.force, 50), quantile(c.force, 99), quantile(c.force, 100), quantile(c.write, 50),
		quantile(c.write, 99), loadAverage())
	b.say("for each edit, the API server used %.1f ms of CPU and answered%s",
		used[apiServerCPU]/float64(edits)*1000, used.requests(edits))
	return nil
}

// churnList makes the world without accounts.
func (b *bench) churnList(ctx context.Context, w world) (*lists.List, error) {
	if err := b.startPlane(ctx); err != nil {
		return nil, err
	}
	namespace := lab.World{ControlPlane: b.plane.ControlPlane, Namespace: w.namespace}
	policy := lab.PolicyManifest("churn", fmt.Sprintf(`groups: [{value: %q}]
join:
  allow: {lists: [{selector: {matchLabels: {list: %s}}}]}
  reject: {code: 10110, message: %q}
`, groupID(0), churnName, refusal))
	err := namespace.Apply(ctx, lab.NamespaceManifests(w.namespace), lab.App{SDKAppID: w.sdkAppID}.Manifests(), policy)
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	config := rest.CopyConfig(b.plane.Config)
	config.QPS = -1
	reach, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	return &lists.List{Client: reach, Namespace: w.namespace, Name: churnName}, nil
}

// startPod starts a replica that reports what it enforces, as in a Pod.
func (b *bench) startPod(ctx context.Context, w world, name string) (*lab.Manager, error) {
	namespace := lab.World{
		ControlPlane: b.plane.ControlPlane, Namespace: w.namespace, Binary: b.groupgate,
		Env: []string{"POD_NAMESPACE=" + podNamespace, "POD_NAME=bench-" + name, "POD_UID=bench-" + name},
	}
	m, err := namespace.StartManager(b.log, "", "--shutdown-delay=0s", "--log-level=error", "--sweep-interval=24h")
	if err != nil {
		return nil, err
	}
	if err := m.AwaitReady(ctx); err != nil {
		return nil, errors.Join(err, m.Kill())
	}
	return m, nil
}

// walBytes is what etcd has written to its log: every value, and its own overhead.
func (b *bench) walBytes(ctx context.Context) (float64, error) {
	return lab.Metric(ctx, b.plane.EtcdURL()+"/metrics", "etcd_disk_wal_write_bytes_total")
}

// apiServerUse is what the API server has done so far, by the name of a metric or of a kind of request.
type apiServerUse map[string]float64

const apiServerCPU = "process_cpu_seconds_total"

// apiServerRequests are the kinds of requests that edits cause, with the labels that apiserver_request_total has.
var apiServerRequests = map[string][]string{
	"GET":           {`resource="accountlists"`, `verb="GET"`},
	"LIST":          {`resource="accountlists"`, `verb="LIST"`},
	"writes":        {`resource="accountlists"`, `subresource=""`, `verb="APPLY"`},
	"patches":       {`resource="accountlists"`, `subresource=""`, `verb="PATCH"`},
	"statuses":      {`resource="accountlists"`, `subresource="status"`, `verb="PATCH"`},
	"Lease reports": {`resource="leases"`, `verb="APPLY"`},
}

func (b *bench) apiServer(ctx context.Context) (apiServerUse, error) {
	text, err := b.plane.api.Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the metrics of the API server: %w", err)
	}
	use := apiServerUse{}
	if use[apiServerCPU], err = lab.SumMetric(string(text), apiServerCPU); err != nil {
		return nil, err
	}
	for kind, labels := range apiServerRequests {
		// A kind that has not come yet has no metric.
		use[kind], _ = lab.SumMetric(string(text), "apiserver_request_total", labels...)
	}
	return use, nil
}

// since returns what was done from u to now.
func (u apiServerUse) since(now apiServerUse, err error) (apiServerUse, error) {
	for kind := range now {
		now[kind] -= u[kind]
	}
	return now, err
}

// requests says how many of each kind came for each edit.
func (u apiServerUse) requests(edits int) string {
	var text strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(apiServerRequests)) {
		fmt.Fprintf(&text, " %.2f %s", u[kind]/float64(edits), kind)
	}
	return text.String()
}

// churning is a run of edits.
type churning struct {
	list     *lists.List
	replicas []chan *connection // that are not in use
	world    world

	mu sync.Mutex
	// write is how long the writes took, force how long it took from then on until both replicas had it.
	write, force *hdrhistogram.Histogram
	added        []string
	removed      int
	late         int // began more than a second after they were due
}

// run makes n edits at a constant rate, in turn an addition and a removal of some account.
func (c *churning) run(ctx context.Context, n int, accounts []string) (edits int, err error) {
	g, ctx := errgroup.WithContext(ctx)
	begun := time.Now()
	for i := range n {
		due := begun.Add(time.Duration(i) * time.Second / churnRate)
		if err := wait(ctx, time.Until(due)); err != nil {
			break
		}
		g.Go(func() error {
			if i%2 == 0 {
				return c.edit(ctx, due, stranger(i), true)
			}
			return c.edit(ctx, due, accounts[i], false)
		})
	}
	return n, g.Wait()
}

func (c *churning) edit(ctx context.Context, due time.Time, account string, add bool) error {
	change := c.list.Remove
	if add {
		change = c.list.Add
	}
	begun := time.Now()
	result, err := change(ctx, []string{account})
	if err != nil {
		return fmt.Errorf("edit the list: %w", err)
	}
	if result.Added+result.Removed != 1 {
		return fmt.Errorf("%s: %d added, %d removed", account, result.Added, result.Removed)
	}
	written := time.Now()
	both, ctx := errgroup.WithContext(ctx)
	for _, pool := range c.replicas {
		both.Go(func() error {
			conn := <-pool
			defer func() { pool <- conn }()
			return c.awaitForce(ctx, conn, account, add)
		})
	}
	if err := both.Wait(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if begun.Sub(due) > time.Second {
		c.late++
	}
	if add {
		c.added = append(c.added, account)
	} else {
		c.removed++
	}
	return errors.Join(
		c.write.RecordValue(written.Sub(begun).Microseconds()), c.force.RecordValue(time.Since(written).Microseconds()))
}

// connect opens the connections to a replica, and sends a callback on each, without which it would be closed soon. They
// end with the replica.
func connect(ctx context.Context, m *lab.Manager, w world) (chan *connection, error) {
	address, _, _ := strings.Cut(strings.TrimPrefix(m.CallbackURL, "http://"), "/")
	pool := make(chan *connection, churnConnections)
	for range churnConnections {
		conn, err := dial(ctx, address, nil)
		if err != nil {
			return nil, err
		}
		first := w.asVendor(&callback{account: account(0)}, lab.CallbackToken, time.Now())
		if _, _, err := conn.exchange(first); err != nil {
			return nil, err
		}
		pool <- conn
	}
	return pool, nil
}

// awaitForce asks a replica until its answer is the one after the edit.
func (c *churning) awaitForce(ctx context.Context, conn *connection, account string, admitted bool) error {
	question := c.world.asVendor(&callback{account: account}, lab.CallbackToken, time.Now())
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return conn.await(ctx, question, churnPoll, func(answer []byte) bool {
		return bytes.Contains(answer, []byte(admission)) == admitted
	})
}

// expected is the list after the edits.
func (c *churning) expected(accounts []string) (list []string) {
	for i, account := range accounts {
		if i%2 == 0 || i >= 2*c.removed {
			list = append(list, account)
		}
	}
	return append(list, c.added...)
}
