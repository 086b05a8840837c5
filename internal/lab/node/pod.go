package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/internal/lab"
)

// restartDelay is how long a container that has ended stays down.
const restartDelay = time.Second

// pod runs one Pod, from its first sight to its end. Its life is one goroutine.
type pod struct {
	node    *Node
	object  *corev1.Pod // as first seen: the spec does not change
	ip      string
	dir     string
	deleted chan struct{} // closed when the Pod is to end
	killed  chan struct{} // closed when its object is gone

	mu      sync.Mutex // also of the two channels' closing
	latest  *corev1.Pod
	process *lab.Process
}

func newPod(n *Node, object *corev1.Pod, ip string) *pod {
	return &pod{
		node: n, object: object, latest: object, ip: ip, dir: filepath.Join(n.Dir, string(object.UID)),
		deleted: make(chan struct{}), killed: make(chan struct{}),
	}
}

// seen takes up the Pod as it is now.
func (p *pod) seen(object *corev1.Pod) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latest = object
	if object.DeletionTimestamp != nil {
		closeOnce(p.deleted)
	}
}

// kill ends the Pod without grace.
func (p *pod) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	closeOnce(p.killed)
}

func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}

// run lasts until the Pod or the node ends.
func (p *pod) run(ctx context.Context) {
	defer func() { _ = os.RemoveAll(p.dir) }()
	status := newStatus(p)
	for restarts := int32(0); ; restarts++ {
		if !p.start(ctx, status, restarts) || p.serve(ctx, status) {
			break
		}
		status.waiting(ctx, "CrashLoopBackOff", "The container has ended with exit code "+
			strconv.Itoa(p.process.ExitCode()))
		if p.endsWithin(ctx, restartDelay) {
			break
		}
	}
	p.end(ctx, status)
}

// endsWithin waits for d, or until the Pod or the node ends.
func (p *pod) endsWithin(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return true
	case <-p.killed:
		return true
	case <-p.deleted:
		return true
	case <-time.After(d):
		return false
	}
}

// start tries until the container runs, as a kubelet does while an image or a Secret is missing. It returns false if
// the Pod ends before.
func (p *pod) start(ctx context.Context, status *status, restarts int32) bool {
	for {
		var waits *waitError
		process, err := p.startProcess(ctx)
		switch {
		case err == nil:
			p.mu.Lock()
			p.process = process
			p.mu.Unlock()
			status.started(ctx, restarts)
			return true
		case errors.As(err, &waits):
			status.waiting(ctx, waits.reason, err.Error())
		default:
			status.waiting(ctx, "CreateContainerError", err.Error())
		}
		if p.endsWithin(ctx, 5*interval) {
			return false
		}
	}
}

// waitError is what the kubelet would show as the reason why a container waits.
type waitError struct{ reason, message string }

func (e *waitError) Error() string { return e.message }

func (p *pod) startProcess(ctx context.Context) (*lab.Process, error) {
	if err := supported(p.object); err != nil {
		return nil, &waitError{"CreateContainerConfigError", err.Error()}
	}
	name := p.object.Spec.Containers[0].Image
	image, ok := p.node.image(name)
	if !ok {
		return nil, &waitError{"ErrImagePull", fmt.Sprintf("The node has no image %q", name)}
	}
	if err := os.RemoveAll(p.dir); err != nil {
		return nil, err
	}
	c, err := p.container(ctx, image)
	if err != nil {
		return nil, err
	}
	cmd, err := c.command()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = p.node.Log, p.node.Log
	return lab.StartCommand(cmd)
}

// container translates the Pod.
func (p *pod) container(ctx context.Context, image *Image) (*container, error) {
	spec := &p.object.Spec.Containers[0]
	c := &container{
		Hostname: p.object.Name, Root: filepath.Join(p.dir, "root"), WorkDir: image.Config.WorkingDir,
		Args: append(append([]string{}, image.Config.Entrypoint...), image.Config.Cmd...),
	}
	switch {
	case len(spec.Command) > 0:
		c.Args = append(append([]string{}, spec.Command...), spec.Args...)
	case len(spec.Args) > 0:
		c.Args = append(append([]string{}, image.Config.Entrypoint...), spec.Args...)
	}
	for _, port := range spec.Ports {
		if flag := p.node.BindFlags[port.Name]; flag != "" {
			c.Args = append(c.Args, fmt.Sprintf("%s=%s:%d", flag, PodAddress(p.ip), port.ContainerPort))
		}
	}
	c.Args = append(c.Args, p.node.Args...)
	if err := c.limit(p.object, image.Config.User); err != nil {
		return nil, err
	}
	env, err := p.environment(image)
	if err != nil {
		return nil, err
	}
	c.Env = env
	if err := os.CopyFS(c.Root, os.DirFS(image.Root)); err != nil {
		return nil, fmt.Errorf("copy the image: %w", err)
	}
	c.Mounts, err = p.mounts(ctx)
	return c, err
}

