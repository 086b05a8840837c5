package policy

import (
	"maps"
	"slices"
)

// appState is what a Compiler knows of one app, be it one that does not exist and that only policies or records name. What
// names it is indexed whether or not it exists: that decides only whether the index is published.
type appState struct {
	name objectName
	app  *App // nil while it does not exist
	// heldBy is the "namespace/name" of the app that holds the SDKAppID, if another one does. refusal says of a policy that
	// names the app why it is not accepted; empty when it is.
	heldBy  string
	refusal string
	// content stands for the app itself, policies and records for what names it.
	content  fingerprint
	policies multiset
	records  multiset

	groups    *groupIndex
	recordsOf map[string]groupRecords // by group
	// What came and went since groups and recordsOf were made.
	left, joined  []*boundPolicy
	dropped, kept []*recordPart

	// changed says that compiled is not up to date.
	changed  bool
	compiled *CompiledApp // nil unless the app holds its SDKAppID
}

func (s *appState) join(p *boundPolicy) {
	s.joined = append(s.joined, p)
	s.policies.add(p.fingerprint)
}

func (s *appState) leave(p *boundPolicy) {
	s.left = append(s.left, p)
	s.policies.take(p.fingerprint)
}

func (s *appState) keep(r *recordPart) {
	s.kept = append(s.kept, r)
	s.records.add(r.fingerprint)
}

func (s *appState) drop(r *recordPart) {
	s.dropped = append(s.dropped, r)
	s.records.take(r.fingerprint)
}

// abandoned reports whether nothing is left of the app, and nothing names it.
func (s *appState) abandoned() bool {
	return s.app == nil && s.policies.parts == 0 && s.records.parts == 0
}

// become notes that the app is another one, or none.
func (s *appState) become(a *App) {
	s.app, s.content, s.changed = a, 0, true
	if a != nil {
		s.content = a.fingerprint()
	}
}

// concede notes which app holds the SDKAppID.
func (s *appState) concede(holder *App) {
	s.heldBy, s.refusal = "", ""
	switch {
	case s.app == nil:
		s.refusal = "IMApp " + quote(s.name.name) + " does not exist in namespace " + quote(s.name.namespace)
	case holder != s.app:
		s.heldBy = holder.Key()
		s.refusal = "IMApp " + quote(s.name.name) + " is not accepted: " + s.heldBy + " holds its SDKAppID"
	}
}

// indexChanges takes up what came and went since the last build. It returns the policies whose rules may be overridden now, or
// no longer.
func (s *appState) indexChanges() (touched []*boundPolicy) {
	if len(s.left)+len(s.joined) > 0 {
		s.groups, touched = s.groups.edited(s.left, s.joined)
		s.left, s.joined, s.changed = nil, nil, true
	}
	if len(s.dropped)+len(s.kept) > 0 {
		s.recordsOf = editedRecords(s.recordsOf, s.dropped, s.kept)
		s.dropped, s.kept, s.changed = nil, nil, true
	}
	return touched
}

// compile brings compiled up to date.
func (s *appState) compile() {
	s.changed, s.compiled = false, nil
	if s.refusal == "" {
		s.compiled = newCompiledApp(s.app)
		s.compiled.groups, s.compiled.records = s.groups, s.recordsOf
	}
}

func (s *appState) verdict() *AppVerdict {
	return &AppVerdict{
		Object:           s.app.Object.comparable(),
		HeldBy:           s.heldBy,
		SecretFound:      s.app.SecretFound,
		SecretKeyPresent: s.app.SecretKeyPresent,
		TokenMissing:     s.app.Authentication != AuthenticateNone && len(s.app.usableTokens()) == 0,
		PruningSuspended: s.app.PruningSuspended,
	}
}

// verdictOn judges a policy that names the app.
func (s *appState) verdictOn(p *boundPolicy) *PolicyVerdict {
	v := &PolicyVerdict{Object: p.object, MissingRefs: p.missing}
	switch {
	case s.refusal != "":
		v.Acceptance, v.Message = TargetNotFound, s.refusal
		return v
	case p.invalid != "":
		v.Acceptance, v.Message = Invalid, p.invalid
	}
	if winner, matcher := s.groups.override(p); winner != nil {
		v.OverriddenBy, v.OverriddenMatcher = winner.policy.Name, matcher.String()
	}
	return v
}

// holders returns for every SDKAppID the app that holds it: the oldest.
func holders(apps map[objectName]*appState) map[uint64]*App {
	holders := make(map[uint64]*App, len(apps))
	for _, s := range apps {
		if s.app == nil {
			continue
		}
		if holder, ok := holders[s.app.SDKAppID]; !ok || byAge(&s.app.Object, &holder.Object) < 0 {
			holders[s.app.SDKAppID] = s.app
		}
	}
	return holders
}

// editedRecords returns the records by group, less those that were dropped and with those that were kept.
func editedRecords(records map[string]groupRecords, dropped, kept []*recordPart) map[string]groupRecords {
	gone := make(map[*recordPart]bool, len(dropped))
	change := map[string]groupRecords{}
	for _, r := range dropped {
		gone[r] = true
		change[r.group] = nil
	}
	for _, r := range kept {
		change[r.group] = append(change[r.group], r)
	}
	edited := maps.Clone(records)
	if edited == nil {
		edited = make(map[string]groupRecords, len(change))
	}
	for group, now := range change {
		for _, r := range records[group] {
			if !gone[r] {
				now = append(now, r)
			}
		}
		slices.SortFunc(now, byEnd)
		edited[group] = now
		if len(now) == 0 {
			delete(edited, group)
		}
	}
	return edited
}
