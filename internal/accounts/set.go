package accounts

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"iter"
	"math"
	"math/bits"
	"slices"
	"strings"
)

// seed differs from process to process, so that accounts that collide cannot be chosen. It is never written again, and
// nothing that leaves the process depends on it.
var seed = maphash.MakeSeed()

// Hash is computed once per question and shared by all the sets that are asked.
func Hash(account string) uint64 { return maphash.String(seed, account) }

// Set is an exact set of accounts: one immutable string that [NewSet] made, which costs some 2.6 bytes an account above
// the accounts' own. There is no other index and no second copy. It is meaningless in another process. The empty string
// is the empty set.
//
// The accounts lie in buckets, chosen by the upper bits of their hash, 6 to 12 in each. The layout of the string:
//
//	fingerprint   8 bytes, the same in every process for the same accounts in the same order
//	size          8 bytes, the number of accounts
//	bucketBits    1 byte: there are 1<<bucketBits buckets
//	offsetBytes   1 byte: the width of an offset
//	directory     the offset of every bucket, and of the end, counted from the end of the directory
//	buckets       one chunk each: a byte that holds the number n of accounts, n tags, n lengths, and the accounts
//
// Numbers are little-endian. The tag of an account is the lowest byte of its hash: all tags of a bucket are in one
// cache line, and an account that is not in the set rarely costs a comparison with one that is. A chunk of 255
// accounts, the most that its first byte can count, is followed by another chunk of the same bucket.
type Set string

// MaxBytes is the length of the longest account that a set can hold: its length is one byte.
const MaxBytes = math.MaxUint8

const (
	sizeAt        = 8
	bucketBitsAt  = 16
	offsetBytesAt = 17
	directoryAt   = 18

	// minPerBucket is the least average number of accounts in a bucket: fewer make the directory longer, more the scan
	// of a bucket.
	minPerBucket = 6
	// maxChunk is the most accounts that one count byte can describe.
	maxChunk = math.MaxUint8
)

// NewSet returns the set of the given accounts. Repeated accounts count once; those longer than [MaxBytes] are left
// out.
func NewSet(accounts []string) Set {
	if slices.ContainsFunc(accounts, isTooLong) {
		accounts = slices.DeleteFunc(slices.Clone(accounts), isTooLong)
	}
	return newHashed(accounts, Hash)
}

func isTooLong(account string) bool { return len(account) > MaxBytes }

func newHashed(accounts []string, hash func(string) uint64) Set {
	if len(accounts) == 0 {
		return ""
	}
	b := sortIntoBuckets(accounts, hash)
	if distinct := b.distinct(); len(distinct) < len(accounts) {
		// The number of buckets, and so the bytes of the set, must not depend on how many accounts are repeated.
		return newHashed(distinct, hash)
	}
	return b.pack()
}

// buckets are the accounts of a list while a set is made of them.
type buckets struct {
	accounts []string
	hashes   []uint64
	// order holds the positions of the accounts bucket by bucket; bucket i is order[begins[i]:begins[i+1]]. Within a
	// bucket the accounts are in the order in which they were given, so that one edit leaves all other buckets
	// unchanged.
	order  []int
	begins []int
	bits   int
}

// bucketBits returns how many buckets, as a power of two, leave minPerBucket accounts in each.
func bucketBits(accounts int) int { return max(0, bits.Len(uint(accounts/minPerBucket))-1) }

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
	var first []int
	for bucket := range 1 << b.bits {
		first = first[:0]
		for _, i := range b.at(bucket) {
			if slices.ContainsFunc(first, func(f int) bool { return b.same(f, i) }) {
				repeated[i] = true
				continue
			}
			first = append(first, i)
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

func (b *buckets) same(i, j int) bool {
	return b.hashes[i] == b.hashes[j] && b.accounts[i] == b.accounts[j]
}

func (b *buckets) pack() Set {
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
	write(b.fingerprint(), sizeAt)
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
	return Set(packed.String())
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

// fingerprint hashes the accounts as they were given, since the order of the buckets differs from process to process.
func (b *buckets) fingerprint() uint64 {
	bytes := len(b.accounts)
	for _, account := range b.accounts {
		bytes += len(account)
	}
	content := make([]byte, 0, bytes)
	for _, account := range b.accounts {
		content = append(content, byte(len(account)))
		content = append(content, account...)
	}
	sum := sha256.Sum256(content)
	return binary.BigEndian.Uint64(sum[:])
}

// Len is the number of accounts.
func (s Set) Len() int {
	if s == "" {
		return 0
	}
	return int(s.number(sizeAt, bucketBitsAt-sizeAt))
}

// Fingerprint is the same in every process for the same accounts given in the same order; 0 for the empty set.
func (s Set) Fingerprint() uint64 {
	if s == "" {
		return 0
	}
	return s.number(0, sizeAt)
}

// Contains reports whether the set holds account; hash is its [Hash].
func (s Set) Contains(account string, hash uint64) bool {
	if s == "" {
		return false
	}
	for rest := chunks(s[s.offset(int(hash>>(64-s[bucketBitsAt]))):]); ; {
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

// All yields the accounts in the order of their buckets, which differs from process to process.
func (s Set) All() iter.Seq[string] { return s.within(0, 0).all() }

// Without yields the accounts that s holds and other does not, in the order of All. Buckets that are the same in both
// sets cost a comparison of their bytes, so that an edit of a long list is found without asking for each account.
func (s Set) Without(other Set) iter.Seq[string] {
	return func(yield func(string) bool) {
		if s == "" || s == other {
			return
		}
		bits := int(s[bucketBitsAt])
		for bucket := range 1 << bits {
			these := s.within(bucket, bits)
			if these == other.within(bucket, bits) {
				continue
			}
			for account := range these.all() {
				if !other.Contains(account, Hash(account)) && !yield(account) {
					return
				}
			}
		}
	}
}

// within returns the buckets that hold the accounts whose hash begins with these bits. If the set has fewer buckets,
// they hold other accounts as well.
func (s Set) within(upper, upperBits int) chunks {
	if s == "" {
		return ""
	}
	below := int(s[bucketBitsAt]) - upperBits
	if below < 0 {
		upper, below = upper>>-below, 0
	}
	return chunks(s[s.offset(upper<<below):s.offset((upper+1)<<below)])
}

// offset returns where a bucket begins.
func (s Set) offset(bucket int) int {
	width := int(s[offsetBytesAt])
	directoryEnd := directoryAt + (1<<s[bucketBitsAt]+1)*width
	return directoryEnd + int(s.number(directoryAt+bucket*width, width))
}

func (s Set) number(at, width int) uint64 {
	n := uint64(0)
	for i := at + width - 1; i >= at; i-- {
		n = n<<8 | uint64(s[i])
	}
	return n
}

// chunks are those of some buckets, one after the other.
type chunks string

// chunk is up to 255 accounts of a bucket. The string accounts begins with them and continues to the end of the set.
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
