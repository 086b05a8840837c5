package drill

import (
	"slices"
	"time"
)

// timeline is what something was, and when. A change takes effect somewhere between the moment before it was asked for and the moment at
// which the answer was there.
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

// at are the values that it may have had at a moment: none before the first, two while a change was under way.
func (t timeline[T]) at(moment time.Time) (values []T) {
	for i, c := range t {
		over := i+1 < len(t) && !t[i+1].done.After(moment)
		if !c.begin.After(moment) && !over {
			values = append(values, c.value)
		}
	}
	return values
}

// throughout says whether something holds of every value that it may have had from one moment to another; not if it had none.
func (t timeline[T]) throughout(from, to time.Time, holds func(T) bool) bool {
	values := t.at(from)
	for _, c := range t {
		if c.begin.After(from) && !c.begin.After(to) {
			values = append(values, c.value)
		}
	}
	return len(t.at(from)) > 0 && !slices.ContainsFunc(values, func(v T) bool { return !holds(v) })
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

// possible says whether something may have held at any moment from one to another.
func (t timeline[T]) possible(from, to time.Time, holds func(T) bool) bool {
	values := t.at(from)
	for _, c := range t {
		if c.begin.After(from) && !c.begin.After(to) {
			values = append(values, c.value)
		}
	}
	return slices.ContainsFunc(values, holds)
}
