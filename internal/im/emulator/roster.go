package emulator

import (
	"iter"
	"slices"
	"sort"
)

// role is the role of a member. The zero value marks the empty slot of a former member.
type role uint8

const (
	roleGone role = iota
	roleMember
	roleAdmin
	roleOwner
)

// String is the vendor's spelling.
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

// member is one slot of a roster. A Community has up to a million of them, so a slot has at most 32 bytes.
type member struct {
	account string
	joined  uint32 // Unix seconds
	spoke   uint32 // Unix seconds of the last message, 0: never
	seq     uint32 // position in the order of joining, never reused
	role    role
}

// roster is the member list of one group, in the order of joining. The cost of adding, finding or removing a member and
// of reading a page does not depend on the number of members.
//
// A removed member leaves an empty slot. compact drops the empty slots when they are the majority, and before a page is
// read by offset, since an offset counts members. Cursors survive that: they name a position in the order of joining,
// not a slot.
type roster struct {
	slots     []member
	positions map[string]uint32 // account to seq
	seq       uint32
}

func (r *roster) size() int { return len(r.positions) }

func (r *roster) grow(n int) {
	if r.positions == nil {
		r.positions = make(map[string]uint32, n)
	}
	r.slots = slices.Grow(r.slots, n)
}

// slot returns the index of the first slot at or after a position.
func (r *roster) slot(seq uint32) int {
	return sort.Search(len(r.slots), func(i int) bool { return r.slots[i].seq >= seq })
}

// find returns the member to read or to change, nil if the account is not in the group. The pointer is valid until the
// next add, remove or page.
func (r *roster) find(account string) *member {
	seq, ok := r.positions[account]
	if !ok {
		return nil
	}
	return &r.slots[r.slot(seq)]
}

// add appends a member that is not in the group yet.
func (r *roster) add(m member) {
	if r.positions == nil {
		r.positions = map[string]uint32{}
	}
	r.seq++
	m.seq = r.seq
	r.slots = append(r.slots, m)
	r.positions[m.account] = m.seq
}

// remove reports whether the account was a member.
func (r *roster) remove(account string) bool {
	m := r.find(account)
	if m == nil {
		return false
	}
	delete(r.positions, account)
	*m = member{seq: m.seq}
	if gone := len(r.slots) - r.size(); gone > 1024 && gone > r.size() {
		r.compact()
	}
	return true
}

func (r *roster) compact() {
	r.slots = slices.DeleteFunc(r.slots, func(m member) bool { return m.role == roleGone })
}

// page returns up to limit members after the first offset ones.
func (r *roster) page(offset, limit int) []member {
	if len(r.slots) != r.size() {
		r.compact()
	}
	offset = min(offset, len(r.slots))
	return r.slots[offset:min(len(r.slots), offset+limit)]
}

// after iterates over the members after a position in the order of joining; 0 is before the first.
func (r *roster) after(seq uint32) iter.Seq[*member] {
	return func(yield func(*member) bool) {
		for i := r.slot(seq + 1); i < len(r.slots); i++ {
			if r.slots[i].role != roleGone && !yield(&r.slots[i]) {
				return
			}
		}
	}
}
