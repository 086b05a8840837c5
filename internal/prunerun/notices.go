package prunerun

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// NoticeTo is what became of the notice to a receiver; empty if none was begun.
func NoticeTo(run *v1alpha1.PruneRun, to v1alpha1.NoticeReceiver) v1alpha1.NoticeResult {
	for i := range run.Status.Notices {
		if run.Status.Notices[i].To == to {
			return run.Status.Notices[i].Result
		}
	}
	return ""
}

// SetNotice puts what became of the notice to a receiver into the status of run.
func SetNotice(
	run *v1alpha1.PruneRun, to v1alpha1.NoticeReceiver, result v1alpha1.NoticeResult, message string, now time.Time,
) {
	notice := v1alpha1.PruneNotice{
		To: to, Result: result, At: metav1.NewTime(now), Message: Clip(message, maxNoticeMessage),
	}
	for i := range run.Status.Notices {
		if run.Status.Notices[i].To == to {
			run.Status.Notices[i] = notice
			return
		}
	}
	run.Status.Notices = append(run.Status.Notices, notice)
}

const maxNoticeMessage = 512

// PlanSize is how many members the plan removes.
func PlanSize(run *v1alpha1.PruneRun) int {
	switch plan := run.Status.Plan; {
	case plan == nil:
		return 0
	case plan.Size != nil:
		return int(*plan.Size)
	default: // the record of an older version
		return len(plan.Removals)
	}
}

// PageURL is the URL of the run on the page, empty if page is.
func PageURL(page string, run *v1alpha1.PruneRun) string {
	if page == "" {
		return ""
	}
	return page + "/runs/" + run.Namespace + "/" + run.Name
}
