package drill

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/groupgate/groupgate/internal/lab"
)

// replica is the place of one manager: a process, killed and started again, behind a wire of its own to the API server.
type replica struct {
	w          *world
	wire       *lab.Wire
	kubeconfig string
	flags      []string
	log        *lab.Log

	killing sync.Mutex
	mu      sync.Mutex
	process *lab.Manager
}

// newReplica starts the first process of a place.
func (w *world) newReplica(flags ...string) (*replica, error) {
	wire, err := lab.NewWire(w.ctx, plane.Address())
	if err != nil {
		return nil, err
	}
	w.t.Cleanup(func() { _ = wire.Close() })
	kubeconfig, err := plane.ServiceAccountKubeconfig("groupgate-system", "groupgate-manager", wire.Address())
	if err != nil {
		return nil, err
	}
	r := &replica{w: w, wire: wire, kubeconfig: kubeconfig, log: &lab.Log{}, flags: append([]string{
		"--namespace=" + w.namespace,
		"--im-endpoint=" + w.backend.URL,
		"--leader-election-lease-duration=4s",
		"--leader-election-renew-deadline=3s",
		"--leader-election-retry-period=500ms",
		"--shutdown-delay=100ms",
		"--log-format=console",
	}, flags...)}
	// However the test ends, no process is left behind.
	w.t.Cleanup(func() { _ = r.current().Kill() })
	return r, r.start()
}

func (r *replica) start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	process, err := lab.StartManager(r.log, binary, r.kubeconfig, r.flags...)
	if err != nil {
		return err
	}
	r.process = process
	return nil
}

func (r *replica) current() *lab.Manager {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.process
}

// killAndRestart ends the process as kill -9 does; another one starts after a while.
func (r *replica) killAndRestart(ctx context.Context, after time.Duration) {
	r.killing.Lock()
	defer r.killing.Unlock()
	if !r.check() {
		return
	}
	if err := r.current().Kill(); err != nil {
		r.w.complain("kill a manager: %v", err)
	}
	pause(ctx, after)
	if err := r.start(); err != nil {
		r.w.complain("start a manager: %v", err)
	}
}

// check says whether the process runs, and complains if it has ended without having been told to.
func (r *replica) check() bool {
	p := r.current()
	if !p.Running() {
		r.w.complain("a manager has ended by itself with exit code %d", p.ExitCode())
		return false
	}
	return true
}

// stop ends the process for good.
func (r *replica) stop() {
	if !r.check() {
		return
	}
	if err := r.current().Stop(time.Minute); err != nil {
		r.w.complain("stop a manager: %v", err)
	}
	if strings.Contains(r.log.String(), "DATA RACE") {
		r.w.complain("a manager has a data race")
	}
}

// holdsTerm says whether the process is the one that writes.
func (r *replica) holdsTerm(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.current().MetricsURL, http.NoBody)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if lines.Text() == "groupgate_term 1" {
			return true
		}
	}
	return false
}

// answer is what a manager answered to a callback.
type answer struct {
	Status    int
	ErrorInfo string
	ErrorCode int
}

// callback sends a signed callback to the process.
func (r *replica) callback(ctx context.Context, sdkAppID uint64, body map[string]string) (answer, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return answer{}, err
	}
	requestTime := strconv.FormatInt(time.Now().Unix(), 10)
	digest := sha256.Sum256([]byte(token + requestTime))
	url := fmt.Sprintf("%s?SdkAppid=%d&CallbackCommand=%s&contenttype=json&ClientIP=127.0.0.1&OptPlatform=iOS&RequestTime=%s&Sign=%s",
		r.current().CallbackURL, sdkAppID, body["CallbackCommand"], requestTime, hex.EncodeToString(digest[:]))
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(data))
	if err != nil {
		return answer{}, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	a := answer{Status: resp.StatusCode}
	return a, json.NewDecoder(resp.Body).Decode(&a)
}

// ServeHTTP is the load balancer, through which the emulator's own callbacks go to the first manager that answers.
func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	var targets []string
	for _, replica := range w.replicas {
		if replica != nil {
			targets = append(targets, replica.current().CallbackURL)
		}
	}
	lab.Forward(rw, r, targets...)
}
