package page

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/validation"
)

// runsView is what the page Runs shows.
type runsView struct {
	Runs       []*entry
	App, Group string
	// Next is the path of the next page; empty on the last.
	Next string
	// Continued says that this is not the first page, and Changed that runs were written since the first was read.
	Continued, Changed bool
}

// Filtered reports whether the list leaves out runs of other groups or apps.
func (r *runsView) Filtered() bool { return r.App != "" || r.Group != "" }

// FirstPath is that of the first page.
func (r *runsView) FirstPath() string { return r.path("") }

func (r *runsView) path(after string) string {
	query := url.Values{}
	for name, value := range map[string]string{"app": r.App, "group": r.Group, "continue": after} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if len(query) == 0 {
		return "/runs"
	}
	return "/runs?" + query.Encode()
}

// runs is the page of all runs. It is in the order of their names, which keeps those of a group together.
func (s *server) runs(v *visit) (*view, error) {
	query := v.request.URL.Query()
	data := &runsView{App: query.Get("app"), Group: query.Get("group"), Continued: query.Get("continue") != ""}
	namespace, app := s.Namespace, data.App
	if before, after, found := strings.Cut(data.App, "/"); found {
		app = after
		switch {
		case namespace != "" && namespace != before:
			return nil, s.elsewhere()
		case len(validation.IsDNS1123Label(before)) > 0:
			return nil, noSuchApp()
		}
		namespace = before
	}
	selected := selectRuns(app, data.Group)
	read, err := v.listRuns(v.request.Context(), namespace, selected, perPage, query.Get("continue"))
	if apierrors.IsResourceExpired(err) { // the page was open for longer than the API server remembers
		data.Changed = true
		after := continued(err)
		data.Continued = after != ""
		read, err = v.listRuns(v.request.Context(), namespace, selected, perPage, after)
	}
	switch {
	case apierrors.IsBadRequest(err):
		return nil, &Refusal{
			Status: http.StatusBadRequest, Text: "This address is none of a page of the list.",
			Advice: "Begin with one of the links above.",
		}
	case err != nil:
		return nil, err
	}
	data.Runs = read.list
	if read.next != "" {
		data.Next = data.path(read.next)
	}
	return &view{template: "runs.html", title: "Runs", data: data}, nil
}

// selectRuns selects the runs of an app and a group, or of all where one is empty. The API server compares every run
// with the first term: few are of the group.
func selectRuns(app, group string) fields.Selector {
	var terms []fields.Selector
	if group != "" {
		terms = append(terms, fields.OneTermEqualSelector("spec.groupID", group))
	}
	if app != "" {
		terms = append(terms, fields.OneTermEqualSelector("spec.appRef.name", app))
	}
	return fields.AndSelectors(terms...)
}

// continued is the token by which a list goes on whose own token has expired, as the API server says with the error;
// empty if it has to begin again.
func continued(err error) string {
	if status, ok := errors.AsType[*apierrors.StatusError](err); ok {
		return status.ErrStatus.Continue
	}
	return ""
}
