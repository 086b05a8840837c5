package controllers

import (
	"hash/fnv"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/replicas"
)

// The kinds that Programmed is about, and that of the credentials.
const (
	kindApp    = "IMApp"
	kindList   = "AccountList"
	kindPolicy = "GroupPolicy"
	kindSecret = "Secret"
)

// withProgrammed adds Programmed to the new conditions of an object, which include Accepted.
//
// While the replicas report what they have just received, the condition stays as it is: about the previous generation.
// So an edit that arrives everywhere, as nearly all do, is one more write and not two.
func (r *StatusReconciler) withProgrammed(conditions []metav1.Condition, object client.Object) []metav1.Condition {
	if r.Replica == nil {
		return conditions
	}
	o, accepted := enforced(object), meta.FindStatusCondition(conditions, v1alpha1.ConditionAccepted)
	o.Holds = o.Kind == kindApp && accepted != nil && accepted.Status == metav1.ConditionTrue
	verdict := r.Replica.Enforcement.Judge(r.Term.Number(), o)
	switch {
	case accepted != nil && accepted.Status != metav1.ConditionTrue:
		return append(conditions, convert.NotProgrammed(*accepted))
	case verdict.State == replicas.Reached:
		return append(conditions, convert.Programmed(object.GetGeneration()))
	case verdict.Unread != "":
		return append(conditions, convert.LeaderBehind(verdict.Unread, object.GetGeneration()))
	case verdict.State == replicas.Behind:
		return append(conditions,
			convert.ReplicasBehind(verdict.Late, verdict.Replicas, verdict.First, object.GetGeneration()))
	}
	if before := meta.FindStatusCondition(conditionsOf(object), v1alpha1.ConditionProgrammed); before != nil {
		return append(conditions, *before)
	}
	return conditions
}

// awaitsReplicas reports whether nothing but the generation is new in the status of a shard of a long list, and it is
// not known yet whether every replica enforces that one. Once it is, or a replica is late, the status is written with
// it: an edit of such a list would otherwise write a shard, and send it to every replica, three times.
func (r *StatusReconciler) awaitsReplicas(object client.Object, before []metav1.Condition) bool {
	list, ok := object.(*v1alpha1.AccountList)
	if !ok || r.Replica == nil || list.Labels[v1alpha1.LabelManagedList] == "" {
		return false
	}
	after := list.Status.Conditions
	programmed := meta.FindStatusCondition(after, v1alpha1.ConditionProgrammed)
	if programmed == nil || programmed.ObservedGeneration == list.Generation {
		return false
	}
	return slices.EqualFunc(before, after, func(a, b metav1.Condition) bool {
		a.ObservedGeneration = b.ObservedGeneration
		return equality.Semantic.DeepEqual(a, b)
	})
}

// cannotRead reports whether the leader has not been able to read objects like this one for a while.
func (r *StatusReconciler) cannotRead(object client.Object) bool {
	if r.Replica == nil {
		return false
	}
	o := enforced(object)
	return r.Replica.Enforcement.Lapsed(o.Kind, o.Namespace)
}

func enforced(object client.Object) replicas.Object {
	o := replicas.Object{
		Namespace: object.GetNamespace(), Name: object.GetName(), UID: object.GetUID(),
		Generation: object.GetGeneration(), Version: object.GetResourceVersion(),
	}
	switch object := object.(type) {
	case *v1alpha1.IMApp:
		o.Kind, o.RefersTo = kindApp, kindSecret
	case *v1alpha1.AccountList:
		o.Kind = kindList
		hash := fnv.New64a()
		_, _ = hash.Write([]byte(labels.FormatLabels(object.Labels))) // never fails
		o.Labels = hash.Sum64()
	case *v1alpha1.GroupPolicy:
		o.Kind = kindPolicy
		if convert.HasReferences(object) {
			o.RefersTo = kindList
		}
	}
	return o
}
