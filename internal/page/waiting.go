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

// waiting is the page of the plans that wait for a person, the next to be void first.
func (s *server) waiting(v *visit) (*view, error) {
	read, err := v.listRuns(v.request.Context(), s.Namespace, manifests.Waiting, maxWaiting, "")
	if apierrors.IsBadRequest(err) {
		return nil, &Refusal{
			Status: http.StatusBadGateway,
			Text:   "This cluster cannot say which plans wait.",
			Advice: "Its CustomResourceDefinition of PruneRun is older than this page: apply the one of this version.",
		}
	}
	if err != nil {
		return nil, err
	}
	data := &waitingView{From: 1, More: read.next != ""}
	plans := slices.DeleteFunc(read.list, func(e *entry) bool {
		void := v.now.After(e.VoidAt)
		if void && !e.BeingDeleted {
			data.Void++
		}
		return void || e.BeingDeleted
	})
	slices.SortFunc(plans, func(a, b *entry) int {
		return cmp.Or(a.VoidAt.Compare(b.VoidAt), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	data.All = len(plans)
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
