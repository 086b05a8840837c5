package suite

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/groupgate/groupgate/internal/manifests"
	"github.com/groupgate/groupgate/internal/memberfile"
	"github.com/groupgate/groupgate/internal/policy"
)

// The type of a file of tests.
const (
	Group      = "cli.groupgate.io"
	APIVersion = Group + "/v1alpha1"
	Kind       = "Test"
)

// FileNames are the names by which files of tests are found in a folder.
var FileNames = []string{"groupgate-test.yaml", "groupgate-test.yml"}

// Test is the content of a file of tests.
type Test struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Manifests are files and folders, relative to the file. Default: the folder of the file.
	Manifests []string `json:"manifests,omitempty"`
	Cases     []Case   `json:"cases"`

	path     string
	document manifests.Document
}

// Case asks one question, a join, a prune or an evict, and says what the answer has to be.
type Case struct {
	Name   string       `json:"name"`
	Join   *Join        `json:"join,omitempty"`
	Prune  *Prune       `json:"prune,omitempty"`
	Evict  *Evict       `json:"evict,omitempty"`
	Expect *Expectation `json:"expect"`

	at time.Time
}

// Join asks whether an account may join a group.
type Join struct {
	// App is the IMApp, with or without its namespace; it may be left out if there is but one.
	App     string `json:"app,omitempty"`
	Group   string `json:"group"`
	Account string `json:"account"`
	// Trigger is Apply, Invite or RESTAPI. Default: Apply.
	Trigger string `json:"trigger,omitempty"`
	// GroupType is the type of the group. Default: unknown, for which every policy speaks that might.
	GroupType string `json:"groupType,omitempty"`
	// At is the time of the join, in RFC 3339. Default: now.
	At string `json:"at,omitempty"`

	trigger policy.Trigger
	type_   policy.GroupType
}

// planned is what a prune and an evict have in common: a group for which a run is planned.
type planned struct {
	App       string `json:"app,omitempty"`
	Group     string `json:"group"`
	GroupType string `json:"groupType"`
	// Members are those of the group: the path of a CSV or YAML file, relative to this file, or the members themselves.
	Members memberfile.List `json:"members"`
	// RemovedToday is how many members the policy removed in the last 24 hours for the same purpose, which counts
	// against its maxRemovalsPerDay. Default: 0.
	RemovedToday int `json:"removedToday,omitempty"`
	// At is the time of the run, in RFC 3339. Default: now.
	At string `json:"at,omitempty"`

	type_ policy.GroupType
}

// Prune asks who is removed from a full group.
type Prune struct {
	planned `json:",inline"`
	// MaxMembers is the limit of the group. Default: as many as there are members, so that the group is full.
	MaxMembers int `json:"maxMembers,omitempty"`
}

// Evict asks which members of a group are evicted, since its gate refuses them.
type Evict struct {
	planned `json:",inline"`
	// EvictedThisWeek is how many members of the group were evicted without an approval in the last 7 days, which the
	// breaker adds. Default: 0.
	EvictedThisWeek int `json:"evictedThisWeek,omitempty"`
}

// Expectation is what the answer has to be. What is left out is not compared.
type Expectation struct {
	// Verdict is Admitted or Rejected, Code, Message, Reason and Step are as groupgate explain prints them. Policy is
	// the name of the policy that decides, or has the rule; empty if there is none.
	Verdict string  `json:"verdict,omitempty"`
	Code    *int32  `json:"code,omitempty"`
	Message *string `json:"message,omitempty"`
	Reason  string  `json:"reason,omitempty"`
	Step    *int    `json:"step,omitempty"`
	Policy  *string `json:"policy,omitempty"`
	// Audit is the verdict if every section in mode Audit spoke as well.
	Audit string `json:"audit,omitempty"`

	// Mode is that of the prune rule: Preview, Approve or Enforce.
	Mode string `json:"mode,omitempty"`
	// Removals are all accounts that the plan removes, in any order.
	Removals []Removed `json:"removals,omitzero"`
	// Protected are accounts that the rules protect, Stays are accounts that the plan does not remove; there may be
	// others.
	Protected []string `json:"protected,omitzero"`
	Stays     []Stays  `json:"stays,omitzero"`
	// Breaker is why the plan of an eviction is no routine, or a part of that; empty if it is one.
	Breaker *string `json:"breaker,omitempty"`
}

// Removed is an account that a plan removes. The others are of an evict, and are not compared where they are left out.
type Removed struct {
	Account string `json:"account"`
	// Reason is Denied or NotListed, Policy is the policy that refuses the account, and List the AccountList by which
	// it denies the account; empty if there is none.
	Reason string  `json:"reason,omitempty"`
	Policy *string `json:"policy,omitempty"`
	List   *string `json:"list,omitempty"`
}

// UnmarshalJSON reads an account, or an object.
func (r *Removed) UnmarshalJSON(text []byte) error {
	type object Removed
	return accountOr(text, &r.Account, (*object)(r))
}

// onlyAccount reports whether nothing but the account is compared.
func (r *Removed) onlyAccount() bool { return r.Reason == "" && r.Policy == nil && r.List == nil }

