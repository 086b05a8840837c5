package policy

import (
	"slices"

	"github.com/groupgate/groupgate/internal/accounts"
)

const (
	// minUnited is how many sets make a union worth its memory: fewer are asked one after the other.
	minUnited = 5
	// unionsPerAccount bounds the memory of selectors that overlap: all unions together have at most so many times the
	// accounts of all lists. Without a union the sets of a selector are asked one after the other.
	unionsPerAccount = 4
)

// unions are those that references use. References that resolve to the same sets share one.
type unions struct {
	inUse map[fingerprint]*sharedUnion // by content
	// accounts is how many the members of all unions have.
	accounts int
}

type sharedUnion struct {
	*accounts.Union
	sets     []accounts.Named
	content  fingerprint
	accounts int
	users    int
}

// swap releases the union that a reference has used, and returns that of its new resolution; nil if it gets none.
// listed is how many accounts all lists have.
func (x *unions) swap(before *sharedUnion, now *resolution, listed int) *sharedUnion {
	x.release(before)
	if len(now.sets) < minUnited {
		return nil
	}
	if known := x.inUse[now.content]; known != nil {
		if !slices.EqualFunc(known.sets, now.sets, func(p, q accounts.Named) bool { return p.Accounts == q.Accounts }) {
			return nil // other accounts with the same fingerprints
		}
		known.users++
		return known
	}
	made := &sharedUnion{sets: now.sets, content: now.content, users: 1}
	for _, set := range now.sets {
		made.accounts += set.Accounts.Len()
	}
	if x.accounts+made.accounts > unionsPerAccount*listed {
		return nil
	}
	var unionBefore *accounts.Union
	if before != nil {
		unionBefore = before.Union
	}
	made.Union = accounts.NewUnion(now.sets, unionBefore)
	if x.inUse == nil {
		x.inUse = map[fingerprint]*sharedUnion{}
	}
	x.inUse[now.content] = made
	x.accounts += made.accounts
	return made
}

// release ends the use of a union; nil is none.
func (x *unions) release(u *sharedUnion) {
	if u == nil {
		return
	}
	if u.users--; u.users == 0 {
		delete(x.inUse, u.content)
		x.accounts -= u.accounts
	}
}
