package policy

import (
	"hash/maphash"
	"math"
	"math/bits"
	"slices"
)

// hashSeed differs from process to process, so that nobody can choose accounts that collide. It is never written again,
// and nothing that leaves the process depends on it.
var hashSeed = maphash.MakeSeed()

// hashAccount is computed once per decision and shared by all the sets that are asked.
func hashAccount(account string) uint64 { return maphash.String(hashSeed, account) }

const (
	// maxAccountBytes is the longest account that one length byte can describe.
	maxAccountBytes = math.MaxUint8
	// maxArenaBytes keeps every offset within 32 bits.
	maxArenaBytes = math.MaxUint32
)

// accountSet is an exact, immutable set of accounts that costs little more than their bytes: about 6.4 bytes each.
//
// The arena holds one length byte and the bytes of each account. The table is an open addressing hash table of arena
// offsets; 0 is a free slot, since the arena begins with an unused byte. The bits of a slot that no offset needs hold
// bits of the account's hash, so that a probe rarely has to look into the arena for an account that is not its own.
type accountSet struct {
	arena      []byte
	table      []uint32
	offsetMask uint32
	size       int
	// fingerprint stands for the content, the same in every process.
	fingerprint fingerprint
	// rest holds what did not fit into 32-bit offsets; nil but for sets of more than 4 GiB.
	rest *accountSet
}

// newAccountSet returns the set of the given accounts, or nil, the empty set, if there are none. Accounts longer than 255
// bytes are left out.
func newAccountSet(accounts []string) *accountSet {
	return newBoundedAccountSet(accounts, maxArenaBytes)
}

func newBoundedAccountSet(accounts []string, maxArena uint64) *accountSet {
	fit, bytes := 0, uint64(1)
	for _, account := range accounts {
		if len(account) > maxAccountBytes {
			return newBoundedAccountSet(withoutLong(accounts), maxArena)
		}
	}
	for fit < len(accounts) && (fit == 0 || bytes+uint64(len(accounts[fit]))+1 <= maxArena) {
		bytes += uint64(len(accounts[fit])) + 1
		fit++
	}
	if fit == 0 {
		return nil
	}
	set := &accountSet{
		arena:      make([]byte, 1, bytes),
		table:      make([]uint32, fit+fit/3+1),
		offsetMask: uint32(1)<<bits.Len64(bytes) - 1,
	}
	for _, account := range accounts[:fit] {
		set.add(account)
	}
	if set.size < fit {
		// Repeated accounts left holes in the memory asked for.
		return newBoundedAccountSet(append(set.accounts(), accounts[fit:]...), maxArena)
	}
	set.rest = newBoundedAccountSet(set.missing(accounts[fit:]), maxArena)
	set.fingerprint = fingerprintOf(set.arena)
	if set.rest != nil {
		var t transcript
		t.part(set.fingerprint)
		t.part(set.rest.fingerprint)
		set.fingerprint = t.sum()
	}
	return set
}

func withoutLong(accounts []string) []string {
	return slices.DeleteFunc(slices.Clone(accounts), func(a string) bool { return len(a) > maxAccountBytes })
}

// missing returns the accounts that the set does not hold, so that none is in two arenas.
func (s *accountSet) missing(accounts []string) []string {
	return slices.DeleteFunc(slices.Clone(accounts), func(a string) bool { return s.contains(a, hashAccount(a)) })
}

func (s *accountSet) add(account string) {
	hash := hashAccount(account)
	slot, found := s.find(account, hash)
	if found {
		return
	}
	s.table[slot] = uint32(len(s.arena)) | uint32(hash)&^s.offsetMask
	s.arena = append(s.arena, byte(len(account)))
	s.arena = append(s.arena, account...)
	s.size++
}

// contains reports whether the set holds account, whose hash the caller has computed.
func (s *accountSet) contains(account string, hash uint64) bool {
	if len(account) > maxAccountBytes {
		return false
	}
	for ; s != nil; s = s.rest {
		if _, found := s.find(account, hash); found {
			return true
		}
	}
	return false
}

// find returns the slot that holds account, or the free one where it belongs. There is always a free slot.
func (s *accountSet) find(account string, hash uint64) (slot int, found bool) {
	// The upper bits of the hash choose the slot, the lower ones are the tag.
	upper, _ := bits.Mul64(hash, uint64(len(s.table)))
	tag := uint32(hash) &^ s.offsetMask
	for slot = int(upper); s.table[slot] != 0; {
		entry := s.table[slot]
		if entry&^s.offsetMask == tag && string(s.at(entry&s.offsetMask)) == account {
			return slot, true
		}
		if slot++; slot == len(s.table) {
			slot = 0
		}
	}
	return slot, false
}

// len is the number of accounts.
func (s *accountSet) len() int {
	n := 0
	for ; s != nil; s = s.rest {
		n += s.size
	}
	return n
}

// at returns the bytes of the account at an offset of the arena.
func (s *accountSet) at(offset uint32) []byte {
	begin := int(offset) + 1
	return s.arena[begin : begin+int(s.arena[offset])]
}

// accounts returns the accounts of the first arena, in the order in which they were added.
func (s *accountSet) accounts() []string {
	accounts := make([]string, 0, s.size)
	for offset := 1; offset < len(s.arena); offset += 1 + int(s.arena[offset]) {
		accounts = append(accounts, string(s.at(uint32(offset))))
	}
	return accounts
}
