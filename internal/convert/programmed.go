package convert

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// Programmed is the condition of an object that every replica enforces. It counts no replicas: a rollout would rewrite
// every object.
func Programmed(generation int64) metav1.Condition {
	condition := yes(v1alpha1.ConditionProgrammed, v1alpha1.ReasonProgrammed, "Every replica enforces this generation.")
	condition.ObservedGeneration = generation
	return condition
}

// ReplicasBehind is Programmed of an object that late of all replicas do not enforce; first says which, and since when.
func ReplicasBehind(late, all int, first string, generation int64) metav1.Condition {
	verb, others := "does", ""
	if late > 1 {
		verb, others = "do", fmt.Sprintf(", and %d more", late-1)
	}
	condition := no(v1alpha1.ConditionProgrammed, v1alpha1.ReasonReplicasBehind, fmt.Sprintf(
		"%d of %d replicas %s not enforce this generation: %s%s. It may still be answering callbacks: restart it, or "+
			"delete its Pod.", late, all, verb, first, others))
	condition.ObservedGeneration = generation
	return condition
}

// LeaderBehind is Programmed of an object about which the leader does not know; unread is what it cannot read, and
// since when.
func LeaderBehind(unread string, generation int64) metav1.Condition {
	condition := no(v1alpha1.ConditionProgrammed, v1alpha1.ReasonReplicasBehind, fmt.Sprintf(
		"The leader has not been able to read %s, so that there may be a newer version, or a replica, that it does "+
			"not know. Check its roles; groupgate_watch_failing_seconds tells which of its watches fail.", unread))
	condition.ObservedGeneration = generation
	return condition
}

// NotProgrammed is Programmed of an object that is not accepted.
func NotProgrammed(accepted metav1.Condition) metav1.Condition {
	condition := no(v1alpha1.ConditionProgrammed, accepted.Reason, accepted.Message)
	condition.ObservedGeneration = accepted.ObservedGeneration
	return condition
}
