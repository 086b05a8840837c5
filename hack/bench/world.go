package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/groupgate/groupgate/internal/lab"
)

// cluster is a kube-apiserver with its etcd, and the manifests of config/default.
type cluster struct {
	*lab.ControlPlane
	api    rest.Interface
	worlds map[string]bool // those that have been made
}

func startCluster(ctx context.Context, dir string) (*cluster, error) {
	ctrllog.SetLogger(logr.Discard()) // envtest warns if it has none
	plane, err := lab.StartControlPlane(dir, nil)
	if err != nil {
		return nil, err
	}
	config := rest.CopyConfig(plane.Config)
	config.QPS = -1 // editors have a pace of their own
	clients, err := kubernetes.NewForConfig(config)
	if err = errors.Join(err, plane.Install(ctx)); err != nil {
		return nil, errors.Join(err, plane.Stop())
	}
	return &cluster{ControlPlane: plane, api: clients.CoreV1().RESTClient(), worlds: map[string]bool{}}, nil
}

// renice sets the niceness of the control plane. At 10 all others have the CPUs before it, which has machines of its
// own elsewhere: what remains of an edit is its cost for the manager. Only root may set it back to 0.
func (c *cluster) renice(niceness int) error {
	for _, name := range []string{"kube-apiserver", "etcd"} {
		pids, err := children(name)
		if err == nil && len(pids) == 0 {
			err = errors.New("it does not run as a child of this process")
		}
		for _, pid := range pids {
			err = errors.Join(err, renice(pid, niceness))
		}
		if err != nil {
			return fmt.Errorf("set the niceness of %s: %w", name, err)
		}
	}
	return nil
}

// object is a Kubernetes object, or a patch of one.
type object map[string]any

func (c *cluster) create(ctx context.Context, path string, o object) error {
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	request := c.api.Post().AbsPath(path).SetHeader("Content-Type", "application/json").Body(body)
	if err := request.Do(ctx).Error(); err != nil {
		return fmt.Errorf("create an object: %w", err)
	}
	return nil
}

// mergePatch changes the object at path.
func (c *cluster) mergePatch(ctx context.Context, path string, patch object) error {
	body, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	if err := c.api.Patch(types.MergePatchType).AbsPath(path).Body(body).Do(ctx).Error(); err != nil {
		return fmt.Errorf("change an object: %w", err)
	}
	return nil
}

// world is a namespace with an app, and the policies and lists of a population.
type world struct {
	population
	namespace string
	// shards splits the list of the only group into that many AccountLists with one label; 0 gives every group one
	// AccountList.
	shards int
}

func (w world) path(resource string) string {
	return "/apis/groupgate.io/v1alpha1/namespaces/" + w.namespace + "/" + resource
}

func (w world) policyPath(group int) string {
	return fmt.Sprintf("%s/group-%06d", w.path("grouppolicies"), group)
}
func (w world) listPath(list int) string {
	return fmt.Sprintf("%s/list-%06d", w.path("accountlists"), list)
}

// build makes all of a world that managers do not make.
func (c *cluster) build(ctx context.Context, w world) error {
	namespace := lab.World{ControlPlane: c.ControlPlane, Namespace: w.namespace}
	app := lab.App{SDKAppID: w.sdkAppID}
	if err := namespace.Apply(ctx, lab.NamespaceManifests(w.namespace), app.Manifests()); err != nil {
		return err
	}
	creating, ctx := errgroup.WithContext(ctx)
	creating.SetLimit(16)
	for list := range w.lists() {
		creating.Go(func() error { return c.create(ctx, w.path("accountlists"), w.list(list)) })
	}
	for group := range w.groups {
		creating.Go(func() error { return c.create(ctx, w.path("grouppolicies"), w.policy(group)) })
	}
	return creating.Wait()
}

func (w world) lists() int { return max(w.shards, w.groups) }

func (w world) list(list int) object {
	return object{
		"apiVersion": "groupgate.io/v1alpha1", "kind": "AccountList",
		"metadata": object{"name": fmt.Sprintf("list-%06d", list), "labels": object{"list": "all"}},
		"spec":     object{"accounts": w.listed(list)},
	}
}

