package policy

import (
	"iter"
	"slices"
)

// ordered holds objects of one kind, ordered by name. It never changes.
type ordered[T any, P interface {
	*T
	objectName() objectName
}] []*T

// with returns the objects with the changed ones in their places; nil stands for an object that is gone.
func (o ordered[T, P]) with(changed map[objectName]*T) ordered[T, P] {
	if len(changed) == 0 {
		return o
	}
	names := make([]objectName, 0, len(changed))
	for name := range changed {
		names = append(names, name)
	}
	slices.SortFunc(names, objectName.compare)
	next := make(ordered[T, P], 0, len(o)+len(names))
	for _, name := range names {
		at, found := o.search(name)
		next = append(next, o[:at]...)
		if object := changed[name]; object != nil {
			next = append(next, object)
		}
		if found {
			at++
		}
		o = o[at:]
	}
	return append(next, o...)
}

func (o ordered[T, P]) search(name objectName) (at int, found bool) {
	return slices.BinarySearchFunc(o, name, func(t *T, name objectName) int { return P(t).objectName().compare(name) })
}

// find returns the object of that name, or nil.
func (o ordered[T, P]) find(name objectName) *T {
	at, found := o.search(name)
	if !found {
		return nil
	}
	return o[at]
}

// all yields the objects in their order.
func (o ordered[T, P]) all() iter.Seq[T] { return o.since(nil) }

// since yields the objects that are not the same in before. It compares addresses.
func (o ordered[T, P]) since(before ordered[T, P]) iter.Seq[T] {
	return func(yield func(T) bool) {
		before := before
		for _, object := range o {
			for len(before) > 0 && before[0] != object &&
				P(before[0]).objectName().compare(P(object).objectName()) < 0 {
				before = before[1:]
			}
			if len(before) > 0 && before[0] == object {
				before = before[1:]
				continue
			}
			if !yield(*object) {
				return
			}
		}
	}
}
