package accounts

import (
	"math/bits"
	"slices"
)

// maxSegmentBits bounds the number of segments of a union. More segments make an edit of one account cheaper, which is
// a hundredth of the union already, and a new list dearer.
const maxSegmentBits = 8

// Named is a set and the name of the list that it comes from.
type Named struct {
	Name     string
	Accounts Set
}

// Union finds the one of many sets that holds an account, so that they need not be asked one after the other. It stores
// no accounts: it names the few sets that may hold one, most often a single one, and those are asked. It costs some 5.4
// bytes an account and never changes.
//
// Its segments split the accounts by the upper bits of their hash, as the buckets of a set do: the accounts of a
// segment are contiguous in each set. So a segment can be made without the others, and an edit of a list makes only
// those again in which the list changed.
type Union struct {
	// places are the members, each at the place by which the segments refer to it. A place without accounts is free.
	places      []Named
	placeBits   int
	segmentBits int
	segments    []segment
	// entries is how many slots of all segments are in use.
	entries int
}

// segment is an open addressing hash table. The lower placeBits of an entry are a place, counted from 1, so that 0 is a
// free slot; the rest are bits of the account's hash, so that a set is rarely asked for an account that it does not
// hold.
type segment struct {
	table   []uint32
	entries int
}

// NewUnion returns the union of sets none of which is empty. It shares with before, which may be nil, all segments that
// are the same.
func NewUnion(members []Named, before *Union) *Union {
	u := &Union{segmentBits: segmentBits(members)}
	if before != nil && before.segmentBits == u.segmentBits {
		u.places = before.placesFor(members)
	}
	if u.places == nil || bits.Len(uint(len(u.places))) != before.placeBits {
		u.places, before = slices.Clone(members), nil
	}
	u.placeBits = bits.Len(uint(len(u.places)))
	u.segments = make([]segment, 1<<u.segmentBits)
	if before != nil {
		copy(u.segments, before.segments)
	}
	for i := range u.segments {
		if before == nil || u.differs(before, i) {
			u.segments[i] = u.segment(i)
		}
		u.entries += u.segments[i].entries
	}
	return u
}

// segmentBits makes no more segments than an average member has buckets: with more, a bucket would be read for several
// segments.
func segmentBits(members []Named) int {
	accounts := 0
	for _, m := range members {
		accounts += m.Accounts.Len()
	}
	return min(maxSegmentBits, bucketBits(accounts/max(1, len(members))))
}

// placesFor gives every member the place that its list has had, and new members the free places.
func (u *Union) placesFor(members []Named) []Named {
	places := make([]Named, len(u.places), max(len(u.places), len(members)))
	known := make(map[string]int, len(u.places))
	for place, m := range u.places {
		if m.Accounts != "" {
			known[m.Name] = place
		}
	}
	var added []Named
	for _, m := range members {
		if place, ok := known[m.Name]; ok {
			places[place] = m
			continue
		}
		added = append(added, m)
	}
	for place := 0; len(added) > 0; place++ {
		if place == len(places) {
			places = append(places, Named{})
		}
		if places[place].Accounts == "" {
			places[place], added = added[0], added[1:]
		}
	}
	return places
}

// differs reports whether a segment is not the same as in before, in which the same lists had the same places.
func (u *Union) differs(before *Union, i int) bool {
	for place := range u.places {
		var was Set
		if place < len(before.places) {
			was = before.places[place].Accounts
		}
		is := u.places[place].Accounts
		if is == was || is.within(i, u.segmentBits) == was.within(i, u.segmentBits) {
			continue
		}
		// The accounts that differ may belong to another segment.
		if !slices.Equal(u.accountsIn(is, i), u.accountsIn(was, i)) {
			return true
		}
	}
	return false
}

func (u *Union) segment(i int) segment {
	accounts := 0
	for _, m := range u.places {
		accounts += m.Accounts.within(i, u.segmentBits).len()
	}
	made := u.fill(i, accounts)
	if made.entries < accounts/2 {
		// Many accounts are in several sets, or belong to another segment: half of the table would stay empty.
		made = u.fill(i, made.entries)
	}
	return made
}

// fill makes a segment with room for so many accounts.
func (u *Union) fill(i, accounts int) segment {
	made := segment{table: make([]uint32, accounts+accounts/3+1)}
	for place, m := range u.places {
		for account := range m.Accounts.within(i, u.segmentBits).all() {
			hash := Hash(account)
			if u.segmentOf(hash) != i {
				continue
			}
			slot, found := u.find(&made, account, hash)
			if found {
				continue // in several sets: one of them is enough
			}
			made.table[slot] = uint32(place+1) | u.tag(hash)
			made.entries++
		}
	}
	return made
}

// accountsIn returns the accounts of a set that belong to a segment. Each bucket of a small set belongs to several.
func (u *Union) accountsIn(set Set, i int) []string {
	return slices.DeleteFunc(slices.Collect(set.within(i, u.segmentBits).all()), func(account string) bool {
		return u.segmentOf(Hash(account)) != i
	})
}

func (u *Union) segmentOf(hash uint64) int { return int(hash >> (64 - u.segmentBits)) }

// Contains reports whether one of the sets holds account; hash is its [Hash].
func (u *Union) Contains(account string, hash uint64) bool {
	_, found := u.find(&u.segments[u.segmentOf(hash)], account, hash)
	return found
}

// find returns the slot that leads to the account, or the free one where it belongs. There is always a free slot.
func (u *Union) find(s *segment, account string, hash uint64) (slot int, found bool) {
	table := s.table
	tag, places := u.tag(hash), u.placeMask()
	// The upper bits of the hash chose the segment, the following ones choose the slot, and the lower ones are the tag.
	upper, _ := bits.Mul64(hash<<u.segmentBits, uint64(len(table)))
	for slot = int(upper); table[slot] != 0; {
		entry := table[slot]
		if entry&^places == tag && u.places[entry&places-1].Accounts.Contains(account, hash) {
			return slot, true
		}
		if slot++; slot == len(table) {
			slot = 0
		}
	}
	return slot, false
}

func (u *Union) tag(hash uint64) uint32 { return uint32(hash) &^ u.placeMask() }

func (u *Union) placeMask() uint32 { return 1<<u.placeBits - 1 }
