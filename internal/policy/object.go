package policy

import (
	"strings"
	"time"
)

// Object is the identity of one version of one API object.
type Object struct {
	Namespace  string
	Name       string
	UID        string
	Generation int64
	// Created is the creation timestamp. Kubernetes records whole seconds, so that ties are common.
	Created time.Time
}

// Key is "namespace/name".
func (o Object) Key() string { return o.Namespace + "/" + o.Name }

// objectName is what an object is called: unique for its kind at any one time.
type objectName struct{ namespace, name string }

func (n objectName) compare(other objectName) int {
	if order := strings.Compare(n.namespace, other.namespace); order != 0 {
		return order
	}
	return strings.Compare(n.name, other.name)
}

func (o *Object) objectName() objectName { return objectName{o.Namespace, o.Name} }

// comparable returns o with its time in a form that == compares as [time.Time.Equal] does.
func (o Object) comparable() Object {
	o.Created = o.Created.Round(0).UTC()
	return o
}

// The orders below are the better part of a build after an edit: they compare no more than they must.

func byName(a, b *Object) int {
	if order := strings.Compare(a.Namespace, b.Namespace); order != 0 {
		return order
	}
	return strings.Compare(a.Name, b.Name)
}

// byAge orders the objects that compete for something: the older first, then by name. The UID makes the order total.
func byAge(a, b *Object) int {
	if order := a.Created.Compare(b.Created); order != 0 {
		return order
	}
	if order := byName(a, b); order != 0 {
		return order
	}
	return strings.Compare(a.UID, b.UID)
}
