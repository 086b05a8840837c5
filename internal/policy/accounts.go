package policy

import (
	"encoding/binary"
	"hash/maphash"
	"iter"
	"math"
	"math/bits"
	"slices"
	"strings"
)

// hashSeed differs from process to process, so that nobody can choose accounts that collide. It is never written again,
// and nothing that leaves the process depends on it.
var hashSeed = maphash.MakeSeed()

// hashAccount is computed once per decision and shared by all the sets that are asked.
func hashAccount(account string) uint64 { return maphash.String(hashSeed, account) }

// PackedAccounts is an exact set of accounts in the form in which it is kept in memory: one immutable string that
// [PackAccounts] made, which costs some 2.6 bytes an account above the accounts' own. There is no other index and no second
// copy. It means nothing to another process. The empty string is the empty set.
//
// The accounts lie in buckets, chosen by the upper bits of their hash, 6 to 12 in each. What is in the string:
//
//	fingerprint   8 bytes, the same in every process for the same accounts in the same order
//	size          8 bytes, the number of accounts
//	bucketBits    1 byte: there are 1<<bucketBits buckets
//	offsetBytes   1 byte: the width of an offset
//	directory     the offset of every bucket, and of the end, counted from the end of the directory
//	buckets       one chunk each: a byte that holds the number n of accounts, n tags, n lengths, and the accounts
//
// Numbers are little-endian. The tag of an account is the lowest byte of its hash: with all tags of a bucket in one cache
// line, an account that is not on the list rarely costs a look at one that is. A chunk of 255 accounts, the most that its
// first byte can count, is followed by another one of the same bucket.
type PackedAccounts string

const (
	sizeAt        = 8
	bucketBitsAt  = 16
	offsetBytesAt = 17
	directoryAt   = 18

	// leastPerBucket is how many accounts there are for each bucket at least, on average: fewer make the directory longer,
	// more the way through a bucket.
	leastPerBucket = 6
	// maxAccountBytes is the longest account that one length byte can describe, maxChunk the most accounts that one count
	// byte can.
	maxAccountBytes = math.MaxUint8
	maxChunk        = math.MaxUint8
)

// PackAccounts returns the set of the given accounts. Repeated accounts count once; those longer than 255 bytes are left
// out.
func PackAccounts(accounts []string) PackedAccounts {
	if slices.ContainsFunc(accounts, isTooLong) {
		accounts = slices.DeleteFunc(slices.Clone(accounts), isTooLong)
	}
	return packHashed(accounts, hashAccount)
}

func isTooLong(account string) bool { return len(account) > maxAccountBytes }

func packHashed(accounts []string, hash func(string) uint64) PackedAccounts {
	if len(accounts) == 0 {
		return ""
	}
	b := sortIntoBuckets(accounts, hash)
	if distinct := b.distinct(); len(distinct) < len(accounts) {
		// The number of buckets, and so the bytes of the set, must not depend on who is repeated.
		return packHashed(distinct, hash)
	}
	return b.pack()
}

// buckets are the accounts of a list on the way into a set.
type buckets struct {
	accounts []string
	hashes   []uint64
	// order holds the positions of the accounts bucket by bucket; bucket i is order[begins[i]:begins[i+1]]. In a bucket the
	// accounts keep the order in which they were given, so that one edit leaves all other buckets as they are.
	order  []int
	begins []int
	bits   int
}

// bucketBits makes as many buckets for so many accounts as leave leastPerBucket in each, in a power of two.
func bucketBits(accounts int) int { return max(0, bits.Len(uint(accounts/leastPerBucket))-1) }

func sortIntoBuckets(accounts []string, hash func(string) uint64) *buckets {
	b := &buckets{
		accounts: accounts,
		hashes:   make([]uint64, len(accounts)),
		order:    make([]int, len(accounts)),
		bits:     bucketBits(len(accounts)),
	}
	b.begins = make([]int, 1<<b.bits+1)
	for i, account := range accounts {
		b.hashes[i] = hash(account)
		b.begins[b.bucket(i)+1]++
	}
	for i := range 1 << b.bits {
		b.begins[i+1] += b.begins[i]
	}
	next := slices.Clone(b.begins)
	for i := range accounts {
		bucket := b.bucket(i)
		b.order[next[bucket]] = i
		next[bucket]++
	}
	return b
}

func (b *buckets) bucket(i int) int { return int(b.hashes[i] >> (64 - b.bits)) }

// at returns the positions of the accounts in one bucket.
func (b *buckets) at(bucket int) []int { return b.order[b.begins[bucket]:b.begins[bucket+1]] }

// distinct returns the accounts in the order in which they were given, each once.
func (b *buckets) distinct() []string {
	repeated := map[int]bool{}
	var kept []int
	for bucket := range 1 << b.bits {
		kept = kept[:0]
		for _, i := range b.at(bucket) {
			if slices.ContainsFunc(kept, func(k int) bool { return b.hashes[k] == b.hashes[i] && b.accounts[k] == b.accounts[i] }) {
				repeated[i] = true
				continue
			}
			kept = append(kept, i)
		}
	}
	if len(repeated) == 0 {
		return b.accounts
	}
	distinct := make([]string, 0, len(b.accounts)-len(repeated))
	for i, account := range b.accounts {
		if !repeated[i] {
			distinct = append(distinct, account)
		}
	}
	return distinct
}

