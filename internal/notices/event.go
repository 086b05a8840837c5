package notices

import (
	"encoding/json"
	"time"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// eventType is the type of the CloudEvent. A change of its data that is not an addition makes another one.
const eventType = "io.groupgate.plan.awaiting-approval.v1"

// Event is a CloudEvent (version 1.0, structured mode).
type Event struct {
	SpecVersion string `json:"specversion"`
	// ID is the UID of the run: the same event has the same id however often it is sent.
	ID     string `json:"id"`
	Source string `json:"source"`
	Type   string `json:"type"`
	// Subject is the run, as NAMESPACE/NAME.
	Subject         string `json:"subject"`
	Time            string `json:"time"`
	DataContentType string `json:"datacontenttype"`
	Data            Plan   `json:"data"`
}

// Plan is the data of an Event. It holds no account.
type Plan struct {
	Namespace string `json:"namespace"`
	Run       string `json:"run"`
	App       string `json:"app"`
	Group     string `json:"group"`
	Policy    string `json:"policy,omitempty"`
	// Purpose is FreeSeats or Evict.
	Purpose v1alpha1.PrunePurpose `json:"purpose"`
	// Members and MaxMembers are those of the group when the plan was made.
	Members    int32 `json:"members"`
	MaxMembers int32 `json:"maxMembers,omitempty"`
	// ToGo is how many members the plan would remove, of Candidates that it might.
	ToGo       int `json:"toGo"`
	Candidates int `json:"candidates"`
	// Breaker says why the plan is no routine, empty if it is one.
	Breaker string `json:"breaker,omitempty"`
	// NotBefore is when the first member may be removed, zero if at once.
	NotBefore time.Time `json:"notBefore,omitzero"`
	// VoidAt is when the plan can no longer be approved.
	VoidAt time.Time `json:"voidAt"`
	// URL is that of the run's page, empty if none is known.
	URL string `json:"url,omitempty"`
}

// NewEvent returns the event about a run whose plan awaits approval. page is the URL of the page, or empty.
func NewEvent(run *v1alpha1.PruneRun, page string, now time.Time) Event {
	plan := planOf(run, page, now)
	return Event{
		SpecVersion: "1.0",
		ID:          string(run.UID),
		Source:      "/apis/" + v1alpha1.GroupVersion.String() + "/namespaces/" + run.Namespace + "/imapps/" + plan.App,
		Type:        eventType,
		Subject:     run.Namespace + "/" + run.Name,
		Time:        run.Status.Plan.CreatedAt.UTC().Format(time.RFC3339),

		DataContentType: "application/json",
		Data:            plan,
	}
}

func planOf(run *v1alpha1.PruneRun, page string, now time.Time) Plan {
	status := &run.Status
	plan := Plan{
		Namespace: run.Namespace, Run: run.Name, App: run.Spec.AppRef.Name, Group: run.Spec.GroupID,
		Purpose: prunerun.PurposeOf(run), ToGo: prunerun.PlanSize(run), Candidates: int(status.Plan.Candidates),
		Breaker: status.Plan.Breaker, NotBefore: status.Plan.NotBefore.UTC(),
		VoidAt: prunerun.PlanEnd(run, now).UTC().Truncate(time.Second), URL: prunerun.PageURL(page, run),
	}
	if status.Policy != nil {
		plan.Policy = status.Policy.Name
	}
	if status.Group != nil {
		plan.Members, plan.MaxMembers = status.Group.Members, status.Group.MaxMembers
	}
	return plan
}

func (e *Event) json() ([]byte, error) { return json.Marshal(e) }
