package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/groupgate/groupgate/internal/callbackhealth"
	"github.com/groupgate/groupgate/internal/guard"
	"github.com/groupgate/groupgate/internal/imclients"
	"github.com/groupgate/groupgate/internal/informers"
	"github.com/groupgate/groupgate/internal/notices"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/pruning"
	"github.com/groupgate/groupgate/internal/replicas"
	"github.com/groupgate/groupgate/internal/term"
)

// eventSource names the operator in its events.
const eventSource = "groupgate"

// Config is the part of the flags that concerns the controllers.
type Config struct {
	// Store is where the snapshot is published.
	Store *policy.Store
	// Watches are those of the manager's cache.
	Watches *informers.Watches
	// Guard logs and counts panics.
	Guard *guard.Guard
	// Members are the replicas that may be answering callbacks.
	Members *replicas.Members
	// Health is what the callback server has seen of the callbacks of each app.
	Health   *callbackhealth.Recorder
	Election term.Election
	// IMEndpoint, if not empty, is used instead of the hosts of the regions.
	IMEndpoint string
	// SweepInterval is the time between two sweeps of an app.
	SweepInterval time.Duration
	// PruneRunTTL is how long finished runs are retained.
	PruneRunTTL time.Duration
	// PageURL is the URL of the page, empty if there is none.
	PageURL string
	// Webhook, if set, is told of plans that await approval.
	Webhook    *notices.Webhook
	Now        func() time.Time
	Registerer prometheus.Registerer
}

// Controllers are the parts of the controllers that the rest of the process uses.
type Controllers struct {
	// Intake is where the callback server reports full groups.
	Intake *Intake
	// Leaks is where the callback server reports members whom the gate refuses.
	Leaks LeakTakers
	// Replica knows what this replica enforces, and what every replica does.
	Replica *Replica
	// Published and TermBegan return channels that the next publication, and the beginning of the next term, close.
	Published, TermBegan func() <-chan struct{}
}

// Setup adds every controller to mgr, which must have been made with informers.CacheOptions. ctx must not end before
// mgr.
func Setup(ctx context.Context, mgr manager.Manager, c Config) (*Controllers, error) {
	metrics := NewMetrics(c.Registerer)
	leader, err := term.New(mgr.GetConfig(), c.Election, metrics.termHeld, mgr.GetLogger().WithName("term"))
	if err != nil {
		return nil, err
	}
	leader.Guard = c.Guard
	recorder := mgr.GetEventRecorder(eventSource)
	clients := &imclients.Pool{
		Reader:   mgr.GetClient(),
		Endpoint: c.IMEndpoint,
		Now:      c.Now,
		Metrics:  imclients.NewMetrics(c.Registerer),
	}
	snapshot := &SnapshotReconciler{
		Client: mgr.GetClient(), Store: c.Store, Now: c.Now, Watches: c.Watches, Guard: c.Guard,
		Metrics: metrics,
	}
	snapshot.Replica = NewReplica(snapshot, c.Members, c.Health)
	status := &StatusReconciler{
		Client:       mgr.GetClient(),
		Snapshots:    c.Store,
		Term:         leader,
		Reachability: clients,
		Replica:      snapshot.Replica,
		Began:        c.Now(),
		Events:       recorder,
		Now:          c.Now,
	}
	engine := &pruning.Engine{
		Client:    mgr.GetClient(),
		Live:      mgr.GetAPIReader(),
		Cache:     mgr.GetClient(),
		Snapshots: c.Store,
		Clients:   clients,
		Events:    recorder,
		Now:       c.Now,
		Metrics:   pruning.NewMetrics(c.Registerer),
		PageURL:   c.PageURL,
	}
	runs := &PruneRunReconciler{Client: mgr.GetClient(), Engine: engine, Term: leader, TTL: c.PruneRunTTL}
	intake := &Intake{
		Client:    mgr.GetClient(),
		Live:      mgr.GetAPIReader(),
		Snapshots: c.Store,
		Clients:   clients,
		Now:       c.Now,
		Metrics:   NewIntakeMetrics(c.Registerer),
		Guard:     c.Guard,
		Log:       mgr.GetLogger().WithName("intake"),
	}
	sweeper := &Sweeper{
		Client:    mgr.GetClient(),
		Live:      mgr.GetAPIReader(),
		Snapshots: c.Store,
		Term:      leader,
		Clients:   clients,
		Now:       c.Now,
		Interval:  c.SweepInterval,
		Guard:     c.Guard,
		Log:       mgr.GetLogger().WithName("sweeper"),
	}
	leaks := &LeakEvents{
		Client: mgr.GetClient(), Now: c.Now, Guard: c.Guard, Log: mgr.GetLogger().WithName("leaks"),
	}
	evictions := NewEvictMetrics(c.Registerer, c.Now)
	strangers := &Strangers{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Snapshots: c.Store, Now: c.Now,
		Metrics: evictions, Guard: c.Guard, Log: mgr.GetLogger().WithName("strangers"),
	}
	changes := &VerdictChanges{
		Client: mgr.GetClient(), Snapshots: c.Store, Published: snapshot.published.Next, Term: leader,
		Clients: clients, Strangers: strangers, Now: c.Now,
		Metrics: evictions, Guard: c.Guard, Log: mgr.GetLogger().WithName("verdicts"),
	}
	rounds := &Rounds{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Snapshots: c.Store, Term: leader,
		Clients: clients, Strangers: strangers, Changes: changes, Gap: c.Members.Gap, Now: c.Now,
		Metrics: evictions, Guard: c.Guard, Log: mgr.GetLogger().WithName("rounds"),
	}
	rounds.Written.Guard = c.Guard
	status.RoundWritten = rounds.WrittenSource
	c.Registerer.MustRegister(c.Guard.Collector(pruning.NewWaitCollector(ctx, mgr.GetCache(), c.Now)))
	runnables := []guard.Runnable{
		c.Guard.Runnable(guard.Term, leader), c.Guard.Runnable(guard.Intake, intake),
		c.Guard.Runnable(guard.Sweeper, sweeper), c.Guard.Runnable(guard.Replica, snapshot.Replica.Enforcement),
		c.Guard.Runnable(guard.Leaks, leaks), c.Guard.Runnable(guard.Strangers, strangers),
		c.Guard.Runnable(guard.Verdicts, changes), c.Guard.Runnable(guard.Rounds, rounds),
	}
	if c.Election.Enabled {
		watches := term.NewWatchAge(mgr.GetCache(), c.Election.LeaseDuration, c.Now, c.Registerer)
		engine.Stale = watches.Silent
		runnables = append(runnables, c.Guard.Runnable(guard.Informer, watches))
	}

	err = errors.Join(
		IndexPruneRuns(ctx, mgr.GetFieldIndexer()),
		snapshot.SetupWithManager(ctx, mgr),
		status.SetupWithManager(mgr, snapshot.Published),
		runs.SetupWithManager(mgr, snapshot.RulesPublished),
		setUpNotices(mgr, c, leader, clients),
	)
	for _, runnable := range runnables {
		err = errors.Join(err, mgr.Add(runnable))
	}
	if err != nil {
		return nil, fmt.Errorf("set up the controllers: %w", err)
	}
	return &Controllers{
		Intake: intake, Leaks: LeakTakers{leaks, strangers}, Replica: snapshot.Replica,
		Published: snapshot.published.Next, TermBegan: leader.Began,
	}, nil
}
