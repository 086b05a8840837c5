package term

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// Election says which Lease is competed for, and how.
type Election struct {
	// Enabled false means that there is one replica only: its term lasts as long as the process.
	Enabled bool
	// ID and Namespace name the Lease.
	ID, Namespace string
	// LeaseDuration, RenewDeadline and RetryPeriod are those of Term; here zero is an error, not a default.
	LeaseDuration, RenewDeadline, RetryPeriod time.Duration
}

// Validate says what to change before an election can work, in terms of the flags of groupgate manager.
func (e Election) Validate() error {
	if !e.Enabled {
		return nil
	}
	var errs []error
	require := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	require(e.ID != "", "--leader-election-id must not be empty")
	require(e.Namespace != "", "outside a cluster, name the namespace of the Lease with --leader-election-namespace, "+
		"or set --leader-elect=false")
	// A Lease counts in whole seconds.
	require(e.LeaseDuration >= time.Second && e.LeaseDuration%time.Second == 0,
		"--leader-election-lease-duration must be whole seconds, at least 1s, not %s", e.LeaseDuration)
	require(e.RetryPeriod > 0, "--leader-election-retry-period must be more than 0s, not %s", e.RetryPeriod)
	require(e.RenewDeadline < e.LeaseDuration,
		"--leader-election-renew-deadline (%s) must be less than --leader-election-lease-duration (%s)",
		e.RenewDeadline, e.LeaseDuration)
	require(e.RenewDeadline > time.Duration(leaderelection.JitterFactor*float64(e.RetryPeriod)),
		"--leader-election-renew-deadline (%s) must be more than %.1f times --leader-election-retry-period (%s)",
		e.RenewDeadline, leaderelection.JitterFactor, e.RetryPeriod)
	return errors.Join(errs...)
}

// Lease returns the name of the Lease, zero without an election.
func (e Election) Lease() types.NamespacedName {
	if !e.Enabled {
		return types.NamespacedName{}
	}
	return types.NamespacedName{Namespace: e.Namespace, Name: e.ID}
}

// New makes the Term of this process. onChange may be nil.
func New(config *rest.Config, election Election, onChange func(held bool), log logr.Logger) (*Term, error) {
	term := &Term{
		LeaseDuration: election.LeaseDuration,
		RenewDeadline: election.RenewDeadline,
		RetryPeriod:   election.RetryPeriod,
		OnChange:      onChange,
		Log:           log,
	}
	if !election.Enabled {
		return term, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("find the name of this replica: %w", err)
	}
	// A restarted pod keeps its host name: without the random part it would take the Lease of its predecessor for its
	// own.
	identity := host + "_" + string(uuid.NewUUID())
	if term.Lock,
		err = NewLeaseLock(config, election.Namespace, election.ID, identity, election.RenewDeadline); err != nil {
		return nil, err
	}
	return term, nil
}

// NewLeaseLock returns the lock of the Lease namespace/name for a Term. identity must be unique to the process. A
// request on it never lasts longer than half of renewDeadline, so that one lost packet does not cost the term.
func NewLeaseLock(
	config *rest.Config, namespace, name, identity string, renewDeadline time.Duration,
) (resourcelock.Interface, error) {
	config = rest.CopyConfig(config)
	config.Timeout = max(time.Second, renewDeadline/2)
	client, err := coordinationclient.NewForConfig(rest.AddUserAgent(config, "term"))
	if err != nil {
		return nil, fmt.Errorf("create a client for the Lease: %w", err)
	}
	return &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: namespace, Name: name},
		Client:     client,
		LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
	}, nil
}
