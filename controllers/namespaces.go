package controllers

import (
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/groupgate/groupgate/internal/informers"
	"github.com/groupgate/groupgate/internal/replicas"
)

// lostAfter is for how long a watch of IMApps must have been refused, without any other answer in between, before its
// apps make way for others with their SDKAppID. Sooner, a short mistake in RBAC would hand an app over to a duplicate
// with another token.
const lostAfter = 5 * time.Minute

// watchStates has the states of the watches; *informers.Watches implements it.
type watchStates interface{ States() []informers.WatchState }

// coverage is what the watches allow the snapshot to hold.
type coverage struct {
	// incomplete are the namespaces of which not every watch has synced. A snapshot with a part of their objects
	// would admit accounts that the other part refuses.
	incomplete map[string]bool
	// lost are those whose IMApps may have been deleted.
	lost map[string]bool
	// delivered is up to which versions the changed objects have every event of the namespaces that are complete.
	delivered replicas.Versions
	// changed are the versions of the newest of these events.
	changed replicas.Versions
	// nothing says that no namespace is complete.
	nothing bool
}

func coverageOf(watches watchStates) coverage {
	if watches == nil {
		return coverage{}
	}
	c := coverage{
		incomplete: map[string]bool{}, lost: map[string]bool{},
		delivered: replicas.Versions{}, changed: replicas.Versions{},
	}
	watched := map[string]bool{}
	for _, state := range watches.States() {
		watched[state.Namespace] = true
		if !state.Synced {
			c.incomplete[state.Namespace] = true
		}
		if state.Delivered != "" {
			watch := replicas.Watch{Kind: state.Kind, Namespace: state.Namespace}
			c.delivered[watch], c.changed[watch] = state.Delivered, state.Changed
		}
		// A watch of all namespaces loses every app alike: none of them is known to exist.
		if state.Kind == "IMApp" && state.RefusedFor() >= lostAfter {
			c.lost[state.Namespace] = true
		}
	}
	for _, versions := range []replicas.Versions{c.delivered, c.changed} {
		maps.DeleteFunc(versions, func(w replicas.Watch, _ string) bool { return c.incomplete[w.Namespace] })
	}
	c.nothing = len(c.incomplete) == len(watched)
	return c
}

// holds reports whether the objects of a namespace belong into the snapshot.
func (c coverage) holds(namespace string) bool {
	return !c.incomplete[namespace] && !c.incomplete[corev1.NamespaceAll]
}

// changesByItself reports whether the coverage may change without an event of an object: a watch that is not in order
// may sync, or be lost.
func changesByItself(watches watchStates) bool {
	for _, state := range watches.States() {
		if !state.Synced || !state.FailingSince.IsZero() {
			return true
		}
	}
	return false
}
