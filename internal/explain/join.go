package explain

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/groupgate/groupgate/internal/manifests"
	"github.com/groupgate/groupgate/internal/policy"
)

// Question asks whether an account may join a group.
type Question struct {
	// App is the name of the IMApp, with or without its namespace; it may be empty if there is but one.
	App            string
	Group, Account string
	Type           policy.GroupType
	Trigger        policy.Trigger
	At             time.Time
}

// Join is the answer to a [Question]. Its JSON is the output of `groupgate explain -o json`.
type Join struct {
	App       string    `json:"app"`
	Group     string    `json:"group"`
	GroupType string    `json:"groupType"`
	Account   string    `json:"account"`
	Trigger   string    `json:"trigger"`
	At        time.Time `json:"at"`
	// Verdict is Admitted or Rejected. Code and Message are those of the answer to the vendor.
	Verdict string `json:"verdict"`
	Code    int32  `json:"code"`
	Message string `json:"message"`
	// Reason and Step say what decided, Policy or Run who did.
	Reason string `json:"reason"`
	Step   int    `json:"step"`
	Policy string `json:"policy,omitempty"`
	Run    string `json:"run,omitempty"`
	// Until is when the refusal by the run ends.
	Until time.Time `json:"until,omitzero"`
	// Audit is the verdict if every section in mode Audit spoke as well.
	Audit string `json:"audit"`
	// NotAsked says why the callback server is not asked at all: the IMApp refuses every callback. Empty if it is.
	NotAsked string `json:"notAsked,omitempty"`
	// IfMember has, for each type that is asked for and in which a rule evicts members, whether the account would stay
	// if it were one.
	IfMember []Membership `json:"ifMember,omitempty"`
	Policies []Opinion    `json:"policies"`
	Hints    []string     `json:"hints,omitempty"`

	invalid bool // the policy that decided
	types   int  // that were asked for
}

// Opinion is what the join section of one policy says.
type Opinion struct {
	// Rank is 1 for the policy that comes first.
	Rank    int    `json:"rank"`
	Policy  string `json:"policy"`
	Matches string `json:"matches"`
	// Says is Deny, Allow, NotListed (it has an allow that does not name the account) or NoGate. It counts only if
	// Speaks.
	Says   string `json:"says"`
	Speaks bool   `json:"speaks"`
	// Because are what names the account, and why the section does not speak.
	Because []string `json:"because"`
}

// What an opinion says.
const (
	saysDeny      = "Deny"
	saysAllow     = "Allow"
	saysNotListed = "NotListed"
	saysNoGate    = "NoGate"
)

// verdictOf is the word of the API for a verdict.
func verdictOf(admit bool) string {
	if admit {
		return "Admitted"
	}
	return "Rejected"
}

// AskJoin answers a question.
func AskJoin(objects *manifests.Objects, q Question) (*Join, error) {
	compiled := objects.Compile()
	j, err := AskJoinOf(objects, compiled, q)
	if err == nil {
		j.Hint(objects, compiled, q)
	}
	return j, err
}

// AskJoinOf is AskJoin for objects that have been compiled, for those who ask more than once. It looks for no hints,
// which takes time with many accounts.
func AskJoinOf(objects *manifests.Objects, compiled *manifests.Compiled, q Question) (*Join, error) {
	app, err := compiled.App(q.App)
	if err != nil {
		return nil, err
	}
	object := app.Object()
	e, ok := compiled.ExplainJoin(object.Namespace, object.Name, policy.JoinQuery{
		Group: q.Group, Type: q.Type, Account: q.Account, Trigger: q.Trigger, Now: q.At,
	})
	if !ok {
		return nil, fmt.Errorf("IMApp %s holds no SDKAppID", object.Key())
	}
	v := e.Verdict
	j := &Join{
		App: object.Key(), Group: q.Group, GroupType: q.Type.String(), Account: q.Account,
		Trigger: q.Trigger.String(), At: q.At.UTC().Truncate(time.Second),
		Verdict: verdictOf(v.Admit), Code: v.Code, Message: v.Message, Reason: v.Reason.String(), Step: v.Step(),
		Audit: verdictOf(v.Admit != v.AuditDiffers), Policies: []Opinion{},
	}
	if v.Policy != nil {
		j.Policy = v.Policy.Name
	}
	if v.Reason == policy.ReasonPruned || v.Reason == policy.ReasonRestored {
		j.Run, j.Until = e.Run, e.Until
	}
	for i := range e.Opinions {
		o := &e.Opinions[i]
		j.Policies = append(j.Policies, opinionOf(i+1, o))
		j.invalid = j.invalid || o.Invalid && o.Policy.Name == j.Policy
	}
	j.NotAsked = notAsked(objects.App(object))
	j.IfMember, j.types = memberships(app, &q), len(typesOf(q.Type))
	return j, nil
}

// Hint looks for the hints of the answer to a question.
func (j *Join) Hint(objects *manifests.Objects, compiled *manifests.Compiled, q Question) {
	if app, err := compiled.App(q.App); err == nil {
		j.Hints = hints(objects, compiled, app, q.Group, q.Account)
	}
}

