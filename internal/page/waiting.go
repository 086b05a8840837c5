package page

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/groupgate/groupgate/internal/manifests"
)

const (
	// perPage is how many runs a page of a list has.
	perPage = 50
	// maxWaiting bounds what one request for all plans that wait takes in memory. They are put in order here, which the
	// API server cannot do.
	maxWaiting = 5_000
)

// waitingView is what the page Waiting shows.
type waitingView struct {
	Plans []*entry
	// All is the number of plans that wait, of which Plans are those from number From on. More says that there are some
	// that were not read.
	All, From int
	More      bool
	// Void is the number of plans that are void and that no leader has ended.
	Void           int
	Earlier, Later string
}

// To is the number of the last plan.
func (w *waitingView) To() int { return w.From + len(w.Plans) - 1 }

// waitingPlans reads the plans of a namespace, or of all if it is empty, that wait for a person, the next to be void
// first. Void is the number of those that are void already, and more says that there are some that were not read.
func (v *visit) waitingPlans(namespace string) (plans []*entry, void int, more bool, err error) {
	ctx := v.request.Context()
	var read *entries
	if namespace != "" {
		read, err = v.listColumns(ctx, namespace, manifests.Waiting, maxWaiting)
	} else { // the columns do not have the namespace
		read, err = v.listRuns(ctx, "", manifests.Waiting, maxWaiting, "")
	}
	if apierrors.IsBadRequest(err) {
		return nil, 0, false, &Refusal{
			Status: http.StatusBadGateway,
			Text:   "This cluster cannot say which plans wait.",
			Advice: "Its CustomResourceDefinition of PruneRun is older than this page: apply the one of this version.",
		}
	}
	if err != nil {
		return nil, 0, false, err
	}
	plans = slices.DeleteFunc(read.list, func(e *entry) bool {
		late := v.now.After(e.VoidAt)
		if late && !e.BeingDeleted {
			void++
		}
		return late || e.BeingDeleted
	})
	slices.SortFunc(plans, func(a, b *entry) int {
		return cmp.Or(a.VoidAt.Compare(b.VoidAt), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return plans, void, read.next != "", nil
}

// waiting is the page of the plans that wait for a person, the next to be void first.
func (s *server) waiting(v *visit) (*view, error) {
	plans, void, more, err := v.waitingPlans(s.Namespace)
	if err != nil {
		return nil, err
	}
	data := &waitingView{From: 1, More: more, Void: void, All: len(plans)}
	if from, err := strconv.Atoi(v.request.URL.Query().Get("from")); err == nil {
		data.From = max(1, min(from, (max(data.All, 1)-1)/perPage*perPage+1))
	}
	last := min(data.From-1+perPage, data.All)
	data.Plans = plans[min(data.From-1, data.All):last]
	page := func(from int) string {
		return "/waiting?" + url.Values{"from": {strconv.Itoa(from)}}.Encode()
	}
	if data.From > 1 {
		data.Earlier = page(max(1, data.From-perPage))
	}
	if last < data.All {
		data.Later = page(last + 1)
	}
	return &view{template: "waiting.html", title: "Waiting", data: data}, nil
}
