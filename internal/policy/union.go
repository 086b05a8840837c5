package policy

import (
	"math/bits"
	"slices"
)

const (
	// fewSets is how many sets are asked one after the other: an index over them would save little.
	fewSets = 4
	// maxPartBits bounds the number of parts of a union. More of them make an edit of one account cheaper, which is a
	// hundredth of the union already, and a new list dearer.
	maxPartBits = 8
)

// namedSet is a set and the name of the list that it is of.
type namedSet struct {
	name     string
	accounts PackedAccounts
}

// union says which of many sets holds an account, so that they need not be asked one after the other. It holds no accounts:
// it names the few sets that may hold one, most often a single one, and those are asked. It costs some 5.4 bytes an account
// and never changes.
//
// Its parts split the accounts by the upper bits of their hash, as the buckets of a set do: what belongs to a part lies
// together in each set. So a part can be made without the others, and an edit of a list makes only those again whose
// stretch of the list it changed.
type union struct {
	// places are the members, each at the place that the parts know it by. An empty one is free.
	places    []namedSet
	placeBits int
	partBits  int
	parts     []unionPart
	// entries is how many slots of all parts are in use.
	entries int
}

// unionPart is an open addressing hash table. The lower placeBits of an entry are a place, counted from 1, so that 0 is a
// free slot; the rest are bits of the account's hash, so that rarely a set is asked for an account that it does not hold.
type unionPart struct {
	table   []uint32
	entries int
}

// newUnion returns the union of sets none of which is empty. It shares with before, which may be nil, all parts that are
// the same.
func newUnion(members []namedSet, before *union) *union {
	u := &union{partBits: partBits(members)}
	if before != nil && before.partBits == u.partBits {
		u.places = before.placesFor(members)
	}
	if u.places == nil || bits.Len(uint(len(u.places))) != before.placeBits {
		u.places, before = slices.Clone(members), nil
	}
	u.placeBits = bits.Len(uint(len(u.places)))
	u.parts = make([]unionPart, 1<<u.partBits)
	if before != nil {
		copy(u.parts, before.parts)
	}
	for i := range u.parts {
		if before == nil || u.differs(before, i) {
			u.parts[i] = u.part(i)
		}
		u.entries += u.parts[i].entries
	}
	return u
}

// partBits makes no more parts than an average member has buckets: else a bucket would be read for several parts.
func partBits(members []namedSet) int {
	accounts := 0
	for _, m := range members {
		accounts += m.accounts.Len()
	}
	return min(maxPartBits, bucketBits(accounts/max(1, len(members))))
}

// placesFor gives every member the place that its list has had, and new ones those that are free.
func (u *union) placesFor(members []namedSet) []namedSet {
	places := make([]namedSet, len(u.places), max(len(u.places), len(members)))
	known := make(map[string]int, len(u.places))
	for place, m := range u.places {
		if m.accounts != "" {
			known[m.name] = place
		}
	}
	var added []namedSet
	for _, m := range members {
		if place, ok := known[m.name]; ok {
			places[place] = m
			continue
		}
		added = append(added, m)
	}
	for place := 0; len(added) > 0; place++ {
		if place == len(places) {
			places = append(places, namedSet{})
		}
		if places[place].accounts == "" {
			places[place], added = added[0], added[1:]
		}
	}
	return places
}

// differs reports whether a part of the union is another one than it was before, when the same lists had the same places.
func (u *union) differs(before *union, part int) bool {
	for place := range u.places {
		var was PackedAccounts
		if place < len(before.places) {
			was = before.places[place].accounts
		}
		is := u.places[place].accounts
		if is == was || is.stretch(part, u.partBits) == was.stretch(part, u.partBits) {
			continue
		}
		// What differs may belong to another part.
		if !slices.Equal(u.accounts(is, part), u.accounts(was, part)) {
			return true
		}
	}
	return false
}

// part makes one part.
func (u *union) part(part int) unionPart {
	accounts := 0
	for _, m := range u.places {
		accounts += m.accounts.stretch(part, u.partBits).len()
	}
	made := u.fill(part, accounts)
	if made.entries < accounts/2 {
		// Many accounts are on several lists, or belong to another part: there is more room than they need.
		made = u.fill(part, made.entries)
	}
	return made
}

// fill makes one part with room for so many accounts.
func (u *union) fill(part, accounts int) unionPart {
	made := unionPart{table: make([]uint32, accounts+accounts/3+1)}
	for place, m := range u.places {
		for account := range m.accounts.stretch(part, u.partBits).all() {
			hash := hashAccount(account)
			if u.partOf(hash) != part {
				continue
			}
			slot, found := u.find(&made, account, hash)
			if found {
				continue // on several lists: one of them is enough
			}
			made.table[slot] = uint32(place+1) | u.tag(hash)
			made.entries++
		}
	}
	return made
}

// accounts returns those of a set that belong to a part. In a small set each bucket belongs to several parts.
func (u *union) accounts(set PackedAccounts, part int) []string {
	return slices.DeleteFunc(slices.Collect(set.stretch(part, u.partBits).all()), func(account string) bool { return u.partOf(hashAccount(account)) != part })
}

func (u *union) partOf(hash uint64) int { return int(hash >> (64 - u.partBits)) }

// contains reports whether one of the sets holds account, whose hash the caller has computed.
func (u *union) contains(account string, hash uint64) bool {
	_, found := u.find(&u.parts[u.partOf(hash)], account, hash)
	return found
}

// find returns the slot that leads to the account, or the free one where it belongs. There is always a free slot.
func (u *union) find(part *unionPart, account string, hash uint64) (slot int, found bool) {
	table := part.table
	tag, places := u.tag(hash), u.placeMask()
	// The bits of the hash that did not choose the part choose the slot, the lower ones are the tag.
	upper, _ := bits.Mul64(hash<<u.partBits, uint64(len(table)))
	for slot = int(upper); table[slot] != 0; {
		entry := table[slot]
		if entry&^places == tag && u.places[entry&places-1].accounts.contains(account, hash) {
			return slot, true
		}
		if slot++; slot == len(table) {
			slot = 0
		}
	}
	return slot, false
}

func (u *union) tag(hash uint64) uint32 { return uint32(hash) &^ u.placeMask() }

func (u *union) placeMask() uint32 { return 1<<u.placeBits - 1 }
