package policy

import "slices"

// unionsPerAccount bounds the memory of selectors that overlap: all unions together have room for so many times the
// accounts of all lists. Where that is used up, the sets of a selector are asked one after the other.
const unionsPerAccount = 4

// unions are those that references use, one for each result that several of them may have in common.
type unions struct {
	inUse map[fingerprint]*sharedUnion // by content
	// accounts is how many the members of all unions have.
	accounts int
}

type sharedUnion struct {
	*union
	sets       []namedSet
	content    fingerprint
	accounts   int
	references int
}

// exchange takes back the union that a reference has used, and returns that of what it stands for now; nil if there is none
// to use. listed is how many accounts all lists have.
func (x *unions) exchange(before *sharedUnion, now *resolved, listed int) *sharedUnion {
	x.release(before)
	if len(now.sets) <= fewSets {
		return nil
	}
	if known := x.inUse[now.content]; known != nil {
		if !slices.EqualFunc(known.sets, now.sets, func(p, q namedSet) bool { return p.accounts == q.accounts }) {
			return nil // other accounts of the same fingerprints
		}
		known.references++
		return known
	}
	made := &sharedUnion{sets: now.sets, content: now.content, references: 1}
	for _, set := range now.sets {
		made.accounts += set.accounts.Len()
	}
	if x.accounts+made.accounts > unionsPerAccount*listed {
		return nil
	}
	made.union = newUnion(now.sets, before.orNil())
	if x.inUse == nil {
		x.inUse = map[fingerprint]*sharedUnion{}
	}
	x.inUse[now.content] = made
	x.accounts += made.accounts
	return made
}

func (u *sharedUnion) orNil() *union {
	if u == nil {
		return nil
	}
	return u.union
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