// Stays is an account that stays.
type Stays struct {
	Account string `json:"account"`
	// Because is why it is not evicted: Admitted, Admin (owners, admins and the adminAccount), InGrace or Unknown. It
	// is not compared where it is left out, and not known of a prune.
	Because string `json:"because,omitempty"`
}

// UnmarshalJSON reads an account, or an object.
func (s *Stays) UnmarshalJSON(text []byte) error {
	type object Stays
	return accountOr(text, &s.Account, (*object)(s))
}

func accountOr(text []byte, account *string, object any) error {
	if len(text) > 0 && text[0] == '"' {
		_, err := json.UnmarshalStrict(text, account)
		return err
	}
	problems, err := json.UnmarshalStrict(text, object)
	if err := errors.Join(append(problems, err)...); err != nil {
		return err
	}
	return nil
}

// decode reads a file of tests. Errors name the file and the line.
func decode(d manifests.Document, now time.Time) (*Test, error) {
	bad := func(field, format string, args ...any) error {
		return fmt.Errorf("%s:%d: %s", d.File, d.LineOf(field), fmt.Sprintf(format, args...))
	}
	text, err := yaml.YAMLToJSONStrict(d.Text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.File, err)
	}
	t := &Test{path: d.File, document: d}
	problems, err := json.UnmarshalStrict(text, t)
	if err != nil {
		return nil, bad(fieldOf(err), "%v", err)
	}
	if len(problems) > 0 {
		return nil, bad(fieldOf(problems[0]), "%v", errors.Join(problems...))
	}
	if t.APIVersion != APIVersion || t.Kind != Kind {
		return nil, bad("apiVersion", "apiVersion %q and kind %q are not known: use %s and %s",
			t.APIVersion, t.Kind, APIVersion, Kind)
	}
	if len(t.Manifests) == 0 {
		t.Manifests = []string{"."}
	}
	names := map[string]bool{}
	for i := range t.Cases {
		c := &t.Cases[i]
		field := fmt.Sprintf("cases[%d]", i)
		if err := c.complete(now); err != nil {
			return nil, bad(field+"."+err.field, "case %q: %s", c.Name, err.problem)
		}
		if names[c.Name] {
			return nil, bad(field+".name", "there is another case %q: give each one a name of its own", c.Name)
		}
		names[c.Name] = true
	}
	return t, nil
}

// fieldOf is the path of an unknown field, which the decoder quotes.
func fieldOf(err error) string {
	_, path, _ := strings.Cut(err.Error(), `field "`)
	path, _, _ = strings.Cut(path, `"`)
	return path
}

// badField is a mistake in a field of a case.
type badField struct{ field, problem string }

// complete checks a case and reads what it says in words.
func (c *Case) complete(now time.Time) *badField {
	switch {
	case c.Name == "":
		return &badField{"", "give it a name"}
	case c.questions() != 1:
		return &badField{"", "set exactly one of join, prune and evict"}
	case c.Expect == nil || c.Expect.isEmpty():
		return &badField{"expect", "say in expect what the answer has to be"}
	case c.Join != nil:
		return c.completeJoin(now)
	case c.Evict != nil:
		return c.completeEvict(now)
	}
	return c.completePrune(now)
}

func (c *Case) questions() (n int) {
	for _, asked := range []bool{c.Join != nil, c.Prune != nil, c.Evict != nil} {
		if asked {
			n++
		}
	}
	return n
}

func (c *Case) completeJoin(now time.Time) *badField {
	j, e := c.Join, c.Expect
	if j.Group == "" || j.Account == "" {
		return &badField{"join", "set group and account"}
	}
	if j.Trigger == "" {
		j.Trigger = policy.TriggerApply.String()
	}
	known := false
	for _, t := range []policy.Trigger{policy.TriggerApply, policy.TriggerInvite, policy.TriggerRESTAPI} {
		if j.Trigger == t.String() {
			j.trigger, known = t, true
		}
	}
	if !known {
		return &badField{"join.trigger", fmt.Sprintf("trigger is %q: use Apply, Invite or RESTAPI", j.Trigger)}
	}
	if j.type_ = policy.ParseGroupType(j.GroupType); j.type_ == policy.TypeUnknown && j.GroupType != "" {
		return &badField{"join.groupType", unknownType(j.GroupType)}
	}
	var problem string
	if c.at, problem = timeOf(j.At, now); problem != "" {
		return &badField{"join.at", problem}
	}
	if e.Mode != "" || e.Removals != nil || e.Protected != nil || e.Stays != nil || e.Breaker != nil {
		return &badField{
			"expect", "mode, removals, protected, stays and breaker are answers to a prune or an evict, not to a join",
		}
	}
	return firstOf(
		oneOf("expect.verdict", e.Verdict, "Admitted", "Rejected"),
		oneOf("expect.audit", e.Audit, "Admitted", "Rejected"),
		oneOf("expect.reason", e.Reason, joinReasons()...))
}

