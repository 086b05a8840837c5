package overview

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/refusals"
	"github.com/groupgate/groupgate/internal/refusals/replicaclient"
)

// State is that of a gate. Greater is worse.
type State int

// The states.
const (
	// Closed means that joins are decided by the policies as they are written.
	Closed State = iota
	// Doubtful means that joins are decided, but not wholly as it seems: a policy, a replica or a leak needs attention.
	Doubtful
	// Unknown means that something is not known that would be needed to say more.
	Unknown
	// Open means that accounts join without having been judged by a policy.
	Open
)

var stateNames = [...]string{"Closed", "Doubtful", "Unknown", "Open"}

func (s State) String() string { return stateNames[s] }

// MarshalText implements encoding.TextMarshaler.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is something that a person should know about a gate.
type Finding struct {
	// State is what the gate is at best, because of this.
	State State
	// Object is the "namespace/name" of a GroupPolicy or the name of a replica; empty for the app as a whole.
	Object string
	// Text is a sentence in English, a format of fmt with Args.
	Text string
	Args []any
	// Recorded is the message of a condition, or of a problem with a replica, as it stands there.
	Recorded string
}

// String is the finding in English.
func (f Finding) String() string {
	text := fmt.Sprintf(f.Text, f.Args...)
	if f.Object != "" {
		text = f.Object + ": " + text
	}
	if f.Recorded != "" {
		text += " " + f.Recorded
	}
	return text
}

// MarshalJSON implements json.Marshaler.
func (f Finding) MarshalJSON() ([]byte, error) { return marshalFinding(&f) }

// App is the gate of one IMApp.
type App struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	State     State  `json:"state"`
	// Findings are the worst first.
	Findings []Finding `json:"findings,omitempty"`
	// Replicas is how many answered.
	Replicas int `json:"replicas"`
	// Enforcing is how many policies of the app have a join section in mode Enforce that allows or denies accounts.
	Enforcing int `json:"enforcing"`
	// Joins is nil where no replica answered.
	Joins *Joins `json:"joins,omitempty"`
}

// Joins are the accounts that were decided at all replicas that answered.
type Joins struct {
	// Since is from when on all of them count; before it, some is missing.
	Since time.Time `json:"since"`
	// Now is the time of the answer.
	Now time.Time `json:"now"`
	// Intervals are without a gap, oldest first, those before Since included.
	Intervals []refusals.Interval `json:"intervals"`
	Admitted  uint64              `json:"admitted"`
	Refused   uint64              `json:"refused"`
	Leaked    uint64              `json:"leaked"`
}

// Overview is about all apps that were asked for.
type Overview struct {
	Apps []App `json:"apps"`
	// Waiting is how many plans wait for approval; nil where that is not known, and then WaitingProblem says why.
	Waiting        *int   `json:"waiting"`
	WaitingProblem string `json:"waitingProblem,omitempty"`
}

// Input is what an Overview is made of.
type Input struct {
	Apps     []v1alpha1.IMApp
	Policies []v1alpha1.GroupPolicy
	// PoliciesProblem says why the policies are not known; empty if they are.
	PoliciesProblem string
	// Activity has the answer for each app. One that is missing is not known.
	Activity map[types.NamespacedName]replicaclient.Answer[refusals.Activity]
	// Waiting is as in Overview.
	Waiting        *int
	WaitingProblem string
}

// Keys are the keys of apps in Input.Activity.
func Keys(apps []v1alpha1.IMApp) []types.NamespacedName {
	keys := make([]types.NamespacedName, len(apps))
	for i := range apps {
		keys[i] = types.NamespacedName{Namespace: apps[i].Namespace, Name: apps[i].Name}
	}
	return keys
}

// New computes an Overview. The apps are in the order of the input.
func New(in *Input) *Overview {
	o := &Overview{Apps: []App{}, Waiting: in.Waiting, WaitingProblem: in.WaitingProblem}
	for i := range in.Apps {
		o.Apps = append(o.Apps, judge(in, &in.Apps[i]))
	}
	return o
}

// Worst is the worst state of all gates; Unknown without an app.
func (o *Overview) Worst() State {
	if len(o.Apps) == 0 {
		return Unknown
	}
	return slices.MaxFunc(o.Apps, func(a, b App) int { return int(a.State - b.State) }).State
}
