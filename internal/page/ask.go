package page

import (
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/internal/explain"
	"github.com/groupgate/groupgate/internal/manifests"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/terminal"
)

// triggers are how an account may join, and groupTypes what a group may be; the first is what is asked without one.
var (
	triggers   = []policy.Trigger{policy.TriggerApply, policy.TriggerInvite, policy.TriggerRESTAPI}
	groupTypes = []policy.GroupType{
		policy.TypeUnknown, policy.TypeWork, policy.TypePublic, policy.TypeMeeting, policy.TypeAVChatRoom,
		policy.TypeCommunity,
	}
)

// asked is the page Ask.
type asked struct {
	choice
	Group, Account string
	// Trigger and Type are as in a query: Type is empty where it is not known.
	Trigger, Type string
	Triggers      []string
	Types         []string
	// Missing is the field that a question lacks; empty for a question, and before there is one.
	Missing string
	// Answer is nil without a question.
	Answer *explained
}

// question answers whether an account may join a group, and why.
func (s *server) question(v *visit) (*view, error) {
	choice, err := v.choose()
	if err != nil {
		return nil, err
	}
	a := &asked{
		choice: choice, Group: v.query("group"), Account: v.query("account"),
		Trigger: v.query("trigger"), Type: v.query("type"),
	}
	q := explain.Question{App: a.App, Group: a.Group, Account: a.Account, At: v.now}
	for _, t := range triggers {
		a.Triggers = append(a.Triggers, t.String())
	}
	for _, t := range groupTypes[1:] {
		a.Types = append(a.Types, t.String())
	}
	if a.Trigger == "" {
		a.Trigger = a.Triggers[0]
	}
	trigger, kind := slices.Index(a.Triggers, a.Trigger), slices.Index(a.Types, a.Type)
	if a.Type == "" || a.Type == policy.TypeUnknown.String() {
		a.Type = ""
	} else if kind < 0 {
		trigger = -1
	}
	if trigger < 0 {
		return nil, &Refusal{
			Status: http.StatusBadRequest, Text: "There is no such way to join, or no such type of a group.",
			Advice: "Choose them from the form of the page Ask.",
		}
	}
	q.Trigger, q.Type = triggers[trigger], groupTypes[kind+1]
	shown := &view{template: "ask.html", title: "Ask", data: a}
	switch {
	case a.App == "" && a.Group == "" && a.Account == "":
	case a.App == "":
		a.Missing = "app"
	case a.Group == "" && a.Account == "":
	case a.Group == "":
		a.Missing = "group"
	case a.Account == "":
		a.Missing = "account"
	default:
		a.Answer, err = v.explain(q, a.choice)
	}
	if a.Missing != "" {
		shown.status = http.StatusUnprocessableEntity
	}
	return shown, err
}

// TriggerText says how an account would join.
func (v *visit) TriggerText(trigger string) string {
	return v.T(map[string]string{
		policy.TriggerApply.String():   say("it asks to join"),
		policy.TriggerInvite.String():  say("a member invites it"),
		policy.TriggerRESTAPI.String(): say("the app adds it, by the REST API"),
	}[trigger])
}

// explained is what package explain says about a join.
type explained struct {
	*explain.Join
	Read  objects
	visit *visit
}

// objects are those that an answer is made of.
type objects struct{ *manifests.Objects }

// Counts are how many objects were read.
func (o objects) Counts() (c struct{ Policies, Lists, Runs int }) {
	c.Policies, c.Lists, c.Runs = len(o.Policies), len(o.Lists), len(o.Runs)
	return c
}

// Accounts is how many accounts the lists have.
func (o objects) Accounts() int {
	n := 0
	for i := range o.Lists {
		n += len(o.Lists[i].Spec.Accounts)
	}
	return n
}

// read reads what decides about a group of an app, as the viewer.
func (v *visit) read(c choice, group string) (objects, error) {
	read, err := manifests.List(v.request.Context(), v.Client, c.Name().Namespace,
		client.MatchingFields{"spec.groupID": group})
	return objects{read}, err
}

func (v *visit) explain(q explain.Question, c choice) (*explained, error) {
	read, err := v.read(c, q.Group)
	if err != nil {
		return nil, err
	}
	join, err := explain.AskJoin(read.Objects, q)
	if err != nil {
		return nil, noAnswer()
	}
	return &explained{Join: join, Read: read, visit: v}, nil
}

// noAnswer is for an app that is not there, or not accepted.
func noAnswer() error {
	return &Refusal{
		Status: http.StatusNotFound, Text: "This app decides about no join: it does not exist, or is not accepted.",
		Advice: "The condition Accepted of its IMApp says why.",
	}
}

// Admitted reports whether the account may join.
func (a *explained) Admitted() bool { return a.Verdict == "Admitted" }

// AuditDiffers reports whether the policies in mode Audit would decide otherwise.
func (a *explained) AuditDiffers() bool { return a.Audit != a.Verdict }

// Sentence says whether the account may join.
func (a *explained) Sentence() template.HTML {
	v := a.visit
	if a.Admitted() {
		return v.HTML("%s may join %s.", v.Account(a.Account), v.Account(a.Group))
	}
	return v.HTML("%s may not join %s.", v.Account(a.Account), v.Account(a.Group))
}

