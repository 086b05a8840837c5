// Package node makes a control plane of package lab run Pods, so that tests can install, upgrade and delete Deployments
// from the container image. The product does not import it.
//
// A Node is Kubernetes' own kube-controller-manager, which keeps Deployments, ReplicaSets, EndpointSlices and
// disruption budgets, and a stand-in for the kubelet and the scheduler: every Pod runs on it, as a process of the
// unpacked image. What Services would do, Expose does: it balances the connections to a local port over the ready
// endpoints.
//
//	image, err := node.BuildImage(ctx, dir, "v0.0.1")
//	n, err := node.Start(ctx, node.Options{
//		Plane: cluster.ControlPlane, Dir: dir, Log: t.Output(),
//		Images: map[string]*node.Image{"groupgate:v0.0.1": image},
//	})
//	defer n.Stop()
//	address, err := n.Expose(ctx, "groupgate-system", "groupgate-callback", "https")
//
// Now `kubectl apply`, `helm install --wait`, `kubectl rollout status` and `kubectl wait --for=condition=Available` do
// what they do on a cluster, in these limits:
//
//   - It runs on Linux, as root or as a user who may make user namespaces. If not, Start says what to change.
//   - Pods have mount, PID, IPC and UTS namespaces of their own, and from their securityContext: user, read-only root,
//     dropped capabilities, no new privileges. There are no cgroups, so memory limits do not hold, and no seccomp
//     profiles.
//   - Pods share the network of the machine. Each has a loopback address of its own (see PodAddress), with its ports.
//     The flags for addresses that Options.BindFlags names are added to the arguments, so that a Pod listens there.
//   - Pods have one container, without init containers. Its volumes are Secrets, ConfigMaps, emptyDirs and the token of
//     its ServiceAccount; they are written when the Pod starts, and not renewed. Variables have values or a fieldRef.
//     Whatever else a Pod asks for is an error in its status, never left out silently.
//   - Of probes, readiness by HTTP is done. A container that ends starts again after a second.
//   - Deletion is as on a cluster: preStop.sleep, SIGTERM, and SIGKILL after the grace period.
//   - There are no logs and no exec through the API server: all output goes to Options.Log.
package node
