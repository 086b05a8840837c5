package emulator

import (
	"iter"
	"slices"
	"sort"
)

// role is the place of a member in a group. The zero value is the empty slot of somebody who left.
type role uint8

const (
	roleGone role = iota
	roleMember
	roleAdmin
	roleOwner
)

// String is the vendor's word.
func (r role) String() string {
	switch r {
	case roleOwner:
		return "Owner"
	case roleAdmin:
		return "Admin"
	case roleMember:
		return "Member"
	default:
		return "NotMember"
	}
}

func parseRole(word string) (role, bool) {
	for _, r := range []role{roleMember, roleAdmin, roleOwner} {
		if r.String() == word {
			return r, true
		}
	}
	return roleGone, false
}

// member is one slot of a roster. A Community has up to a million of them, so it is kept to 32 bytes.
type member struct {
	account string
	joined  uint32 // Unix seconds
	spoke   uint32 // Unix seconds of the last message, 0: never
	seq     uint32 // place in the order of joining, never given twice
	role    role
}

// roster is the member list of one group, in the order of joining. Adding, finding and removing somebody and reading a page take
// time that does not depend on how many members there are: a page of a million must not cost a walk over a million.
//
// Who leaves leaves an empty slot behind. Empty slots are squeezed out when they are the majority, or when somebody reads by offset,
// since an offset counts members. Cursors survive that because they name a place in the order of joining, not a slot.
type roster struct {
	slots  []member
	places map[string]uint32 // account to seq
	seq    uint32
}

func (r *roster) size() int { return len(r.places) }

func (r *roster) grow(n int) {
	if r.places == nil {
		r.places = make(map[string]uint32, n)
	}
	r.slots = slices.Grow(r.slots, n)
}

// slot finds the index of the first slot at or after a place.
func (r *roster) slot(seq uint32) int {
	return sort.Search(len(r.slots), func(i int) bool { return r.slots[i].seq >= seq })
}

// find returns the member to read or to change, nil if the account is not in the group. The pointer is good until the next add or page.
func (r *roster) find(account string) *member {
	seq, ok := r.places[account]
	if !ok {
		return nil
	}
	return &r.slots[r.slot(seq)]
}

// add appends a member who is not in the group yet.
func (r *roster) add(m member) {
	if r.places == nil {
		r.places = map[string]uint32{}
	}
	r.seq++
	m.seq = r.seq
	r.slots = append(r.slots, m)
	r.places[m.account] = m.seq
}

// remove reports whether the account was a member.
func (r *roster) remove(account string) bool {
	m := r.find(account)
	if m == nil {
		return false
	}
	delete(r.places, account)
	*m = member{seq: m.seq}
	if gone := len(r.slots) - r.size(); gone > 1024 && gone > r.size() {
		r.squeeze()
	}
	return true
}

func (r *roster) squeeze() {
	r.slots = slices.DeleteFunc(r.slots, func(m member) bool { return m.role == roleGone })
}

// page returns up to limit members after the first offset ones.
func (r *roster) page(offset, limit int) []member {
	if len(r.slots) != r.size() {
		r.squeeze()
	}
	offset = min(offset, len(r.slots))
	return r.slots[offset:min(len(r.slots), offset+limit)]
}

// after iterates over the members behind a place in the order of joining; 0 is before the first.
func (r *roster) after(seq uint32) iter.Seq[*member] {
	return func(yield func(*member) bool) {
		for i := r.slot(seq + 1); i < len(r.slots); i++ {
			if r.slots[i].role != roleGone && !yield(&r.slots[i]) {
				return
			}
		}
	}
}
