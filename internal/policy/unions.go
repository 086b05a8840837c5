package policy

import (
	"slices"

	"github.com/groupgate/groupgate/internal/accounts"
)

// unionsPerAccount bounds the memory of selectors that overlap: all unions together have room for so many times the
// accounts of all lists. Where that is used up, the sets of a selector are asked one after the other.
const unionsPerAccount = 4

// minUnited is how many sets make a union worth its memory: fewer are asked one after the other.
const minUnited = 5

// unions are those that references use, one for each result that several of them may have in common.
type unions struct {
	inUse map[fingerprint]*sharedUnion // by content
	// accounts is how many the members of all unions have.
	accounts int
}

type sharedUnion struct {
	*accounts.Union
	sets       []accounts.Named
	content    fingerprint
	accounts   int
	references int
}

// exchange takes back the union that a reference has used, and returns that of what it stands for now; nil if there is none
// to use. listed is how many accounts all lists have.
func (x *unions) exchange(before *sharedUnion, now *resolved, listed int) *sharedUnion {
	x.release(before)
	if len(now.sets) < minUnited {
		return nil
	}
	if known := x.inUse[now.content]; known != nil {
		if !slices.EqualFunc(known.sets, now.sets, func(p, q accounts.Named) bool { return p.Accounts == q.Accounts }) {
			return nil // other accounts of the same fingerprints
		}
		known.references++
		return known
	}
	made := &sharedUnion{sets: now.sets, content: now.content, references: 1}
	for _, set := range now.sets {
		made.accounts += set.Accounts.Len()
	}
	if x.accounts+made.accounts > unionsPerAccount*listed {
		return nil
	}
	made.Union = accounts.NewUnion(now.sets, before.orNil())
	if x.inUse == nil {
		x.inUse = map[fingerprint]*sharedUnion{}
	}
	x.inUse[now.content] = made
	x.accounts += made.accounts
	return made
}

func (u *sharedUnion) orNil() *accounts.Union {
	if u == nil {
		return nil
	}
	return u.Union
}

// release takes back a union that a reference used.
func (x *unions) release(u *sharedUnion) {
	if u == nil {
		return
	}
	if u.references--; u.references == 0 {
		delete(x.inUse, u.content)
		x.accounts -= u.accounts
	}
}
