package page

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// asTable asks for the columns of a list instead of its objects: the plans of a thousand runs take 100 MB.
const asTable = "application/json;as=Table;v=v1;g=meta.k8s.io"

// entry is a run as a list shows it.
type entry struct {
	Namespace, Name, App, Group            string
	Purpose, Policy, Mode, Result, Breaker string
	ToGo, Members, Removed, Restored       int
	Created, PlannedAt, VoidAt             time.Time // the latter two are zero without a plan
	Undone, BeingDeleted                   bool      // Undone: an undo has begun
}

// Path is that of the page of the run.
func (e *entry) Path() string { return runPath(e.Namespace, e.Name) }

// GroupPath is that of the page of its group.
func (e *entry) GroupPath() string { return groupPath(e.Namespace, e.App, e.Group) }

func runPath(namespace, name string) string {
	return "/runs/" + url.PathEscape(namespace) + "/" + url.PathEscape(name)
}

// groupPath is that of the page of a group. What an app has named is in the query, never in the path.
func groupPath(namespace, app, group string) string {
	return "/group?" + url.Values{"app": {namespace + "/" + app}, "group": {group}}.Encode()
}

// historyPath is that of the list of the runs of a group.
func historyPath(namespace, app, group string) string {
	return "/runs?" + url.Values{"app": {namespace + "/" + app}, "group": {group}}.Encode()
}

// HistoryPath is that of the list of the runs of its group.
func (e *entry) HistoryPath() string { return historyPath(e.Namespace, e.App, e.Group) }

// entries is a page of a list of runs, in the order of their names.
type entries struct {
	list []*entry
	// next continues the list; empty at its end.
	next string
}

// table is what the page reads of a metav1.Table of runs.
type table struct {
	metav1.ListMeta `json:"metadata"`

	Columns []struct {
		Name string `json:"name"`
	} `json:"columnDefinitions"`
	Rows []struct {
		Cells  []any `json:"cells"`
		Object struct {
			Metadata struct {
				Namespace         string       `json:"namespace"`
				Name              string       `json:"name"`
				CreationTimestamp metav1.Time  `json:"creationTimestamp"`
				DeletionTimestamp *metav1.Time `json:"deletionTimestamp"`
			} `json:"metadata"`
		} `json:"object"`
	} `json:"rows"`
}

// listRuns reads a page of the runs in a namespace, or in all if it is empty, that selector selects.
func (v *visit) listRuns(
	ctx context.Context, namespace string, selector fields.Selector, limit int, after string,
) (*entries, error) {
	return v.listTable(ctx, namespace, "Metadata", selector, limit, after)
}

// listColumns is listRuns for lists of many runs of one namespace, without what the columns do not have: when runs were
// created, and which are being deleted. Their managedFields take ten times as much as the columns.
func (v *visit) listColumns(
	ctx context.Context, namespace string, selector fields.Selector, limit int,
) (*entries, error) {
	return v.listTable(ctx, namespace, "None", selector, limit, "")
}

func (v *visit) listTable(
	ctx context.Context, namespace, include string, selector fields.Selector, limit int, after string,
) (*entries, error) {
	request := v.Tables.Get().NamespaceIfScoped(namespace, namespace != "").Resource("pruneruns").
		SetHeader("Accept", asTable).Param("includeObject", include).Param("limit", strconv.Itoa(limit))
	if !selector.Empty() {
		request.Param("fieldSelector", selector.String())
	}
	if after != "" {
		request.Param("continue", after)
	}
	answer := request.Do(ctx)
	if err := answer.Error(); err != nil { // that of Raw does not say what the API server said
		return nil, fmt.Errorf("list the runs: %w", err)
	}
	data, err := answer.Raw()
	if err != nil {
		return nil, fmt.Errorf("list the runs: %w", err)
	}
	var t table
	if err := json.Unmarshal(data, &t); err != nil {
		return nil, fmt.Errorf("read the list of runs: %w", err)
	}
	return t.entries(namespace, v.now), nil
}

// entries reads the rows. namespace is that of the list, empty if its runs are of several.
func (t *table) entries(namespace string, now time.Time) *entries {
	place := map[string]int{}
	for i, column := range t.Columns {
		place[column.Name] = i
	}
	read := &entries{list: make([]*entry, len(t.Rows)), next: t.Continue}
	for i := range t.Rows {
		row := &t.Rows[i]
		cell := func(column string) any {
			if at, ok := place[column]; ok && at < len(row.Cells) {
				return row.Cells[at]
			}
			return nil
		}
		text := func(column string) string { s, _ := cell(column).(string); return s }
		number := func(column string) int { n, _ := cell(column).(float64); return int(n) }
		moment := func(column string) time.Time {
			at, _ := time.Parse(time.RFC3339, text(column)) // empty without a plan
			return at
		}
		meta := &row.Object.Metadata
		e := &entry{
			Namespace: cmp.Or(meta.Namespace, namespace), Name: cmp.Or(meta.Name, text("Name")),
			App: text("App"), Group: text("Group"),
			Purpose: text("Purpose"), Policy: text("Policy"), Mode: text("Mode"), Result: text("Result"),
			Breaker: text("Breaker"), ToGo: number("Planned"), Members: number("Members"),
			Removed: number("Removed"), Restored: number("Restored"), Undone: cell("Restored") != nil,
			Created: meta.CreationTimestamp.Time, PlannedAt: moment("Planned At"),
			BeingDeleted: meta.DeletionTimestamp != nil,
		}
		if !e.PlannedAt.IsZero() {
			run := &v1alpha1.PruneRun{}
			run.CreationTimestamp = metav1.NewTime(e.PlannedAt) // or earlier
			if !e.Created.IsZero() {
				run.CreationTimestamp = meta.CreationTimestamp
			}
			run.Status.Plan = &v1alpha1.PrunePlan{
				CreatedAt: metav1.NewTime(e.PlannedAt), NotBefore: metav1.NewTime(moment("Not Before")),
			}
			e.VoidAt = prunerun.PlanEnd(run, now)
		}
		read.list[i] = e
	}
	return read
}
