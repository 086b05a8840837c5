package lab

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	certutil "k8s.io/client-go/util/cert"
)

// Manager is a `groupgate manager` process on loopback, over plain HTTP.
type Manager struct {
	*Process
	// CallbackURL is what the vendor's console would be given.
	CallbackURL string
	// MetricsURL serves its metrics, without authentication.
	MetricsURL string
	// ReadyURL is its readiness probe.
	ReadyURL string
}

// StartManager starts a manager of the namespace as the ServiceAccount of config/default. server, if not empty, is the
// address (host:port) at which it reaches the API server. Other flags come last and win.
func (w *World) StartManager(log io.Writer, server string, flags ...string) (*Manager, error) {
	kubeconfig, err := w.ManagerKubeconfig(server)
	if err != nil {
		return nil, err
	}
	var addresses [3]string
	for i := range addresses {
		if addresses[i], err = FreeAddress(); err != nil {
			return nil, err
		}
	}
	all := []string{
		"manager",
		"--namespace=" + w.Namespace,
		"--kubeconfig=" + kubeconfig,
		"--callback-insecure-http",
		"--callback-bind-address=" + addresses[0],
		"--metrics-secure=false",
		"--metrics-bind-address=" + addresses[1],
		"--health-probe-bind-address=" + addresses[2],
		"--leader-election-namespace=" + managerNamespace,
	}
	if w.IMEndpoint != "" {
		all = append(all, "--im-endpoint="+w.IMEndpoint)
	}
	process, err := Start(log, w.Env, w.Binary, append(all, flags...)...)
	if err != nil {
		return nil, err
	}
	return &Manager{
		Process:     process,
		CallbackURL: "http://" + addresses[0] + "/callback",
		MetricsURL:  "http://" + addresses[1] + "/metrics",
		ReadyURL:    "http://" + addresses[2] + "/readyz",
	}, nil
}

// SecureMetrics writes a certificate for loopback into dir, and returns the flags of managers that serve their metrics
// with it, to those who may read them.
func SecureMetrics(dir string) (flags []string, err error) {
	cert, key, err := certutil.GenerateSelfSignedCertKey("localhost", nil, nil)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	for name, text := range map[string][]byte{"tls.crt": cert, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return nil, fmt.Errorf("write a certificate: %w", err)
		}
	}
	return []string{"--metrics-secure=true", "--metrics-cert-dir=" + dir}, nil
}

// ReplicaFlags are those with which tools find these managers, which have the flags of SecureMetrics(dir).
func ReplicaFlags(dir string, managers ...*Manager) []string {
	flags := []string{"--replicas-ca-file=" + filepath.Join(dir, "tls.crt")}
	for _, m := range managers {
		flags = append(flags, "--replicas-url="+m.ReplicaURL())
	}
	return flags
}

// ReplicaURL is the base of what a manager with the flags of SecureMetrics serves besides its metrics.
func (m *Manager) ReplicaURL() string {
	address := strings.TrimSuffix(strings.TrimPrefix(m.MetricsURL, "http://127.0.0.1"), "/metrics")
	return "https://localhost" + address
}

// Ready asks the readiness probe.
func (m *Manager) Ready(ctx context.Context) bool {
	resp, err := get(ctx, m.ReadyURL)
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	return resp.StatusCode == http.StatusOK
}

// AwaitReady waits until it is ready, for as long as ctx and the process last.
func (m *Manager) AwaitReady(ctx context.Context) error {
	return Await(ctx, "the manager to be ready", func(ctx context.Context) (bool, error) {
		if !m.Running() {
			return false, fmt.Errorf("the manager ended with exit code %d before it was ready", m.ExitCode())
		}
		return m.Ready(ctx), nil
	})
}

// Leads reports whether this replica is the leader.
func (m *Manager) Leads(ctx context.Context) (bool, error) {
	value, err := m.Metric(ctx, "groupgate_term")
	return value == 1, err
}

// Metric is Metric of its own metrics.
func (m *Manager) Metric(ctx context.Context, name string, labels ...string) (float64, error) {
	return Metric(ctx, m.MetricsURL, name, labels...)
}

// Metric sums the series of a metric that have every one of the labels (as `name="value"`); 0 if there are none (yet).
func Metric(ctx context.Context, url, name string, labels ...string) (sum float64, err error) {
	resp, err := get(ctx, url)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", url, err)
	}
	return SumMetric(string(text), name, labels...)
}

// SumMetric is Metric of text in the exposition format.
func SumMetric(text, name string, labels ...string) (sum float64, err error) {
lines:
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, name) || !strings.ContainsAny(line[len(name):][:1], "{ ") {
			continue
		}
		end := strings.LastIndexByte(line, ' ')
		for _, label := range labels {
			if !strings.Contains(line[:end], label) {
				continue lines
			}
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(line[end:]), 64)
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", name, err)
		}
		sum += value
	}
	return sum, nil
}

func get(ctx context.Context, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	return http.DefaultClient.Do(req)
}

// Await calls holds every 50 ms until it is true, it fails, or ctx ends.
func Await(ctx context.Context, what string, holds func(context.Context) (bool, error)) error {
	return Poll(ctx, 50*time.Millisecond, what, holds)
}

// Poll is Await with another interval.
func Poll(ctx context.Context, interval time.Duration, what string, holds func(context.Context) (bool, error)) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		ok, err := holds(ctx)
		if err != nil {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, context.Cause(ctx))
		case <-ticker.C:
		}
	}
}
