package prunerun

import (
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// maxLead is how far a recorded time may lie ahead of now: the clocks of two leaders differ a little.
const maxLead = 5 * time.Minute

// Happened is when something happened of which the run recorded the time at. A time that lies further ahead of now was
// recorded by a clock that was ahead. Whatever is counted from it would last for as much longer, so it is counted from
// the creation of the run instead, which the API server has recorded, or from now if that lies ahead as well.
func Happened(run *v1alpha1.PruneRun, at, now time.Time) time.Time {
	switch created := run.CreationTimestamp.Time; {
	case !at.After(now.Add(maxLead)):
		return at
	case created.Before(now):
		return created
	}
	return now
}
