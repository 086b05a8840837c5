package policy

import (
	"sync"
	"testing"
)

func TestStore(t *testing.T) {
	var s Store
	if s.Load() != nil {
		t.Error("a store that was never built has a snapshot")
	}
	empty := Compile(Input{})
	s.Publish(empty)
	if s.Load() != empty {
		t.Error("an empty snapshot is not told from none")
	}
}

// TestReadersNeverWait publishes while others decide; the race detector is the judge.
func TestReadersNeverWait(t *testing.T) {
	var store Store
	var c Compiler
	in := world(policyNamed("p", 1, joining(allow("jared")), prune()))
	store.Publish(c.compile(in))
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		// Ends when done is closed, below.
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				app := store.Load().App(appID)
				if v := app.DecideJoin(JoinQuery{Group: "g", Account: "jared"}); !v.Admit {
					t.Errorf("jared is refused: %+v", v)
				}
				app.GoverningRule("g", TypePublic)
			}
		})
	}
	for generation := range int64(200) {
		in.Policies[0].Generation = generation
		c.SetPolicy(in.Policies[0])
		store.Publish(c.Build())
	}
	close(done)
	readers.Wait()
}
