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
	api        rest.Interface
	kubeconfig string // of the manager's ServiceAccount
}

func startCluster(ctx context.Context, dir string) (*cluster, error) {
	ctrllog.SetLogger(logr.Discard()) // else envtest complains that it has none
	plane, err := lab.StartControlPlane(dir, nil)
	if err != nil {
		return nil, err
	}
	c := &cluster{ControlPlane: plane}
	if err := c.prepare(ctx); err != nil {
		return nil, errors.Join(err, plane.Stop())
	}
	return c, nil
}

func (c *cluster) prepare(ctx context.Context) error {
	if _, err := c.Kubectl(ctx, "", "apply", "--server-side", "-k", "config/default"); err != nil {
		return err
	}
	config := rest.CopyConfig(c.Config)
	config.QPS = -1 // the editors keep their own pace
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	c.api = clients.CoreV1().RESTClient()
	c.kubeconfig, err = c.ServiceAccountKubeconfig("groupgate-system", "groupgate-manager", "")
	return err
}

// yield lets everybody else have the CPUs before the control plane, which has machines of its own elsewhere: what is left of an edit is what
// it costs the manager.
func (c *cluster) yield() error { return c.renice(10) }

func (c *cluster) unyield() error { return c.renice(0) }

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

// object is one of Kubernetes, as JSON will have it.
type object map[string]any

func (c *cluster) create(ctx context.Context, path string, o object) error {
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if err := c.api.Post().AbsPath(path).SetHeader("Content-Type", "application/json").Body(body).Do(ctx).Error(); err != nil {
		return fmt.Errorf("create an object: %w", err)
	}
	return nil
}

// mergePatch changes an object; path names it.
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
	// shards makes the one list of the one group that many AccountLists with one label; 0 gives every group one AccountList.
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

// build makes the world, and everything in it that has to be there before a manager starts.
func (c *cluster) build(ctx context.Context, w world) error {
	if _, err := c.Kubectl(ctx, fmt.Sprintf(`
apiVersion: v1
kind: Namespace
metadata: {name: %[1]s}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: groupgate-manager, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: groupgate-manager}
subjects:
- {kind: ServiceAccount, name: groupgate-manager, namespace: groupgate-system}
---
apiVersion: v1
kind: Secret
metadata: {name: prod-im, namespace: %[1]s, labels: {groupgate.io/credentials: "true"}}
stringData: {secretKey: "0123456789", callbackToken: %[2]q}
---
apiVersion: groupgate.io/v1alpha1
kind: IMApp
metadata: {name: prod, namespace: %[1]s}
spec:
  sdkAppID: %[3]d
  region: Singapore
  adminAccount: administrator
  credentialsSecretRef: {name: prod-im}
`, w.namespace, token, w.sdkAppID), "apply", "--server-side", "-f", "-"); err != nil {
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

// statusWrites is how often the status of an object of ours has been written, as the API server counts.
func (c *cluster) statusWrites(ctx context.Context) (writes int, err error) {
	text, err := c.api.Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the metrics of the API server: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "apiserver_request_total{") || !strings.Contains(line, `group="groupgate.io"`) ||
			!strings.Contains(line, `subresource="status"`) || !strings.Contains(line, `code="200"`) || strings.Contains(line, `verb="GET"`) {
			continue
		}
		var n float64
		if _, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &n); err != nil {
			return 0, fmt.Errorf("read %q: %w", line, err)
		}
		writes += int(n)
	}
	return writes, nil
}

// settle waits until no status has been written for some seconds.
func (c *cluster) settle(ctx context.Context) error {
	const quiet = 4 * time.Second
	written, since := -1, time.Now()
	return lab.Await(ctx, "the last status to be written", func(ctx context.Context) (bool, error) {
		if err := wait(ctx, 500*time.Millisecond); err != nil {
			return false, err
		}
		writes, err := c.statusWrites(ctx)
		if writes != written {
			written, since = writes, time.Now()
		}
		return time.Since(since) > quiet, err
	})
}
