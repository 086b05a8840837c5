package accounts

import (
	"hash/maphash"
	"math/bits"
)

const (
	minSlots = 64
	// maxExpected bounds the memory that NewDedup allocates for an expected size, which may be wrong. A longer list
	// makes the table grow.
	maxExpected = 1 << 20
)

// Dedup finds the accounts of one list that came before, in 8 to 16 bytes each: it stores 64 bits of hash and not the
// account. While its table grows it holds 24 bytes an account; the table does not grow if as many accounts come as were
// expected.
//
// Two accounts with equal hashes are taken for one, so that the later one counts as repeated. In a list of a million
// that happens by chance once in ten million lists: the seed is drawn for each list, so that accounts cannot be chosen
// to make it happen.
type Dedup struct {
	seed maphash.Seed
	// table is an open addressing hash table of hashes; 0 is a free slot.
	table []uint64
	size  int
}

// NewDedup returns a Dedup with room for so many accounts.
func NewDedup(expected int) *Dedup {
	return &Dedup{seed: maphash.MakeSeed(), table: make([]uint64, slotsFor(min(max(0, expected), maxExpected)))}
}

// slotsFor leaves a quarter of the table free.
func slotsFor(accounts int) int { return max(minSlots, accounts+accounts/3+2) }

// Add adds the account and reports whether it is new.
func (d *Dedup) Add(account string) bool { return d.addHash(maphash.String(d.seed, account)) }

func (d *Dedup) addHash(hash uint64) bool {
	if hash == 0 {
		hash = 1
	}
	if (d.size+1)*4 > len(d.table)*3 {
		d.grow()
	}
	slot, found := d.find(hash)
	if !found {
		d.table[slot] = hash
		d.size++
	}
	return !found
}

func (d *Dedup) grow() {
	old := d.table
	d.table = make([]uint64, 2*len(old))
	for _, hash := range old {
		if hash != 0 {
			slot, _ := d.find(hash)
			d.table[slot] = hash
		}
	}
}

// find returns the slot that holds the hash, or the free one where it belongs. There is always a free slot.
func (d *Dedup) find(hash uint64) (slot int, found bool) {
	upper, _ := bits.Mul64(hash, uint64(len(d.table)))
	for slot = int(upper); d.table[slot] != 0; {
		if d.table[slot] == hash {
			return slot, true
		}
		if slot++; slot == len(d.table) {
			slot = 0
		}
	}
	return slot, false
}