func (b *buckets) pack() PackedAccounts {
	offsets := make([]uint64, 1, 1<<b.bits+1)
	for bucket := range 1 << b.bits {
		positions := b.at(bucket)
		bytes := 1 + len(positions)/maxChunk + 2*len(positions)
		for _, i := range positions {
			bytes += len(b.accounts[i])
		}
		offsets = append(offsets, offsets[bucket]+uint64(bytes))
	}
	end := offsets[len(offsets)-1]
	offsetBytes := (bits.Len64(end) + 7) / 8

	var packed strings.Builder
	packed.Grow(directoryAt + len(offsets)*offsetBytes + int(end))
	var number [8]byte
	write := func(n uint64, width int) {
		binary.LittleEndian.PutUint64(number[:], n)
		packed.Write(number[:width])
	}
	write(uint64(b.fingerprint()), sizeAt)
	write(uint64(len(b.accounts)), bucketBitsAt-sizeAt)
	packed.WriteByte(byte(b.bits))
	packed.WriteByte(byte(offsetBytes))
	for _, offset := range offsets {
		write(offset, offsetBytes)
	}
	for bucket := range 1 << b.bits {
		positions := b.at(bucket)
		for len(positions) >= maxChunk {
			b.writeChunk(&packed, positions[:maxChunk])
			positions = positions[maxChunk:]
		}
		b.writeChunk(&packed, positions)
	}
	return PackedAccounts(packed.String())
}

func (b *buckets) writeChunk(packed *strings.Builder, positions []int) {
	packed.WriteByte(byte(len(positions)))
	for _, i := range positions {
		packed.WriteByte(byte(b.hashes[i]))
	}
	for _, i := range positions {
		packed.WriteByte(byte(len(b.accounts[i])))
	}
	for _, i := range positions {
		packed.WriteString(b.accounts[i])
	}
}

// fingerprint is taken of the accounts as they were given, since the order of the buckets differs from process to process.
func (b *buckets) fingerprint() fingerprint {
	bytes := len(b.accounts)
	for _, account := range b.accounts {
		bytes += len(account)
	}
	t := make(transcript, 0, bytes)
	for _, account := range b.accounts {
		t = append(t, byte(len(account)))
		t = append(t, account...)
	}
	return t.sum()
}

// Len is the number of accounts.
func (p PackedAccounts) Len() int {
	if p == "" {
		return 0
	}
	return int(p.number(sizeAt, bucketBitsAt-sizeAt))
}

// fingerprint stands for the content; 0 for the empty set.
func (p PackedAccounts) fingerprint() fingerprint {
	if p == "" {
		return 0
	}
	return fingerprint(p.number(0, sizeAt))
}

// contains reports whether the set holds account, whose hash the caller has computed.
func (p PackedAccounts) contains(account string, hash uint64) bool {
	if p == "" {
		return false
	}
	for rest := chunks(p[p.offset(int(hash>>(64-p[bucketBitsAt]))):]); ; {
		c := rest.first()
		if c.contains(account, byte(hash)) {
			return true
		}
		if len(c.tags) < maxChunk {
			return false
		}
		rest = rest[c.bytes():]
	}
}

// all yields the accounts bucket by bucket.
func (p PackedAccounts) all() iter.Seq[string] { return p.stretch(0, 0).all() }

// stretch returns the buckets that hold the accounts whose hash begins with these bits. There may be others in it, where
// there are fewer buckets.
func (p PackedAccounts) stretch(upper, upperBits int) chunks {
	if p == "" {
		return ""
	}
	below := int(p[bucketBitsAt]) - upperBits
	if below < 0 {
		upper, below = upper>>-below, 0
	}
	return chunks(p[p.offset(upper<<below):p.offset((upper+1)<<below)])
}

// offset returns where a bucket begins.
func (p PackedAccounts) offset(bucket int) int {
	width := int(p[offsetBytesAt])
	directoryEnd := directoryAt + (1<<p[bucketBitsAt]+1)*width
	return directoryEnd + int(p.number(directoryAt+bucket*width, width))
}

func (p PackedAccounts) number(at, width int) uint64 {
	n := uint64(0)
	for i := at + width - 1; i >= at; i-- {
		n = n<<8 | uint64(p[i])
	}
	return n
}

// chunks are those of some buckets, one after the other.
type chunks string

// chunk is up to 255 accounts of a bucket. accounts goes on after the last of them.
type chunk struct{ tags, lengths, accounts string }

func (s chunks) first() chunk {
	n := int(s[0])
	return chunk{tags: string(s[1 : 1+n]), lengths: string(s[1+n : 1+2*n]), accounts: string(s[1+2*n:])}
}

// len is the number of accounts.
func (s chunks) len() int {
	n := 0
	for s != "" {
		c := s.first()
		n += len(c.tags)
		s = s[c.bytes():]
	}
	return n
}

func (s chunks) all() iter.Seq[string] {
	return func(yield func(string) bool) {
		for s := s; s != ""; {
			c := s.first()
			rest := c.accounts
			for i := range len(c.lengths) {
				length := c.lengths[i]
				if !yield(rest[:length]) {
					return
				}
				rest = rest[length:]
			}
			s = chunks(rest)
		}
	}
}

func (c *chunk) contains(account string, tag byte) bool {
	for i := 0; ; i++ {
		next := strings.IndexByte(c.tags[i:], tag)
		if next < 0 {
			return false
		}
		i += next
		if int(c.lengths[i]) != len(account) {
			continue
		}
		if begin := total(c.lengths[:i]); c.accounts[begin:begin+len(account)] == account {
			return true
		}
	}
}

func (c *chunk) bytes() int { return 1 + 2*len(c.tags) + total(c.lengths) }

func total(lengths string) int {
	n := 0
	for i := range len(lengths) {
		n += int(lengths[i])
	}
	return n
}
