package node

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const tokenFolder = "/var/run/secrets/kubernetes.io/serviceaccount"

// supported fails for what the node cannot do, so that a test does not prove less than it says.
func supported(object *corev1.Pod) error {
	spec := &object.Spec
	if len(spec.Containers) != 1 || len(spec.InitContainers) > 0 {
		return fmt.Errorf("this node runs Pods with one container, and this one has %d and %d init containers",
			len(spec.Containers), len(spec.InitContainers))
	}
	c := &spec.Containers[0]
	switch probe, hooks := c.ReadinessProbe, c.Lifecycle; {
	case len(c.EnvFrom) > 0:
		return fmt.Errorf("this node does not do envFrom")
	case c.StartupProbe != nil:
		return fmt.Errorf("this node does not do startup probes")
	case probe != nil && probe.HTTPGet == nil:
		return fmt.Errorf("this node does readiness probes by httpGet only")
	case hooks != nil && (hooks.PostStart != nil || hooks.PreStop != nil && hooks.PreStop.Sleep == nil):
		return fmt.Errorf("of lifecycle hooks, this node does preStop.sleep only")
	case c.SecurityContext != nil && ptr.Deref(c.SecurityContext.Privileged, false):
		return fmt.Errorf("this node runs no privileged containers")
	}
	return nil
}

// environment is that of the image, of the Pod, and of every Pod of a cluster.
func (p *pod) environment(image *Image) ([]string, error) {
	host, port, err := net.SplitHostPort(p.node.Plane.Address())
	if err != nil {
		return nil, fmt.Errorf("address of the API server: %w", err)
	}
	env := append([]string{}, image.Config.Env...)
	env = append(env, "HOSTNAME="+p.object.Name, "KUBERNETES_SERVICE_HOST="+host, "KUBERNETES_SERVICE_PORT="+port)
	for _, v := range p.object.Spec.Containers[0].Env {
		value := v.Value
		if v.ValueFrom != nil {
			if v.ValueFrom.FieldRef == nil {
				return nil, &waitError{"CreateContainerConfigError",
					fmt.Sprintf("variable %s: this node does values and fieldRef only", v.Name)}
			}
			var ok bool
			if value, ok = p.field(v.ValueFrom.FieldRef.FieldPath); !ok {
				return nil, &waitError{"CreateContainerConfigError",
					fmt.Sprintf("variable %s: this node does not know %s", v.Name, v.ValueFrom.FieldRef.FieldPath)}
			}
		}
		env = append(env, v.Name+"="+value)
	}
	return env, nil
}

func (p *pod) field(path string) (value string, ok bool) {
	value, ok = map[string]string{
		"metadata.name":           p.object.Name,
		"metadata.namespace":      p.object.Namespace,
		"metadata.uid":            string(p.object.UID),
		"spec.nodeName":           nodeName,
		"spec.serviceAccountName": p.object.Spec.ServiceAccountName,
		"status.podIP":            p.ip,
		"status.hostIP":           "127.0.0.1",
	}[path]
	return value, ok
}

// mounts writes the volumes that the container mounts.
func (p *pod) mounts(ctx context.Context) ([]mount, error) {
	var all []mount
	for _, file := range []string{"/etc/hosts", "/etc/resolv.conf"} {
		if _, err := os.Stat(file); err == nil {
			all = append(all, mount{Source: file, Target: file, ReadOnly: true})
		}
	}
	tokenMounted := false
	for _, m := range p.object.Spec.Containers[0].VolumeMounts {
		if m.SubPath != "" || m.SubPathExpr != "" {
			return nil, &waitError{"CreateContainerConfigError", "this node does not do subPath of volumeMounts"}
		}
		tokenMounted = tokenMounted || m.MountPath == tokenFolder
		for _, v := range p.object.Spec.Volumes {
			if v.Name != m.Name {
				continue
			}
			dir := filepath.Join(p.dir, "volumes", v.Name)
			readOnly, err := p.writeVolume(ctx, dir, &v.VolumeSource)
			if err != nil {
				return nil, fmt.Errorf("volume %s: %w", v.Name, err)
			}
			all = append(all, mount{Source: dir, Target: m.MountPath, ReadOnly: m.ReadOnly || readOnly})
		}
	}
	if tokenMounted || !ptr.Deref(p.object.Spec.AutomountServiceAccountToken, true) {
		return all, nil
	}
	dir := filepath.Join(p.dir, "volumes", "kube-api-access")
	files, err := p.token(ctx)
	if err != nil {
		return nil, err
	}
	files["ca.crt"], files["namespace"] = p.node.Plane.Config.CAData, []byte(p.object.Namespace)
	return append(all, mount{Source: dir, Target: tokenFolder, ReadOnly: true}), writeFiles(dir, files)
}