// limit takes up the securityContext of the Pod and of its container, of which the latter wins.
func (c *container) limit(object *corev1.Pod, imageUser string) error {
	group, s := object.Spec.SecurityContext, object.Spec.Containers[0].SecurityContext
	if group == nil {
		group = &corev1.PodSecurityContext{}
	}
	if s == nil {
		s = &corev1.SecurityContext{}
	}
	user, groupOfUser, _ := strings.Cut(imageUser, ":")
	uid, err := strconv.Atoi(user)
	if gid, gidErr := strconv.Atoi(groupOfUser); gidErr == nil {
		c.GID = gid
	}
	for _, asked := range []*int64{group.RunAsUser, s.RunAsUser} {
		if asked != nil {
			uid, err = int(*asked), nil
		}
	}
	for _, asked := range []*int64{group.RunAsGroup, s.RunAsGroup} {
		if asked != nil {
			c.GID = int(*asked)
		}
	}
	nonRoot := ptr.Deref(s.RunAsNonRoot, ptr.Deref(group.RunAsNonRoot, false))
	if nonRoot && (err != nil || uid == 0) {
		return &waitError{"CreateContainerConfigError", fmt.Sprintf(
			"The Pod has runAsNonRoot, and the image's user %q is root or no number", imageUser)}
	}
	c.UID = uid
	c.ReadOnlyRoot = ptr.Deref(s.ReadOnlyRootFilesystem, false)
	c.NoNewPrivileges = !ptr.Deref(s.AllowPrivilegeEscalation, true)
	c.DropCapabilities = s.Capabilities != nil && len(s.Capabilities.Add) == 0 &&
		len(s.Capabilities.Drop) == 1 && s.Capabilities.Drop[0] == "ALL"
	return nil
}

// serve probes the container until it has ended. It returns true if the Pod or the node ends.
func (p *pod) serve(ctx context.Context, status *status) (ends bool) {
	probe := p.object.Spec.Containers[0].ReadinessProbe
	period, failures := interval, int32(0)
	if probe != nil {
		period = time.Duration(max(probe.PeriodSeconds, 1)) * time.Second
		if p.endsWithin(ctx, time.Duration(probe.InitialDelaySeconds)*time.Second) {
			return true
		}
	}
	next := time.Now()
	for {
		if now := time.Now(); !now.Before(next) {
			next = now.Add(period)
			if err := p.probe(ctx, probe); err == nil {
				failures = 0
				status.ready(ctx, true, "")
			} else {
				failures++
				// Before it was ready for the first time, the probe runs more often, as the kubelet's does.
				if !status.wasReady {
					next = now.Add(interval)
				}
				if !status.wasReady || failures >= probe.FailureThreshold {
					status.ready(ctx, false, err.Error())
				}
			}
		}
		select {
		case <-p.process.Done():
			return false
		default:
		}
		if p.endsWithin(ctx, interval) {
			return true
		}
	}
}

// probe asks an HTTP readiness probe; without one the container is ready.
func (p *pod) probe(ctx context.Context, probe *corev1.Probe) error {
	if probe == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(max(probe.TimeoutSeconds, 1))*time.Second)
	defer cancel()
	url := fmt.Sprintf("%s://%s%s", strings.ToLower(string(probe.HTTPGet.Scheme)),
		net.JoinHostPort(PodAddress(p.ip), strconv.Itoa(p.port(probe.HTTPGet.Port))), probe.HTTPGet.Path)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := probeClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode < 200 || response.StatusCode >= 400 {
		return fmt.Errorf("readiness probe: HTTP %d", response.StatusCode)
	}
	return nil
}

// probeClient trusts every certificate, as kubelets do.
var probeClient = &http.Client{Transport: &http.Transport{
	DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
}}

// port is the number of a container port.
func (p *pod) port(named intstr.IntOrString) int {
	for _, port := range p.object.Spec.Containers[0].Ports {
		if named.Type == intstr.String && port.Name == named.StrVal {
			return int(port.ContainerPort)
		}
	}
	return named.IntValue()
}

// end ends the container, if it runs, and deletes the object if that is what it waits for.
func (p *pod) end(ctx context.Context, status *status) {
	if p.process != nil {
		if err := p.stop(ctx); err != nil {
			fmt.Fprintf(p.node.Log, "node: Pod %s: %v\n", p.object.Name, err)
		}
	}
	if ctx.Err() != nil {
		return // the node ends, and leaves objects alone
	}
	if p.process != nil {
		status.ended(ctx, p.process.ExitCode())
	}
	err := p.node.client.Delete(ctx, p.object, client.GracePeriodSeconds(0), client.Preconditions{UID: &p.object.UID})
	if client.IgnoreNotFound(err) != nil && ctx.Err() == nil {
		fmt.Fprintf(p.node.Log, "node: delete Pod %s: %v\n", p.object.Name, err)
	}
}

// stop ends the container with the grace that the deletion gives. preStop is part of it.
func (p *pod) stop(ctx context.Context) error {
	p.mu.Lock()
	grace := ptr.Deref(p.latest.DeletionGracePeriodSeconds, ptr.Deref(p.latest.Spec.TerminationGracePeriodSeconds, 30))
	p.mu.Unlock()
	timeout := time.After(time.Duration(grace) * time.Second)
	if hook := p.object.Spec.Containers[0].Lifecycle; hook != nil && hook.PreStop != nil {
		select {
		case <-ctx.Done():
		case <-p.killed:
		case <-p.process.Done():
		case <-time.After(time.Duration(hook.PreStop.Sleep.Seconds) * time.Second):
		}
	}
	if err := p.process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.process.Done():
		return nil
	case <-ctx.Done():
	case <-p.killed:
	case <-timeout:
		fmt.Fprintf(p.node.Log, "node: Pod %s: it did not end within %d s\n", p.object.Name, grace)
	}
	return p.process.Kill()
}
