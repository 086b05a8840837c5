package policy

import "sync/atomic"

// Store holds the snapshot that is served. Its zero value is ready and was never built. It is safe for concurrent use and
// takes no lock.
type Store struct{ current atomic.Pointer[Snapshot] }

// Load returns the snapshot published last, or nil before the first one. Load once per request and pass it down: two
// loads can see two worlds.
func (s *Store) Load() *Snapshot { return s.current.Load() }

// Publish makes snapshot the one that is served from now on.
func (s *Store) Publish(snapshot *Snapshot) { s.current.Store(snapshot) }
