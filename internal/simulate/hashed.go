package simulate

import (
	"strings"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/decisionlog"
	"github.com/groupgate/groupgate/internal/manifests"
	"github.com/groupgate/groupgate/internal/policy"
)

// worldOfHashes is the one that decides about hashed accounts. It is nil without their key.
func (s *Simulation) worldOfHashes(r *decisionlog.Recorded) *world {
	if s.options.Accounts.KeyID() != r.AccountKey {
		s.report.Skipped.Hashed++
		return nil
	}
	if s.hashed == nil {
		s.hashed = newWorld(s.options, s.options.Accounts.Name)
		s.hashed.notePrefixes(s.options.Now)
		if s.options.Before != nil {
			s.hashed.notePrefixes(s.options.Before)
		}
	}
	return s.hashed
}

// notePrefixes notes the policies that name prefixes: whether a hashed account has one cannot be told.
func (w *world) notePrefixes(o *manifests.Objects) {
	for i := range o.Policies {
		p := &o.Policies[i]
		for _, selector := range selectors(p.Spec.Join) {
			if selector != nil && len(selector.AccountPrefixes) > 0 {
				w.prefixed[policy.Object{Namespace: p.Namespace, Name: p.Name}] = true
			}
		}
	}
}

func selectors(join *v1alpha1.JoinSection) []*v1alpha1.AccountSelector {
	if join == nil {
		return nil
	}
	return []*v1alpha1.AccountSelector{join.Allow, join.Deny}
}

// namesPrefixes reports whether a policy that names prefixes governs the group.
func (w *world) namesPrefixes(a *apps, group string) bool {
	if len(w.prefixed) == 0 {
		return false
	}
	found, known := a.prefixed[group]
	if known {
		return found
	}
	for _, app := range []*policy.CompiledApp{a.now, a.before} {
		if app == nil {
			continue
		}
		for p := range app.Governing(group) {
			found = found || w.prefixed[policy.Object{Namespace: p.Namespace, Name: p.Name}]
		}
	}
	if len(a.prefixed) < 10*maxChanges {
		a.prefixed[strings.Clone(group)] = found
	}
	return found
}