// listed are the accounts of a list.
func (w world) listed(list int) []string {
	if w.shards == 0 {
		return w.members(list)
	}
	shard := population{accounts: w.accounts / w.shards}
	return shard.members(list)
}

func (w world) policy(group int) object {
	lists := []object{{"name": fmt.Sprintf("list-%06d", group)}}
	if w.shards > 0 {
		lists = []object{{"selector": object{"matchLabels": object{"list": "all"}}}}
	}
	return object{
		"apiVersion": "groupgate.io/v1alpha1", "kind": "GroupPolicy",
		"metadata": object{"name": fmt.Sprintf("group-%06d", group)},
		"spec": object{
			"appRef": object{"name": "prod"},
			"groups": []object{{"value": groupID(group)}},
			"join": object{
				"allow":  object{"lists": lists},
				"reject": object{"code": 10110, "message": refusal},
			},
		},
	}
}

// statusWrites is how often the status of a Groupgate object has been written, as the API server counts.
func (c *cluster) statusWrites(ctx context.Context) (float64, error) {
	text, err := c.api.Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the metrics of the API server: %w", err)
	}
	sum := func(labels ...string) float64 {
		labels = append(labels, `group="groupgate.io"`, `subresource="status"`, `code="200"`)
		value, problem := lab.SumMetric(string(text), "apiserver_request_total", labels...)
		err = errors.Join(err, problem)
		return value
	}
	return sum() - sum(`verb="GET"`), err
}

// awaitStatuses waits until no status has been written for some seconds.
func (c *cluster) awaitStatuses(ctx context.Context) error {
	const quiet = 4 * time.Second
	written, since := -1.0, time.Now()
	noneWritten := func(ctx context.Context) (bool, error) {
		writes, err := c.statusWrites(ctx)
		if writes != written {
			written, since = writes, time.Now()
		}
		return time.Since(since) > quiet, err
	}
	return lab.Poll(ctx, 500*time.Millisecond, "the last status to be written", noneWritten)
}

// manager is a `groupgate manager` under measurement.
type manager struct {
	*lab.Manager
	// ready is how long it took from its start to its readiness.
	ready time.Duration
}

// startManager starts a manager of a world, which exists, and waits until it is ready.
func (b *bench) startManager(ctx context.Context, procs int, w world, flags ...string) (*manager, error) {
	if _, err := b.plane.ManagerKubeconfig(""); err != nil { // not timed
		return nil, err
	}
	begun := time.Now()
	namespace := lab.World{
		ControlPlane: b.plane.ControlPlane, Namespace: w.namespace, Binary: b.groupgate, Env: withProcs(procs),
	}
	flags = append([]string{"--shutdown-delay=0s", "--log-level=error", "--sweep-interval=24h"}, flags...)
	started, err := namespace.StartManager(b.log, "", flags...)
	if err != nil {
		return nil, err
	}
	m := &manager{Manager: started}
	err = lab.Poll(ctx, 5*time.Millisecond, "the manager to be ready", func(ctx context.Context) (bool, error) {
		if !m.Running() {
			return false, fmt.Errorf("it ended with exit code %d: see %s", m.ExitCode(), b.log.Name())
		}
		ready := m.Ready(ctx)
		m.ready = time.Since(begun)
		return ready, nil
	})
	if err != nil {
		return nil, errors.Join(err, m.Kill())
	}
	return m, nil
}

// startQuiet makes a world if need be, starts a manager of it, and waits until it has written every status.
func (b *bench) startQuiet(ctx context.Context, procs int, w world, flags ...string) (*manager, error) {
	if err := b.world(ctx, w); err != nil {
		return nil, err
	}
	m, err := b.startManager(ctx, procs, w, flags...)
	if err != nil {
		return nil, err
	}
	if err = lab.Await(ctx, "the manager to lead", m.Leads); err == nil { // only the leader writes statuses
		err = b.plane.awaitStatuses(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, m.Kill())
	}
	return m, nil
}

// address is host:port of the callbacks.
func (m *manager) address() string {
	address, _, _ := strings.Cut(strings.TrimPrefix(m.CallbackURL, "http://"), "/")
	return address
}

func (m *manager) end() error { return m.Stop(time.Minute) }
