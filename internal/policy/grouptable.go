package policy

import (
	"iter"
	"math/bits"
	"slices"

	"github.com/groupgate/groupgate/internal/accounts"
)

const (
	slotsPerPage   = 1 << pageBits
	pageBits       = 7
	slotsPerBucket = 8 // at most, so that a table from which most has gone becomes small again
)

// groupTable finds a bucket by the value of its matcher: a hash table whose slots are the heads of chains. It never
// changes. What with returns shares all pages with it but those that hold something new, so that an edit costs a page or
// two, however many groups there are. The zero value is empty.
type groupTable struct {
	pages []*groupPage // a power of two of them
	count int
}

type groupPage [slotsPerPage]*bucket

// hashGroup is [accounts.Hash] for groups.
func hashGroup(group string) uint64 { return accounts.Hash(group) }

// find returns the bucket of that value, or nil.
func (t *groupTable) find(value string) *bucket {
	if t.count == 0 {
		return nil
	}
	return t.findHashed(value, hashGroup(value))
}

func (t *groupTable) findHashed(value string, hash uint64) *bucket {
	page, slot := t.place(hash)
	for b := t.pages[page][slot]; b != nil; b = b.beside {
		if b.hash == hash && b.matcher.Value == value {
			return b
		}
	}
	return nil
}

func (t *groupTable) place(hash uint64) (page, slot uint64) {
	return hash >> pageBits & uint64(len(t.pages)-1), hash & (slotsPerPage - 1)
}

// buckets yields all of them, in no order.
func (t *groupTable) buckets() iter.Seq[*bucket] {
	return func(yield func(*bucket) bool) {
		for _, page := range t.pages {
			for _, b := range page {
				for ; b != nil; b = b.beside {
					if !yield(b) {
						return
					}
				}
			}
		}
	}
}

// with returns the table with new buckets, each in the place of the one of its value. One without policies takes the old one
// away and is left out itself. The table keeps the new buckets: nobody else may hold them.
func (t *groupTable) with(changed []*bucket) groupTable {
	count := t.count
	for _, b := range changed {
		if t.count > 0 && t.findHashed(b.matcher.Value, b.hash) != nil {
			count--
		}
		if len(b.policies) > 0 {
			count++
		}
	}
	if count == 0 {
		return groupTable{}
	}
	next := groupTable{pages: slices.Clone(t.pages), count: count}
	mine := make([]bool, len(t.pages)) // the pages that t does not share
	if slots := len(t.pages) << pageBits; slots < count || slots > max(slotsPerPage, slotsPerBucket*count) {
		next, mine = t.resized(count)
	}
	for _, b := range changed {
		page, slot := next.place(b.hash)
		if !mine[page] {
			copied := *next.pages[page]
			next.pages[page], mine[page] = &copied, true
		}
		head := &next.pages[page][slot]
		*head = (*head).chainWithout(b)
		if len(b.policies) > 0 {
			b.beside, *head = *head, b
		}
	}
	return next
}

// resized returns a table that is large enough for so many buckets and holds those of t, none of whose pages it shares.
func (t *groupTable) resized(count int) (groupTable, []bool) {
	pages := 1 << bits.Len(uint((count-1)>>pageBits))
	next := groupTable{pages: make([]*groupPage, pages), count: count}
	for i := range next.pages {
		next.pages[i] = new(groupPage)
	}
	mine := make([]bool, pages)
	for i := range mine {
		mine[i] = true
	}
	for b := range t.buckets() {
		page, slot := next.place(b.hash)
		copied := *b
		copied.beside, next.pages[page][slot] = next.pages[page][slot], &copied
	}
	return next, mine
}

// chainWithout returns the chain that begins with b, less the bucket of the same value as gone. A chain may be part of another
// table, too: what stands before the gap is copied.
func (b *bucket) chainWithout(gone *bucket) *bucket {
	held := b
	for held != nil && (held.hash != gone.hash || held.matcher.Value != gone.matcher.Value) {
		held = held.beside
	}
	if held == nil {
		return b
	}
	rest := held.beside
	for ; b != held; b = b.beside {
		copied := *b
		copied.beside, rest = rest, &copied
	}
	return rest
}
