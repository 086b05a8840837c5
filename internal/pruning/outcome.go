package pruning

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/imrest"
	"github.com/groupgate/groupgate/internal/prunerun"
)

const (
	// soon is when to try again after what passes by itself: a snapshot about to be built, a lost race.
	soon = time.Second
	// maxRequeue bounds how long a waiting run goes unexamined if the event that should wake it is lost.
	maxRequeue = 5 * time.Minute
	// maxTimedRequeue is maxRequeue for a wait that has an end of its own, such as that for the budget of the day: a
	// clock that was set meanwhile delays the run no longer.
	maxTimedRequeue = time.Hour
	// longRetryAfter is how long the vendor must ask to be left alone for the run to wait exactly that long. Shorter
	// values are left to the queue's backoff, which grows.
	longRetryAfter = 10 * time.Second
)

var (
	// errBehind reports that the snapshot, or the cache, does not hold yet what the API server has.
	errBehind = errors.New("the snapshot is behind the API server")
	// errDone reports that nothing is left to do: the end of the run is recorded, or the run is being deleted.
	errDone = errors.New("the run has ended")
)

// endError ends a run, or its undo.
type endError struct {
	condition string // the one that becomes True: ConditionComplete or ConditionFailed
	reason    string
	message   string
	// restored are results of an undo that are recorded together with its end.
	restored map[string]v1alpha1.RestoreResult
	// denied is whose word ends the run, if it is one.
	denied *v1alpha1.RecordedDecision
}

func (e *endError) Error() string { return e.reason + ": " + e.message }

func complete(reason, format string, args ...any) error {
	return &endError{condition: v1alpha1.ConditionComplete, reason: reason, message: fmt.Sprintf(format, args...)}
}

func fail(reason, format string, args ...any) error {
	return &endError{condition: v1alpha1.ConditionFailed, reason: reason, message: fmt.Sprintf(format, args...)}
}

// enoughError ends a run that has done what it is for. Its reason depends on the exact number of removals, which is
// known only once no batch is in flight.
type enoughError struct{ message string }

func (e *enoughError) Error() string { return e.message }

func enough(format string, args ...any) error {
	return &enoughError{message: fmt.Sprintf(format, args...)}
}

// waitError makes a run wait for an event or, with a cause, for a retry.
type waitError struct {
	reason  string
	message string
	cause   error
	// after is when to try again: with a cause, once it has passed (zero leaves that to the queue's backoff); without
	// one, at the latest, if no event comes.
	after time.Duration
}

func (e *waitError) Error() string { return e.reason + ": " + e.message }

func waitFor(reason, format string, args ...any) error {
	return &waitError{reason: reason, message: fmt.Sprintf(format, args...)}
}

func (e *waitError) next() (Next, error) {
	switch {
	case e.cause == nil && e.after > 0:
		return Next{After: min(e.after, maxTimedRequeue)}, nil
	case e.cause == nil:
		return Next{After: maxRequeue}, nil
	case e.after > 0:
		return Next{After: e.after}, nil
	}
	return Next{}, e.cause
}

// stopsRun reports whether err says something about the run or the vendor, and not about requests to the API server.
func stopsRun(err error) bool {
	_, ends := errors.AsType[*endError](err)
	_, waits := errors.AsType[*waitError](err)
	return ends || waits
}

// nextAfter says when to take the next Step after one that returned err.
func nextAfter(ctx context.Context, err error) (Next, error) {
	switch {
	case ctx.Err() != nil:
		// The term has ended, or the process is about to. The next term begins with a Step for every run.
		return Next{}, nil //nolint:nilerr // nothing went wrong, and a retry is not for this term
	case err == nil, errors.Is(err, errDone), apierrors.IsNotFound(err):
		return Next{}, nil
	case errors.Is(err, errBehind), apierrors.IsConflict(err):
		// A conflict is the fence at work: another writer has changed the run. The next Step reads what was written.
		return Next{After: soon}, nil
	}
	if later, ok := errors.AsType[*laterError](err); ok {
		return Next{After: later.after}, nil
	}
	return Next{}, err
}

// vendorError sorts a failed call: what lasts ends the run at once, so that a wrong key is not tried again and again;
// what may pass is waited out. A call that came too late says nothing about the vendor: the batch is begun again.
func vendorError(step string, err error) error {
	if errors.Is(err, imrest.ErrTooLate) {
		return fmt.Errorf("%s: %w", step, err)
	}
	message := prunerun.FailureMessage(step, err)
	switch imrest.ClassOf(err) {
	case imrest.ClassGroupGone:
		return fail(v1alpha1.ReasonGroupNotFound, "%s", message)
	case imrest.ClassUnsupported:
		return fail(v1alpha1.ReasonUnsupportedGroupType, "%s", message)
	case imrest.ClassUnauthorized, imrest.ClassPermanent:
		return fail(v1alpha1.ReasonVendorRefused, "%s", message)
	}
	cause := fmt.Errorf("%s: %w", step, err)
	wait := &waitError{reason: v1alpha1.ReasonVendorUnavailable, message: message, cause: cause}
	if failed, ok := errors.AsType[*imrest.Error](err); ok && failed.RetryAfter > longRetryAfter {
		// Not part of the message, or every retry would patch the status.
		wait.after = failed.RetryAfter
	}
	return wait
}
