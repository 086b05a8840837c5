package accounts

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func has(p Set, account string) bool { return p.Contains(account, Hash(account)) }

func TestSet(t *testing.T) {
	long := strings.Repeat("x", 255)
	tests := map[string]struct {
		accounts []string
		absent   []string
		want     int
	}{
		"none":        {absent: []string{"", "a"}},
		"one":         {accounts: []string{"a"}, absent: []string{"", "b", "aa", "A", "a\x00"}, want: 1},
		"empty name":  {accounts: []string{"", "a"}, absent: []string{"b"}, want: 2},
		"repeated":    {accounts: []string{"a", "b", "a", "a", "b"}, want: 2},
		"255 bytes":   {accounts: []string{long}, absent: []string{long[:254], long + "x"}, want: 1},
		"too long":    {accounts: []string{"a", long + "x", "b"}, absent: []string{long + "x", long}, want: 2},
		"only longer": {accounts: []string{long + "x"}, absent: []string{long + "x"}},
		"any bytes":   {accounts: []string{"\x00", "\xff\xfe", "令牌"}, absent: []string{"\x00\x00", "令"}, want: 3},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p := NewSet(tc.accounts)
			if got := p.Len(); got != tc.want {
				t.Errorf("%d accounts, want %d", got, tc.want)
			}
			for _, account := range tc.accounts {
				if len(account) <= MaxBytes && !has(p, account) {
					t.Errorf("%q is missing", account)
				}
			}
			for _, account := range tc.absent {
				if has(p, account) {
					t.Errorf("%q is in the set", account)
				}
			}
		})
	}
}

// TestSetComparesBytes asks with the hash of another account, as if the two collided.
func TestSetComparesBytes(t *testing.T) {
	p := NewSet([]string{"jared", "tommy"})
	if p.Contains("mallory", Hash("jared")) || p.Contains("", Hash("jared")) || p.Contains("jaref", Hash("jared")) {
		t.Error("a collision of hashes lets a stranger onto the list")
	}
}

// TestSetWithFewHashes fills one bucket with more accounts than a chunk holds.
func TestSetWithFewHashes(t *testing.T) {
	accounts := numbered("account", 0, 3*maxChunk)
	for name, hash := range map[string]func(string) uint64{
		"all the same":  func(string) uint64 { return 42 },
		"one bucket":    func(account string) uint64 { return Hash(account) >> 32 },
		"one tag":       func(account string) uint64 { return Hash(account) &^ 0xff },
		"two of a kind": func(account string) uint64 { return Hash(account[:len(account)-1]) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{1, maxChunk - 1, maxChunk, maxChunk + 1, 2 * maxChunk, 2*maxChunk + 1} {
				p := newHashed(slices.Concat(accounts[:n], accounts[:n]), hash)
				if p.Len() != n {
					t.Errorf("%d accounts, want %d", p.Len(), n)
				}
				for i, account := range accounts {
					if got, want := p.Contains(account, hash(account)), i < n; got != want {
						t.Errorf("of %d accounts, %s in the set: %t, want %t", n, account, got, want)
					}
				}
				if got := slices.Sorted(p.All()); !slices.Equal(got, slices.Sorted(slices.Values(accounts[:n]))) {
					t.Errorf("%d accounts packed, %d came out", n, len(got))
				}
			}
		})
	}
}

// TestFingerprint holds for every process: no seed is in it.
func TestFingerprint(t *testing.T) {
	want := NewSet([]string{"jared", "tommy"}).Fingerprint()
	if want != 0x3f8df80607933511 {
		t.Errorf("fingerprint %#x, it was another one once", want)
	}
	long := strings.Repeat("x", 256)
	if got := NewSet([]string{"jared", long, "tommy", "jared"}).Fingerprint(); got != want {
		t.Error("what is not in the set is in its fingerprint")
	}
	for _, other := range [][]string{nil, {"jared"}, {"jare", "dtommy"}, {"jaredtommy"}, {"jared", "tommy", ""}} {
		if NewSet(other).Fingerprint() == want {
			t.Errorf("%q has the same fingerprint as another list", other)
		}
	}
}

