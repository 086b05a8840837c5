package policy

import (
	"cmp"
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

func (o Object) objectName() objectName { return objectName{o.Namespace, o.Name} }

// version identifies the content of one object: the same version always has the same spec.
type version struct {
	objectName
	uid        string
	generation int64
}

func (o Object) version() version { return version{o.objectName(), o.UID, o.Generation} }

// comparable returns o with its time in a form that == compares as [time.Time.Equal] does.
func (o Object) comparable() Object {
	o.Created = o.Created.Round(0).UTC()
	return o
}

func byName(a, b Object) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// byAge orders the objects that compete for something: the older first, then by name. The UID makes the order total.
func byAge(a, b Object) int {
	return cmp.Or(a.Created.Compare(b.Created), byName(a, b), cmp.Compare(a.UID, b.UID))
}
