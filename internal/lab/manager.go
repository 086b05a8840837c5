package lab

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Manager is a `groupgate manager` process on loopback, over plain HTTP.
type Manager struct {
	*Process
	// CallbackURL is what the vendor's console would be given.
	CallbackURL string
	// MetricsURL is where its metrics are, unauthenticated.
	MetricsURL string
	// ReadyURL is its readiness.
	ReadyURL string
}

// StartManager starts binary as a manager with kubeconfig. extra flags come last and win.
func StartManager(log io.Writer, binary, kubeconfig string, extra ...string) (*Manager, error) {
	var addresses [3]string
	for i := range addresses {
		var err error
		if addresses[i], err = FreeAddress(); err != nil {
			return nil, err
		}
	}
	process, err := Start(log, binary, append([]string{
		"manager",
		"--kubeconfig=" + kubeconfig,
		"--callback-insecure-http",
		"--callback-bind-address=" + addresses[0],
		"--metrics-secure=false",
		"--metrics-bind-address=" + addresses[1],
		"--health-probe-bind-address=" + addresses[2],
		"--leader-election-namespace=groupgate-system",
	}, extra...)...)
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

// Ready says whether it answers that it is.
func (m *Manager) Ready(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.ReadyURL, http.NoBody)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
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

// Await asks holds every 50 ms until it is true, it fails, or ctx ends.
func Await(ctx context.Context, what string, holds func(context.Context) (bool, error)) error {
	ticker := time.NewTicker(50 * time.Millisecond)
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
