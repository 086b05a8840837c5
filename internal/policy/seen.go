package policy

import (
	"hash/maphash"
	"math/bits"
)

const (
	leastSeenSlots = 64
	// mostSeenExpected bounds how far the vendor's word on the size of a group is trusted with memory. A longer list only
	// makes the table grow.
	mostSeenExpected = 1 << 20
)

// seenAccounts tells the accounts of one list that came before, in 8 to 16 bytes each: it keeps 64 bits of hash of an account
// and not the account. At its largest, while it grows, it holds 24 bytes an account; it does not grow where as many accounts
// come as were expected.
//
// Two accounts with one hash are taken for one: the later of them counts as repeated, which means that it stays in the
// group. In a list of a million that happens once in ten million lists, by chance: the seed is drawn for each list, so that
// nobody can name accounts to make it happen.
type seenAccounts struct {
	seed maphash.Seed
	// table is an open addressing hash table of hashes; 0 is a free slot.
	table []uint64
	size  int
}

func newSeenAccounts(expected int) *seenAccounts {
	return &seenAccounts{seed: maphash.MakeSeed(), table: make([]uint64, slotsFor(min(max(0, expected), mostSeenExpected)))}
}

// slotsFor leaves a quarter of the table free.
func slotsFor(accounts int) int { return max(leastSeenSlots, accounts+accounts/3+2) }

// again reports whether the account came before, and remembers it.
func (s *seenAccounts) again(account string) bool { return s.addAgain(maphash.String(s.seed, account)) }

func (s *seenAccounts) addAgain(hash uint64) bool {
	if hash == 0 {
		hash = 1
	}
	if (s.size+1)*4 > len(s.table)*3 {
		s.grow()
	}
	slot, found := s.find(hash)
	if !found {
		s.table[slot] = hash
		s.size++
	}
	return found
}

func (s *seenAccounts) grow() {
	old := s.table
	s.table = make([]uint64, 2*len(old))
	for _, hash := range old {
		if hash != 0 {
			slot, _ := s.find(hash)
			s.table[slot] = hash
		}
	}
}

// find returns the slot that holds the hash, or the free one where it belongs. There is always a free slot.
func (s *seenAccounts) find(hash uint64) (slot int, found bool) {
	upper, _ := bits.Mul64(hash, uint64(len(s.table)))
	for slot = int(upper); s.table[slot] != 0; {
		if s.table[slot] == hash {
			return slot, true
		}
		if slot++; slot == len(s.table) {
			slot = 0
		}
	}
	return slot, false
}
