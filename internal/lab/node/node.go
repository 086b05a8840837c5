package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/internal/lab"
)

// interval is how often the node looks at its Pods.
const interval = 100 * time.Millisecond

// Options say what a Node runs.
type Options struct {
	// Plane is the control plane whose Pods it runs.
	Plane *lab.ControlPlane
	// Dir is an empty folder for the files of Pods.
	Dir string
	// Images are those that Pods may run, by the name that Pods call them. They can be replaced: see Node.AddImage.
	Images map[string]*Image
	// Args are added to the arguments of every Pod, for example --im-endpoint.
	Args []string
	// BindFlags are the flags that set the address of a container port, by the port's name; nil is the manager's.
	BindFlags map[string]string
	// Log gets all output of Pods, of the controllers, and what the node has to say.
	Log io.Writer
}

// managerBindFlags are those of `groupgate manager`.
var managerBindFlags = map[string]string{
	"callback": "--callback-bind-address", "metrics": "--metrics-bind-address", "health": "--health-probe-bind-address",
}

// Node runs all Pods of a control plane. Its methods are safe for concurrent use.
type Node struct {
	Options
	client      client.Client
	controllers *lab.Process
	network     [2]byte         // of its Pods
	life        context.Context // until Stop
	stop        func()
	running     sync.WaitGroup // the loop, the Pods and the balancers

	mu        sync.Mutex
	pods      map[types.UID]*pod
	addresses byte // how many Pods have got one
}

const nodeName = "lab"

// Start starts a node, which must be stopped. ctx bounds the start only. The first start on a machine builds
// kube-controller-manager, which takes minutes.
func Start(ctx context.Context, o Options) (*Node, error) {
	if err := Check(); err != nil {
		return nil, err
	}
	if o.BindFlags == nil {
		o.BindFlags = managerBindFlags
	}
	o.Log = &lockedWriter{w: o.Log}
	c, err := client.New(o.Plane.Config, client.Options{})
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	n := &Node{
		Options: o, client: c, pods: map[types.UID]*pod{},
		network: [2]byte{byte(1 + rand.IntN(254)), byte(rand.IntN(256))},
	}
	images := map[string]*Image{}
	for name, image := range o.Images {
		images[name] = image
	}
	n.Images = images
	// EndpointSlices name only Pods of nodes that exist.
	object := corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: nodeName, Labels: map[string]string{corev1.LabelHostname: nodeName},
	}}
	if err := c.Create(ctx, &object); err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("create the Node: %w", err)
	}
	if n.controllers, err = startControllers(ctx, o.Plane, o.Log); err != nil {
		return nil, err
	}
	fmt.Fprintln(o.Log, "node: not applied to Pods: limits of memory and CPU, seccomp profiles, networks of their own")
	n.life, n.stop = context.WithCancel(context.WithoutCancel(ctx))
	n.running.Go(func() { n.loop(n.life) })
	return n, nil
}

// AddImage has Pods find an image under that name from now on.
func (n *Node) AddImage(name string, image *Image) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.Images[name] = image
}

// Stop ends all Pods, by SIGKILL, and the controllers. It leaves the objects as they are.
func (n *Node) Stop() error {
	n.stop()
	n.running.Wait()
	if err := n.controllers.Kill(); err != nil {
		return fmt.Errorf("stop the controllers: %w", err)
	}
	return nil
}

// PodAddress is the loopback address at which the container of a Pod listens, by the IP of the Pod's status. The two
// differ, since EndpointSlices hold no loopback addresses.
func PodAddress(podIP string) string {
	ip := net.ParseIP(podIP).To4()
	if ip == nil {
		return ""
	}
	return net.IPv4(127, ip[1], ip[2], ip[3]).String()
}

// PodPID is the process id of the container of a running Pod, 0 if there is none.
func (n *Node) PodPID(uid types.UID) int {
	n.mu.Lock()
	p := n.pods[uid]
	n.mu.Unlock()
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process == nil || !p.process.Running() {
		return 0
	}
	return p.process.PID()
}

// loop starts what runs each new Pod, and tells it of changes.
func (n *Node) loop(ctx context.Context) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for ctx.Err() == nil {
		if err := n.look(ctx); err != nil && ctx.Err() == nil {
			fmt.Fprintln(n.Log, "node:", err) // the next look may be luckier
		}
		select {
		case <-ctx.Done():
		case <-n.controllers.Done():
			fmt.Fprintln(n.Log, "node: kube-controller-manager has ended, and Deployments with it")
			<-ctx.Done()
		case <-ticker.C:
		}
	}
}

func (n *Node) look(ctx context.Context) error {
	var all corev1.PodList
	if err := n.client.List(ctx, &all); err != nil {
		return fmt.Errorf("list Pods: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	listed := map[types.UID]bool{}
	var errs []error
	for i := range all.Items {
		object := &all.Items[i]
		listed[object.UID] = true
		switch p := n.pods[object.UID]; {
		case p != nil:
			p.seen(object)
		case object.Spec.NodeName == "":
			errs = append(errs, n.schedule(ctx, object))
		case object.Spec.NodeName == nodeName:
			n.addresses++
			p = newPod(n, object, fmt.Sprintf("10.%d.%d.%d", n.network[0], n.network[1], n.addresses))
			n.pods[object.UID] = p
			n.running.Go(func() { p.run(ctx) })
		}
	}
	for uid, p := range n.pods {
		if !listed[uid] { // deleted without grace
			p.kill()
			delete(n.pods, uid)
		}
	}
	return errors.Join(errs...)
}

func (n *Node) schedule(ctx context.Context, object *corev1.Pod) error {
	binding := corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: nodeName}}
	if err := n.client.SubResource("binding").Create(ctx, object, &binding); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("schedule %s/%s: %w", object.Namespace, object.Name, err)
	}
	return nil
}

// image is the one of that name.
func (n *Node) image(name string) (*Image, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	image, ok := n.Images[name]
	return image, ok
}

// lockedWriter lets all processes write to one log.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(data)
}
