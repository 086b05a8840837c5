package accounts

import (
	"math"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

func TestDedup(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := NewDedup(rapid.SampledFrom([]int{math.MinInt, 0, 10, 1000}).Draw(t, "expected"))
		known := map[string]bool{}
		for range rapid.IntRange(0, 500).Draw(t, "rows") {
			account := strconv.Itoa(rapid.IntRange(0, 300).Draw(t, "account"))
			if got := d.Add(account); got == known[account] {
				t.Fatalf("Add(%s) = %t, want %t", account, got, !known[account])
			}
			known[account] = true
		}
	})
}

// TestDedupOfAwkwardHashes has hashes that collide in the last slot and wrap around, and the one that marks a free
// slot.
func TestDedupOfAwkwardHashes(t *testing.T) {
	d := NewDedup(0)
	hashes := []uint64{0}
	for i := range uint64(200) {
		hashes = append(hashes, math.MaxUint64-i, 2+i)
	}
	for _, want := range []bool{true, false} {
		for _, hash := range hashes {
			if got := d.addHash(hash); got != want {
				t.Fatalf("addHash(%#x) = %t, want %t", hash, got, want)
			}
		}
	}
}

// TestDedupBoundsTheExpectedSize: a wrong size of a group must not allocate memory by itself.
func TestDedupBoundsTheExpectedSize(t *testing.T) {
	if got := len(NewDedup(math.MaxInt).table) * 8; got > 12<<20 {
		t.Errorf("%d bytes for a group that only claims to be large", got)
	}
}