func TestSetIsSmall(t *testing.T) {
	for _, n := range []int{1_000, 12_287, 12_288, 20_000} {
		accounts := numbered("account", 0, n)
		packed := NewSet(slices.Concat(accounts, accounts))
		if above := float64(len(packed))/float64(n) - 16; above > 3 {
			t.Errorf("%d accounts of 16 bytes take %.2f bytes each above their own, at most 3 are allowed", n, above)
		}
	}
}

// numbered returns n accounts of 16 bytes, or as many more as the stem has above 7.
func numbered(stem string, from, n int) []string {
	accounts := make([]string, n)
	for i := range accounts {
		accounts[i] = fmt.Sprintf("%s-%08d", stem, from+i)
	}
	return accounts
}

func FuzzSet(f *testing.F) {
	f.Add("jared\ntommy\njared", "mallory", uint64(math.MaxUint64))
	f.Add("\n\n\x00\n"+strings.Repeat("x", 256), "", uint64(0))
	f.Add(strings.Join(numbered("a", 0, 300), "\n"), "", uint64(0xff))
	f.Fuzz(func(t *testing.T, lines, other string, hashMask uint64) {
		accounts := strings.Split(lines, "\n")
		want := map[string]bool{}
		for _, account := range accounts {
			if len(account) <= MaxBytes {
				want[account] = true
			}
		}
		input := slices.Clone(accounts)
		masked := func(account string) uint64 { return Hash(account) & hashMask }
		for _, pack := range []struct {
			p    Set
			hash func(string) uint64
		}{
			{NewSet(accounts), Hash},
			{newHashed(slices.Collect(maps.Keys(want)), masked), masked},
		} {
			if pack.p.Len() != len(want) {
				t.Errorf("%d accounts, want %d", pack.p.Len(), len(want))
			}
			for _, account := range append(accounts, other, other+"x", "x"+other) {
				if pack.p.Contains(account, pack.hash(account)) != want[account] {
					t.Errorf("%q in the set: %t, want %t", account, !want[account], want[account])
				}
			}
			for account := range pack.p.All() {
				if !want[account] {
					t.Errorf("%q came out", account)
				}
			}
		}
		if !slices.Equal(input, accounts) {
			t.Error("the input was changed")
		}
	})
}

func BenchmarkSet(b *testing.B) {
	accounts := numbered("account", 0, 1_000_000)
	packed := NewSet(accounts)
	b.Run("Pack", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			packed = NewSet(accounts)
		}
		b.ReportMetric(float64(len(packed))/float64(len(accounts))-16, "B/account-above-raw")
	})
	shard := accounts[:20_000]
	b.Run("PackShard", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			NewSet(shard)
		}
	})
	for name, format := range map[string]string{"Listed": "account-%08d", "Stranger": "somebody-%07d"} {
		b.Run(name, func(b *testing.B) {
			asked := make([]string, 1<<16)
			for i := range asked {
				asked[i] = fmt.Sprintf(format, rand.IntN(len(accounts)))
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				i++
				has(packed, asked[i%len(asked)])
			}
		})
	}
}

// TestWithout compares sets of many sizes, so that both have the same number of buckets, or not.
func TestWithout(t *testing.T) {
	numbered := func(from, to int) (all []string) {
		for i := from; i < to; i++ {
			all = append(all, fmt.Sprintf("account-%d", i))
		}
		return all
	}
	for _, size := range []int{0, 1, 5, 300, 5000} {
		for _, otherSize := range []int{0, 1, 6, 299, 300, 20_000} {
			for _, from := range []int{0, 3, 1000} {
				list, other := numbered(0, size), numbered(from, from+otherSize)
				var want []string
				for i, account := range list {
					if i < from || i >= from+otherSize {
						want = append(want, account)
					}
				}
				got := slices.Sorted(NewSet(list).Without(NewSet(other)))
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("%d accounts without %d from %d on: %d remain, want %d",
						size, otherSize, from, len(got), len(want))
				}
			}
		}
	}
}
