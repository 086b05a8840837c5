package prunerun

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

const (
	// MaxEventNote is how long the note of an event may be: the API server takes 1,024 bytes.
	MaxEventNote = 1000
	// MaxMessage is how long the message of a condition may be: the schema takes 32,768 characters.
	MaxMessage = 4_000
)

// conditionOrder makes the condition that says most the last one: the Result column shows it.
var conditionOrder = []string{
	v1alpha1.ConditionPlanned, v1alpha1.ConditionComplete, v1alpha1.ConditionFailed, v1alpha1.ConditionUndone,
}

// SetCondition puts a condition about the present generation of run into its status.
func SetCondition(
	run *v1alpha1.PruneRun, now time.Time, conditionType string, status metav1.ConditionStatus, reason, message string,
) {
	apimeta.SetStatusCondition(&run.Status.Conditions, metav1.Condition{
		Type: conditionType, Status: status, Reason: reason, Message: Clip(message, MaxMessage),
		ObservedGeneration: run.Generation, LastTransitionTime: metav1.NewTime(now),
	})
}

// Refresh makes what follows from the rest of the run agree with it. It sorts the conditions and makes all of them
// observe the present generation: an approval or an undo request bumps the generation without invalidating earlier
// conditions, and kubectl wait ignores a condition that lags behind it. It says whether a person is waited for.
func Refresh(run *v1alpha1.PruneRun) {
	run.Status.AwaitsApproval = WaitsForPerson(run)
	slices.SortStableFunc(run.Status.Conditions, func(a, b metav1.Condition) int {
		return slices.Index(conditionOrder, a.Type) - slices.Index(conditionOrder, b.Type)
	})
	for i := range run.Status.Conditions {
		run.Status.Conditions[i].ObservedGeneration = run.Generation
	}
}

// Lags reports whether a condition is about an earlier generation, or awaitsApproval about an earlier record, as a
// version that does not know that field leaves it behind.
func Lags(run *v1alpha1.PruneRun) bool {
	return run.Status.AwaitsApproval != WaitsForPerson(run) || slices.ContainsFunc(
		run.Status.Conditions,
		func(c metav1.Condition) bool { return c.ObservedGeneration != run.Generation },
	)
}

// SameRecord reports whether two versions of a run differ in nothing that the record of the run consists of: identity,
// spec, deletion and status, less notices and conditions of foreign types. Labels, annotations, notices and foreign
// conditions are other writers' business.
func SameRecord(a, b *v1alpha1.PruneRun) bool {
	return a.UID == b.UID && a.Generation == b.Generation && a.DeletionTimestamp.Equal(b.DeletionTimestamp) &&
		equality.Semantic.DeepEqual(ownStatus(a), ownStatus(b))
}

func ownStatus(run *v1alpha1.PruneRun) v1alpha1.PruneRunStatus {
	status := run.Status
	status.Notices = nil
	status.Conditions = slices.DeleteFunc(slices.Clone(status.Conditions), func(c metav1.Condition) bool {
		return !slices.Contains(conditionOrder, c.Type)
	})
	return status
}