func opinionOf(rank int, o *policy.Opinion) Opinion {
	told := Opinion{Rank: rank, Policy: o.Policy.Name, Matches: o.Matcher.String(), Speaks: o.Speaks()}
	switch {
	case o.Denies:
		told.Says, told.Because = saysDeny, o.DeniedBy
	case o.Allows:
		told.Says, told.Because = saysAllow, o.AllowedBy
	case o.Invalid:
		told.Says, told.Because = saysNotListed, []string{"the policy is not valid, so that it allows no account"}
	case o.Gated:
		told.Says, told.Because = saysNotListed, []string{"join.allow does not name the account"}
	default:
		told.Says, told.Because = saysNoGate, []string{"it has no join.allow"}
	}
	switch {
	case o.TypeDiffers:
		told.Says, told.Because = saysNothing, []string{"its groupTypes do not contain this type"}
	case o.TriggerDiffers:
		told.Says, told.Because = saysNothing, []string{"its join.triggers do not contain this trigger"}
	case o.Audit:
		told.Because = append([]string{"its mode is Audit"}, told.Because...)
	}
	return told
}

// saysNothing is an opinion that is not asked for.
const saysNothing = "Nothing"

// Sentence says who may join what, and what decided.
func (j *Join) Sentence() string {
	var s strings.Builder
	if j.NotAsked != "" {
		fmt.Fprintf(&s, "Nothing is asked: %s What follows holds once that is mended.\n", j.NotAsked)
	}
	if j.Verdict == verdictOf(true) {
		fmt.Fprintf(&s, "%s may join %s (%s).\n", plain(j.Account), plain(j.Group), j.Trigger)
	} else {
		fmt.Fprintf(&s, "%s may NOT join %s (%s). ", plain(j.Account), plain(j.Group), j.Trigger)
		switch {
		case j.Code == policy.RefuseCode:
			s.WriteString("The client sees code 10016, without a message.\n")
		case j.Message == "":
			fmt.Fprintf(&s, "The client sees code %d, without a message.\n", j.Code)
		default:
			fmt.Fprintf(&s, "The client sees code %d %s.\n", j.Code, strconv.Quote(j.Message))
		}
	}
	fmt.Fprintf(&s, "Decided by step %d: %s.\n", j.Step, j.decision())
	if j.Audit != j.Verdict {
		fmt.Fprintf(&s, "If the policies in mode Audit were enforced, the account would be %s.\n",
			strings.ToLower(j.Audit))
	}
	s.WriteString(membershipSentences(j.IfMember, j.types))
	return s.String()
}

func (j *Join) decision() string {
	switch j.Reason {
	case policy.ReasonPruned.String():
		return fmt.Sprintf("PruneRun %s removed the account and refuses it until %s",
			j.Run, j.Until.Format(time.RFC3339))
	case policy.ReasonDenied.String():
		return "policy " + j.Policy + " denies the account"
	case policy.ReasonRestored.String():
		return "the undo of PruneRun " + j.Run + " adds the account back"
	case policy.ReasonAllowed.String():
		return "policy " + j.Policy + " allows the account"
	case policy.ReasonNotListed.String():
		if j.invalid {
			return "policy " + j.Policy +
				" is not valid, so that it allows no account, and no other policy allows this one"
		}
		return "policy " + j.Policy + " has an allow, and no policy that speaks allows the account"
	case policy.ReasonNotGated.String():
		return "policies speak, and none of them has an allow"
	}
	_, app, _ := strings.Cut(j.App, "/")
	if j.Verdict == verdictOf(true) {
		return "no policy speaks about this join, and unmatchedGroups of IMApp " + app + " is Allow"
	}
	return "no policy speaks about this join, and unmatchedGroups of IMApp " + app + " is Reject"
}

// Table has a row for each policy.
func (j *Join) Table() [][]string {
	if len(j.Policies) == 0 {
		return nil
	}
	rows := [][]string{{"RANK", "POLICY", "MATCHES", "SAYS", "BECAUSE OF"}}
	words := map[string]string{
		saysDeny: "deny", saysAllow: "allow", saysNotListed: "not listed", saysNoGate: "no gate",
		saysNothing: "nothing",
	}
	for _, o := range j.Policies {
		says := words[o.Says]
		if !o.Speaks && o.Says != saysNothing {
			says = "(" + says + ")"
		}
		rows = append(rows, []string{
			strconv.Itoa(o.Rank), o.Policy, o.Matches, says, strings.Join(o.Because, "; "),
		})
	}
	return rows
}

// plain quotes an id that would be misread.
func plain(id string) string {
	quoted := strconv.Quote(id)
	if quoted != `"`+id+`"` || strings.TrimSpace(id) != id || id == "" || strings.ContainsRune(id, ' ') {
		return quoted
	}
	return id
}

// Advice is what else is worth knowing.
func (j *Join) Advice() []string { return j.Hints }