// completePlanned checks what a prune and an evict have in common; field is which of them it is.
func (c *Case) completePlanned(field string, p *planned, now time.Time) *badField {
	if p.Group == "" {
		return &badField{field, "set group"}
	}
	if p.type_ = policy.ParseGroupType(p.GroupType); p.type_ == policy.TypeUnknown {
		return &badField{field + ".groupType", unknownType(p.GroupType)}
	}
	if p.RemovedToday < 0 {
		return &badField{field, "removedToday must not be negative"}
	}
	if p.Members.IsZero() {
		return &badField{field + ".members", "name a CSV or YAML file in members, or list the members there"}
	}
	var problem string
	if c.at, problem = timeOf(p.At, now); problem != "" {
		return &badField{field + ".at", problem}
	}
	return oneOf("expect.mode", c.Expect.Mode, "Preview", "Approve", "Enforce")
}

func (c *Case) completePrune(now time.Time) *badField {
	p, e := c.Prune, c.Expect
	if wrong := c.completePlanned("prune", &p.planned, now); wrong != nil {
		return wrong
	}
	if p.MaxMembers < 0 {
		return &badField{"prune", "maxMembers must not be negative"}
	}
	if e.answersJoin() {
		return &badField{"expect", "verdict, code, message, step and audit are answers to a join, not to a prune"}
	}
	for i := range e.Removals {
		if !e.Removals[i].onlyAccount() {
			return &badField{
				fmt.Sprintf("expect.removals[%d]", i),
				"reason, policy and list are answers to an evict, not to a prune",
			}
		}
	}
	for i := range e.Stays {
		if e.Stays[i].Because != "" {
			return &badField{
				fmt.Sprintf("expect.stays[%d]", i), "because is an answer to an evict, not to a prune",
			}
		}
	}
	if e.Breaker != nil {
		return &badField{"expect.breaker", "breaker is an answer to an evict, not to a prune"}
	}
	return oneOf("expect.reason", e.Reason, pruneReasons...)
}

func (c *Case) completeEvict(now time.Time) *badField {
	q, e := c.Evict, c.Expect
	if wrong := c.completePlanned("evict", &q.planned, now); wrong != nil {
		return wrong
	}
	if q.EvictedThisWeek < 0 {
		return &badField{"evict", "evictedThisWeek must not be negative"}
	}
	if e.answersJoin() || e.Protected != nil {
		return &badField{
			"expect", "verdict, code, message, step, audit and protected are no answers to an evict: " +
				"use removals, stays, reason, policy, mode and breaker",
		}
	}
	wrong := []*badField{oneOf("expect.reason", e.Reason, evictReasons...)}
	for i := range e.Removals {
		field := fmt.Sprintf("expect.removals[%d].reason", i)
		wrong = append(wrong, oneOf(field, e.Removals[i].Reason, removalReasons...))
	}
	for i := range e.Stays {
		wrong = append(wrong, oneOf(fmt.Sprintf("expect.stays[%d].because", i), e.Stays[i].Because, stayReasons...))
	}
	return firstOf(wrong...)
}

// answersJoin reports whether something is expected that only a join has.
func (e *Expectation) answersJoin() bool {
	return e.Verdict != "" || e.Code != nil || e.Message != nil || e.Step != nil || e.Audit != ""
}

func (e *Expectation) isEmpty() bool {
	return !e.answersJoin() && e.Reason == "" && e.Policy == nil && e.Mode == "" && e.Removals == nil &&
		e.Protected == nil && e.Stays == nil && e.Breaker == nil
}

func joinReasons() (names []string) {
	for r := policy.ReasonDenied; r <= policy.ReasonRestored; r++ {
		names = append(names, r.String())
	}
	return names
}

func unknownType(name string) string {
	return fmt.Sprintf("groupType is %q: use Work, Public, Meeting, AVChatRoom or Community", name)
}

func timeOf(text string, now time.Time) (time.Time, string) {
	if text == "" {
		return now, ""
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return now, fmt.Sprintf("at is %q: use RFC 3339, such as 2026-11-21T12:00:00Z", text)
	}
	return at, ""
}

func oneOf(field, value string, allowed ...string) *badField {
	if value == "" || slices.Contains(allowed, value) {
		return nil
	}
	_, name, _ := strings.Cut(field, ".")
	return &badField{field, fmt.Sprintf("%s is %q: use one of %s", name, value, strings.Join(allowed, ", "))}
}

func firstOf(problems ...*badField) *badField {
	for _, p := range problems {
		if p != nil {
			return p
		}
	}
	return nil
}

// resolve returns a path of the file, which is relative to its folder.
func (t *Test) resolve(path string) string {
	if path == manifests.Stdin || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(t.path), path)
}

// documentsOf reads what a file of tests calls its manifests.
func (t *Test) documents(read reader, in io.Reader) ([]manifests.Document, error) {
	var all []manifests.Document
	for _, path := range t.Manifests {
		documents, err := read(t.resolve(path), in)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: manifests: %w", t.path, t.document.LineOf("manifests"), err)
		}
		all = append(all, documents...)
	}
	return all, nil
}
