package drill

import (
	"slices"
	"time"
)

// timeline is the history of a value. A change takes effect at some moment between its request and the answer.
type timeline[T any] []change[T]

type change[T any] struct {
	begin, done time.Time
	value       T
}

func (t *timeline[T]) set(begin, done time.Time, value T) {
	*t = append(*t, change[T]{begin, done, value})
}

// now is the last value; the zero value if there is none.
func (t timeline[T]) now() (value T) {
	if len(t) > 0 {
		value = t[len(t)-1].value
	}
	return value
}

// at are the possible values at a moment: none before the first, two during a change.
func (t timeline[T]) at(moment time.Time) (values []T) {
	for i, c := range t {
		over := i+1 < len(t) && !t[i+1].done.After(moment)
		if !c.begin.After(moment) && !over {
			values = append(values, c.value)
		}
	}
	return values
}

// throughout reports whether holds is true of every possible value from one moment to another; false if there is none.
func (t timeline[T]) throughout(from, to time.Time, holds func(T) bool) bool {
	return len(t.at(from)) > 0 && !t.possible(from, to, func(v T) bool { return !holds(v) })
}

// changes are the moments from one to another at which a change began.
func (t timeline[T]) changes(from, to time.Time) (moments []time.Time) {
	for _, c := range t {
		if c.begin.After(from) && !c.begin.After(to) {
			moments = append(moments, c.begin)
		}
	}
	return moments
}

// possible reports whether holds is true of any possible value from one moment to another.
func (t timeline[T]) possible(from, to time.Time, holds func(T) bool) bool {
	values := t.at(from)
	for _, c := range t {
		if c.begin.After(from) && !c.begin.After(to) {
			values = append(values, c.value)
		}
	}
	return slices.ContainsFunc(values, holds)
}

// becomes is set for a change without duration.
func (t *timeline[T]) becomes(at time.Time, value T) { t.set(at, at, value) }