// Client says what the client of a rejected account sees.
func (a *explained) Client() string { return a.visit.ClientSees(a.Code, a.Message) }

// ClientSees says what the client of a refused account sees.
func (v *visit) ClientSees(code int32, message string) string {
	switch {
	case code == policy.RefuseCode:
		return v.T("The client sees code 10016, without a message.")
	case message == "":
		return v.T("The client sees code %s, without a message.", strconv.Itoa(int(code)))
	}
	return v.T("The client sees code %s and the message “%s”.", strconv.Itoa(int(code)), terminal.Visible(message))
}

// CodeAndMessage is what the client of a refused account sees, for a table.
func (v *visit) CodeAndMessage(code int32, message string) string {
	if code == policy.RefuseCode {
		return "10016"
	}
	if message == "" {
		return strconv.Itoa(int(code))
	}
	return v.T("%s “%s”", strconv.Itoa(int(code)), terminal.Visible(message))
}

// invalidPolicy is what explain says about a policy that is not valid.
var invalidPolicy = say("the policy is not valid, so that it allows no account")

// Decision says what decided.
func (a *explained) Decision() template.HTML {
	v := a.visit
	switch a.Reason {
	case policy.ReasonPruned.String():
		return v.HTML("Run %s removed the account, and refuses it until %s.", v.RunLink(a.Name().Namespace, a.Run),
			v.Time(a.Until))
	case policy.ReasonRestored.String():
		return v.HTML("The undo of run %s adds the account back.", v.RunLink(a.Name().Namespace, a.Run))
	case policy.ReasonDenied.String():
		return v.HTML("Policy %s denies the account.", a.Policy)
	case policy.ReasonAllowed.String():
		return v.HTML("Policy %s allows the account.", a.Policy)
	case policy.ReasonNotListed.String():
		for _, o := range a.Policies {
			if o.Policy == a.Policy && slices.Contains(o.Because, invalidPolicy) {
				return v.HTML("Policy %s is not valid, so that it allows no account, and no other policy allows "+
					"this one.", a.Policy)
			}
		}
		return v.HTML("Policy %s admits only accounts that are allowed, and no policy allows this one.", a.Policy)
	case policy.ReasonNotGated.String():
		return v.HTML("Policies speak about this join, and none of them admits only certain accounts.")
	}
	if a.Admitted() {
		return v.HTML("No policy speaks about this join, and the app then admits the account " +
			"(unmatchedGroups is Allow).")
	}
	return v.HTML("No policy speaks about this join, and the app then rejects the account " +
		"(unmatchedGroups is Reject).")
}

// Name is that of the app.
func (a *explained) Name() (name struct{ Namespace, Name string }) {
	name.Namespace, name.Name, _ = strings.Cut(a.App, "/")
	return name
}

// RunLink is a link to a run. Names of runs and namespaces have no character that would have to be escaped.
func (v *visit) RunLink(namespace, name string) template.HTML {
	path := template.HTMLEscapeString("/runs/" + namespace + "/" + name)
	return template.HTML(`<a href="` + path + `">` + template.HTMLEscapeString(name) + `</a>`) //nolint:gosec // escaped
}

// IfMembers say what would become of the account as a member, once for the types of groups that agree.
func (a *explained) IfMembers() []string {
	var said []string
	types := map[string][]string{}
	for i := range a.IfMember {
		m := &a.IfMember[i]
		what := a.ifMember(m)
		if types[what] == nil {
			said = append(said, what)
		}
		types[what] = append(types[what], m.GroupType)
	}
	for i, what := range said {
		said[i] = a.visit.T("As a member of a group of type %s: %s", strings.Join(types[what], ", "), what)
	}
	return said
}

func (a *explained) ifMember(m *explain.Membership) string {
	v := a.visit
	mode := v.Mode(m.Mode) // a Preview removes nobody
	switch {
	case m.Waits != "":
		return v.T("the rule of policy %s (%s) removes no member now: %s", m.Policy, mode, v.Said(m.Waits))
	case m.Evicted && m.List != "":
		return v.T("it would be removed by the rule of policy %s (%s), since policy %s denies it by list %s.",
			m.Policy, mode, m.By, m.List)
	case m.Evicted && m.Reason == policy.ReasonDenied.String():
		return v.T("it would be removed by the rule of policy %s (%s), since policy %s denies it.",
			m.Policy, mode, m.By)
	case m.Evicted:
		return v.T("it would be removed by the rule of policy %s (%s), since policy %s admits only accounts that are "+
			"allowed.", m.Policy, mode, m.By)
	}
	return v.T("it would stay; the rule of policy %s (%s) does not concern it.", m.Policy, mode)
}

// Says is what an opinion says, in a word or two.
func (a *explained) Says(o explain.Opinion) string {
	text := map[string]string{
		"Deny": say("denies"), "Allow": say("allows"), "NotListed": say("does not allow"),
		"NoGate": say("does not refuse it"), "Nothing": say("does not speak"),
	}[o.Says]
	if !o.Speaks && o.Says != "Nothing" {
		return a.visit.T("would say: %s", a.visit.T(text))
	}
	return a.visit.T(text)
}