// writeVolume writes a volume into dir, and reports whether it is read-only.
func (p *pod) writeVolume(ctx context.Context, dir string, v *corev1.VolumeSource) (readOnly bool, err error) {
	switch {
	case v.EmptyDir != nil:
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return false, err
		}
		return false, os.Chmod(dir, 0o777) // every user of its Pod writes to an emptyDir
	case v.Secret != nil:
		var secret corev1.Secret
		if err := p.get(ctx, &secret, v.Secret.SecretName, ptr.Deref(v.Secret.Optional, false)); err != nil {
			return true, err
		}
		return true, writeFiles(dir, picked(secret.Data, v.Secret.Items))
	case v.ConfigMap != nil:
		var config corev1.ConfigMap
		if err := p.get(ctx, &config, v.ConfigMap.Name, ptr.Deref(v.ConfigMap.Optional, false)); err != nil {
			return true, err
		}
		data := map[string][]byte{}
		for name, value := range config.Data {
			data[name] = []byte(value)
		}
		return true, writeFiles(dir, picked(data, v.ConfigMap.Items))
	}
	return false, &waitError{"CreateContainerConfigError",
		"this node does volumes of Secrets, ConfigMaps and emptyDirs only"}
}

// get reads an object that the Pod waits for, unless it is optional.
func (p *pod) get(ctx context.Context, object client.Object, name string, optional bool) error {
	err := p.node.client.Get(ctx, client.ObjectKey{Namespace: p.object.Namespace, Name: name}, object)
	if apierrors.IsNotFound(err) {
		if optional {
			return nil
		}
		return &waitError{"ContainerCreating", fmt.Sprintf("%s: the Pod waits for it", err)}
	}
	return err
}

// picked are the items of data, or all if there are no items.
func picked(data map[string][]byte, items []corev1.KeyToPath) map[string][]byte {
	if len(items) == 0 {
		return data
	}
	files := map[string][]byte{}
	for _, item := range items {
		if content, ok := data[item.Key]; ok {
			files[item.Path] = content
		}
	}
	return files
}

// token asks for one that is bound to the Pod, as that of the kubelet is.
func (p *pod) token(ctx context.Context) (map[string][]byte, error) {
	account := corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
		Namespace: p.object.Namespace, Name: p.object.Spec.ServiceAccountName,
	}}
	if account.Name == "" {
		account.Name = "default"
	}
	request := authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: ptr.To[int64](24 * 3600),
		BoundObjectRef: &authenticationv1.BoundObjectReference{
			Kind: "Pod", APIVersion: "v1", Name: p.object.Name, UID: p.object.UID,
		},
	}}
	if err := p.node.client.SubResource("token").Create(ctx, &account, &request); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, &waitError{"ContainerCreating", fmt.Sprintf("%s: the Pod waits for it", err)}
		}
		return nil, fmt.Errorf("request a token: %w", err)
	}
	return map[string][]byte{"token": []byte(request.Status.Token)}, nil
}

// writeFiles makes a volume that every user may read: the container's is not always the one who writes it.
func writeFiles(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, content := range files {
		if strings.Contains(name, "..") {
			return fmt.Errorf("file %q", name)
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
