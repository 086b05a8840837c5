package controllers

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
)

// ElectionConfig says which Lease is competed for, and how.
type ElectionConfig struct {
	// Enabled false means that there is one replica only: its term lasts as long as the process.
	Enabled bool
	// ID and Namespace name the Lease.
	ID, Namespace string
	// LeaseDuration, RenewDeadline and RetryPeriod are those of Term; here zero is an error, not a default.
	LeaseDuration, RenewDeadline, RetryPeriod time.Duration
}

// Validate says what to change before an election can work, in terms of the flags of groupgate manager.
func (c ElectionConfig) Validate() error {
	if !c.Enabled {
		return nil
	}
	var errs []error
	if c.ID == "" {
		errs = append(errs, errors.New("--leader-election-id must not be empty"))
	}
	if c.Namespace == "" {
		errs = append(errs, errors.New("outside a cluster, name the namespace of the Lease with --leader-election-namespace, or set --leader-elect=false"))
	}
	// A Lease counts in whole seconds.
	if c.LeaseDuration < time.Second || c.LeaseDuration%time.Second != 0 {
		errs = append(errs, fmt.Errorf("--leader-election-lease-duration must be whole seconds, at least 1s, not %s", c.LeaseDuration))
	}
	if c.RetryPeriod <= 0 {
		errs = append(errs, fmt.Errorf("--leader-election-retry-period must be more than 0s, not %s", c.RetryPeriod))
	}
	if c.RenewDeadline >= c.LeaseDuration {
		errs = append(errs, fmt.Errorf("--leader-election-renew-deadline (%s) must be less than --leader-election-lease-duration (%s)",
			c.RenewDeadline, c.LeaseDuration))
	}
	if least := time.Duration(leaderelection.JitterFactor * float64(c.RetryPeriod)); c.RenewDeadline <= least {
		errs = append(errs, fmt.Errorf("--leader-election-renew-deadline (%s) must be more than %.1f times --leader-election-retry-period (%s)",
			c.RenewDeadline, leaderelection.JitterFactor, c.RetryPeriod))
	}
	return errors.Join(errs...)
}

// NewTerm makes the Term of this process.
func NewTerm(config *rest.Config, election ElectionConfig, metrics *Metrics, log logr.Logger) (*Term, error) {
	term := &Term{
		LeaseDuration: election.LeaseDuration,
		RenewDeadline: election.RenewDeadline,
		RetryPeriod:   election.RetryPeriod,
		Metrics:       metrics,
		Log:           log,
	}
	if !election.Enabled {
		return term, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("find the name of this replica: %w", err)
	}
	// A pod that restarts keeps its host name, and must not take itself for the holder.
	identity := host + "_" + string(uuid.NewUUID())
	if term.Lock, err = NewLeaseLock(config, election.Namespace, election.ID, identity, election.RenewDeadline); err != nil {
		return nil, err
	}
	return term, nil
}
