package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
)

const (
	namespace     = "chat" // the one that config/default watches
	sdkAppID      = "1400000000"
	secretKey     = "figures-secret-key"
	callbackToken = "figures-token"

	// patience bounds one wait; the longest one is for 4 lists of 10,000 pages each at 200 pages a second.
	patience = 6 * time.Minute

	// memoryLimit is the GOMEMLIMIT of config/manager.
	memoryLimit = "460MiB"
)

// stage is a control plane with config/default, and an emulator that serves one app.
type stage struct {
	dir, binary string
	plane       *lab.ControlPlane
	im          emulator.Client
	kubeconfig  string // of the manager's ServiceAccount
	clear       []func() error
}

func onStage(ctx context.Context, dir, binary string, do func(*stage) error) (err error) {
	s := &stage{dir: dir, binary: binary}
	defer func() {
		for i := len(s.clear) - 1; i >= 0; i-- {
			err = errors.Join(err, s.clear[i]())
		}
	}()
	if err := s.set(ctx); err != nil {
		return err
	}
	return do(s)
}

func (s *stage) set(ctx context.Context) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	var err error
	// The week passes in minutes. What the API server drops by the clock of the machine, it is to drop as if there were time for it:
	// events, which live for an hour, and the history of etcd, of which five minutes are kept.
	if s.plane, err = lab.StartControlPlane(s.dir, map[string]string{"event-ttl": "1m", "etcd-compaction-interval": "30s"}); err != nil {
		return err
	}
	s.clear = append(s.clear, s.plane.Stop)
	if _, err := s.plane.Kubectl(ctx, "", "apply", "--server-side", "-k", "config/default"); err != nil {
		return err
	}
	if s.kubeconfig, err = s.plane.ServiceAccountKubeconfig("groupgate-system", "groupgate-manager", ""); err != nil {
		return err
	}
	address, err := lab.FreeAddress()
	if err != nil {
		return err
	}
	log, err := s.log("emulator")
	if err != nil {
		return err
	}
	backend, err := lab.Start(log, s.binary, "emulator", "--bind-address="+address, "--app="+sdkAppID+":"+secretKey+":"+callbackToken)
	if err != nil {
		return err
	}
	s.clear = append(s.clear, func() error { return backend.Stop(10 * time.Second) })
	s.im.BaseURL = "http://" + address
	return s.await(ctx, "the emulator to answer", func(ctx context.Context) (bool, error) {
		_, err := s.im.Groups(ctx)
		return err == nil, nil
	})
}

func (s *stage) log(name string) (io.Writer, error) {
	f, err := os.OpenFile(filepath.Join(s.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make a log file: %w", err)
	}
	s.clear = append(s.clear, f.Close)
	return f, nil
}

// policies applies an app that may call 200 times a second, and a GroupPolicy for every group with that prune rule.
func (s *stage) policies(ctx context.Context, rule string) error {
	_, err := s.plane.Kubectl(ctx, fmt.Sprintf(`
apiVersion: v1
kind: Secret
metadata: {name: prod-im, labels: {groupgate.io/credentials: "true"}}
stringData: {secretKey: %q, callbackToken: %q}
---
apiVersion: groupgate.io/v1alpha1
kind: IMApp
metadata: {name: prod}
spec:
  sdkAppID: %s
  region: Singapore
  adminAccount: administrator
  credentialsSecretRef: {name: prod-im}
  rest: {requestsPerSecond: %d}
---
apiVersion: groupgate.io/v1alpha1
kind: GroupPolicy
metadata: {name: everywhere}
spec:
  appRef: {name: prod}
  groups: [{type: All}]
  whenFull: {prune: %s}
`, secretKey, callbackToken, sdkAppID, rate, rule), "--namespace="+namespace, "apply", "--server-side", "-f", "-")
	return err
}

// rate is the most that an app may be given.
const rate = 200

// manager starts a manager that the emulator sends its callbacks to, and waits until it serves the policy and may write. limited gives it
// the GOMEMLIMIT of config/manager.
func (s *stage) manager(ctx context.Context, limited bool) (*lab.Manager, error) {
	restore, err := memoryLimitOfChildren(limited)
	if err != nil {
		return nil, err
	}
	defer restore()
	log, err := s.log("manager")
	if err != nil {
		return nil, err
	}
	m, err := lab.StartManager(log, s.binary, s.kubeconfig, "--namespace="+namespace, "--im-endpoint="+s.im.BaseURL, "--shutdown-delay=0s", "--sweep-interval=24h")
	if err != nil {
		return nil, err
	}
	s.clear = append(s.clear, func() error { return m.Stop(time.Minute) })
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := m.AwaitReady(bounded); err != nil {
		return nil, err
	}
	if err := s.callbacksTo(ctx, m.CallbackURL); err != nil {
		return nil, err
	}
	return m, s.await(ctx, "the manager to hold the term", func(ctx context.Context) (bool, error) {
		term, err := metric(ctx, m.MetricsURL, "groupgate_term")
		return term == 1, err
	})
}

func (s *stage) callbacksTo(ctx context.Context, url string) error {
	_, err := s.im.Configure(ctx, func(settings *emulator.Settings) { settings.CallbackURL = url })
	return err
}

// memoryLimitOfChildren sets GOMEMLIMIT for processes that are started before restore is called.
func memoryLimitOfChildren(limited bool) (restore func(), err error) {
	if !limited {
		return func() {}, os.Unsetenv("GOMEMLIMIT")
	}
	return func() { _ = os.Unsetenv("GOMEMLIMIT") }, os.Setenv("GOMEMLIMIT", memoryLimit)
}

func (s *stage) await(ctx context.Context, what string, holds func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return lab.Await(ctx, what, holds)
}

// fill makes a group with one seat free, half of its members inactive, and lets somebody take that seat: the emulator tells of it.
func (s *stage) fill(ctx context.Context, id, groupType string, members int) error {
	idle := members / 2
	_, err := s.im.CreateGroup(ctx, emulator.GroupSpec{
		ID: id, Type: groupType, MaxMembers: members, Owner: "olivia", CreatedAgo: "400d", ApplyJoinOption: "FreeAccess",
		Members: []emulator.MemberSpec{
			{Prefix: "idle", Count: idle, InactiveFor: "60d"},
			{Prefix: "busy", Count: members - idle - 2, JoinedAgo: "100d", SpokeAgo: "1d"},
		},
	})
	if err != nil {
		return err
	}
	joined, err := s.im.Apply(ctx, id, "lucy")
	if err == nil && joined.Result != emulator.ResultJoined {
		err = fmt.Errorf("lucy was not let into %s: %+v", id, joined)
	}
	return err
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s "+format+"\n", append([]any{time.Now().Format(time.TimeOnly)}, args...)...)
}
