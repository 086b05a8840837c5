package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// Root is the top folder of the repository.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Assets is the folder with kube-apiserver, etcd and kubectl: the one that KUBEBUILDER_ASSETS names, or bin/k8s. The
// error says how to build them.
func Assets() (string, error) {
	dir := os.Getenv("KUBEBUILDER_ASSETS")
	if dir == "" {
		dir = filepath.Join(Root(), "bin", "k8s")
	}
	for _, name := range []string{"kube-apiserver", "etcd", "kubectl"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return "", fmt.Errorf("no control plane in %s (%w): run `make control-plane`", dir, err)
		}
	}
	return dir, nil
}

// ControlPlane is a real kube-apiserver with its etcd, on loopback, with RBAC on.
type ControlPlane struct {
	// Config has the rights of an admin.
	Config *rest.Config
	// Kubeconfig is the path of the same admin's kubeconfig.
	Kubeconfig string

	dir    string
	assets string
	env    *envtest.Environment

	mu          sync.Mutex
	kubeconfigs map[string]string // of the manager, by the address of the API server
}

// StartControlPlane starts one that writes its kubeconfigs into dir. apiServerFlags, without dashes, are added to those
// of kube-apiserver. It must be stopped.
func StartControlPlane(dir string, apiServerFlags map[string]string) (*ControlPlane, error) {
	assets, err := Assets()
	if err != nil {
		return nil, err
	}
	c := &ControlPlane{
		dir:         dir,
		assets:      assets,
		kubeconfigs: map[string]string{},
		env: &envtest.Environment{
			BinaryAssetsDirectory:    assets,
			ControlPlaneStartTimeout: 2 * time.Minute,
			ControlPlaneStopTimeout:  time.Minute,
		},
	}
	arguments := c.env.ControlPlane.GetAPIServer().Configure()
	for name, value := range apiServerFlags {
		arguments.Set(name, value)
	}
	if c.Config, err = c.env.Start(); err != nil {
		return nil, fmt.Errorf("start the control plane: %w", errors.Join(err, c.env.Stop()))
	}
	if c.Kubeconfig, err = c.writeKubeconfig("admin", c.env.KubeConfig); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// Address is host:port of the API server.
func (c *ControlPlane) Address() string {
	return c.env.ControlPlane.GetAPIServer().SecureServing.HostPort()
}

// EtcdURL is the base URL of etcd for clients, with its metrics.
func (c *ControlPlane) EtcdURL() string { return c.env.ControlPlane.Etcd.URL.String() }

// Stop ends both processes.
func (c *ControlPlane) Stop() error {
	if err := c.env.Stop(); err != nil {
		return fmt.Errorf("stop the control plane: %w", err)
	}
	return nil
}

// Install applies config/default, with these components of config: the CustomResourceDefinitions, the manager's roles,
// and the namespace `chat`.
func (c *ControlPlane) Install(ctx context.Context, components ...string) error {
	directory := filepath.Join(c.dir, "overlay")
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	config, err := filepath.Rel(directory, filepath.Join(Root(), "config"))
	if err != nil {
		return fmt.Errorf("find config: %w", err)
	}
	overlay := "resources: [" + config + "/default]\ncomponents:\n"
	for _, component := range components {
		overlay += "- " + config + "/" + component + "\n"
	}
	if err := os.WriteFile(filepath.Join(directory, "kustomization.yaml"), []byte(overlay), 0o600); err != nil {
		return fmt.Errorf("write an overlay: %w", err)
	}
	_, err = c.Kubectl(ctx, "", "apply", "--server-side", "-k", directory)
	return err
}

// ManagerKubeconfig is the path of a kubeconfig of a user that RBAC treats as the manager's ServiceAccount of
// config/default. server, if not empty, is the address (host:port) that it names instead of the API server's own.
func (c *ControlPlane) ManagerKubeconfig(server string) (path string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if path := c.kubeconfigs[server]; path != "" {
		return path, nil
	}
	user, err := c.env.AddUser(envtest.User{
		Name: "system:serviceaccount:" + managerNamespace + ":" + managerAccount,
		Groups: []string{
			"system:serviceaccounts", "system:serviceaccounts:" + managerNamespace, "system:authenticated",
		},
	}, nil)
	if err != nil {
		return "", fmt.Errorf("add a user: %w", err)
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		return "", fmt.Errorf("make a kubeconfig: %w", err)
	}
	if server != "" {
		if kubeconfig, err = redirected(kubeconfig, "https://"+server); err != nil {
			return "", err
		}
	}
	if path, err = c.writeKubeconfig("manager-"+strings.ReplaceAll(server, ":", "-"), kubeconfig); err == nil {
		c.kubeconfigs[server] = path
	}
	return path, err
}

// AccountKubeconfig makes a ServiceAccount, unless it is there, and returns the path of a kubeconfig with a token of
// it, which is valid for a day. Replicas authenticate tokens, and no client certificates.
func (c *ControlPlane) AccountKubeconfig(ctx context.Context, namespace, name string) (path string, err error) {
	account := fmt.Sprintf("apiVersion: v1\nkind: ServiceAccount\nmetadata: {namespace: %s, name: %s}\n",
		namespace, name)
	if _, err := c.Kubectl(ctx, account, "apply", "--server-side", "-f", "-"); err != nil {
		return "", err
	}
	token, err := c.Kubectl(ctx, "", "create", "token", name, "--namespace="+namespace, "--duration=24h")
	if err != nil {
		return "", err
	}
	config, err := clientcmd.LoadFromFile(c.Kubeconfig)
	if err != nil {
		return "", fmt.Errorf("read a kubeconfig: %w", err)
	}
	for _, user := range config.AuthInfos {
		*user = clientcmdapi.AuthInfo{Token: strings.TrimSpace(token)}
	}
	out, err := clientcmd.Write(*config)
	if err != nil {
		return "", fmt.Errorf("write a kubeconfig: %w", err)
	}
	return c.writeKubeconfig(namespace+"-"+name, out)
}

// redirected returns kubeconfig with another address for its clusters.
func redirected(kubeconfig []byte, url string) ([]byte, error) {
	config, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read a kubeconfig: %w", err)
	}
	for _, cluster := range config.Clusters {
		cluster.Server = url
	}
	out, err := clientcmd.Write(*config)
	if err != nil {
		return nil, fmt.Errorf("write a kubeconfig: %w", err)
	}
	return out, nil
}

func (c *ControlPlane) writeKubeconfig(name string, data []byte) (string, error) {
	path := filepath.Join(c.dir, name+".kubeconfig")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return "", fmt.Errorf("write a kubeconfig: %w", err)
	}
	return path, nil
}

// KubectlPath is the kubectl that belongs to the control plane.
func (c *ControlPlane) KubectlPath() string { return filepath.Join(c.assets, "kubectl") }

// Kubectl runs kubectl as the admin in the top folder of the repository, with stdin if it is not empty, and returns its
// standard output. The error holds its standard error.
func (c *ControlPlane) Kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.KubectlPath(), args...)
	cmd.Dir = Root()
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig)
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		problem := strings.TrimSpace(stderr.String())
		return stdout.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, problem)
	}
	return stdout.String(), nil
}
