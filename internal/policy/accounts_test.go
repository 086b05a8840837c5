package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func has(s *accountSet, account string) bool { return s.contains(account, hashAccount(account)) }

func TestAccountSet(t *testing.T) {
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
			s := newAccountSet(tc.accounts)
			if got := s.len(); got != tc.want {
				t.Errorf("%d accounts, want %d", got, tc.want)
			}
			for _, account := range tc.accounts {
				if len(account) <= maxAccountBytes && !has(s, account) {
					t.Errorf("%q is missing", account)
				}
			}
			for _, account := range tc.absent {
				if has(s, account) {
					t.Errorf("%q is in the set", account)
				}
			}
		})
	}
}

// TestAccountSetComparesBytes asks with the hash of another account, as if the two collided.
func TestAccountSetComparesBytes(t *testing.T) {
	s := newAccountSet([]string{"jared", "tommy"})
	if s.contains("mallory", hashAccount("jared")) || s.contains("", hashAccount("jared")) || s.contains("jaref", hashAccount("jared")) {
		t.Error("a collision of hashes lets a stranger onto the list")
	}
}

func TestAccountSetBeyondOneArena(t *testing.T) {
	var accounts []string
	for i := range 200 {
		accounts = append(accounts, fmt.Sprint("account-", i%150))
	}
	s := newBoundedAccountSet(accounts, 500)
	if s.rest == nil || s.len() != 150 {
		t.Fatalf("%d accounts in one arena: %t", s.len(), s.rest == nil)
	}
	for i := range 150 {
		if !has(s, fmt.Sprint("account-", i)) {
			t.Errorf("account-%d is missing", i)
		}
	}
	if has(s, "account-150") {
		t.Error("account-150 is in the set")
	}
	for part := s; part != nil; part = part.rest {
		if len(part.arena) > 500 {
			t.Errorf("an arena of %d bytes, at most 500 are allowed", len(part.arena))
		}
	}
	if other := newBoundedAccountSet(accounts[:149], 500); other.fingerprint == s.fingerprint {
		t.Error("what is in the second arena is not part of the fingerprint")
	}
}

func TestAccountSetIsSmall(t *testing.T) {
	repeated := make([]string, 0, 20_000)
	for i := range 10_000 {
		repeated = append(repeated, fmt.Sprintf("account-%08d", i), fmt.Sprintf("account-%08d", i))
	}
	s := newAccountSet(repeated)
	if got, limit := 4*cap(s.table)+cap(s.arena), 10_000*(16+7); got > limit {
		t.Errorf("10,000 accounts of 16 bytes take %d bytes, at most %d are allowed", got, limit)
	}
}

func FuzzAccountSet(f *testing.F) {
	f.Add("jared\ntommy\njared", "mallory", uint16(100))
	f.Add("\n\n\x00\n"+strings.Repeat("x", 256), "", uint16(1))
	f.Fuzz(func(t *testing.T, lines, other string, maxArena uint16) {
		accounts := strings.Split(lines, "\n")
		want := map[string]bool{}
		for _, account := range accounts {
			if len(account) <= maxAccountBytes {
				want[account] = true
			}
		}
		input := slices.Clone(accounts)
		for _, s := range []*accountSet{newAccountSet(accounts), newBoundedAccountSet(accounts, uint64(maxArena))} {
			if s.len() != len(want) {
				t.Errorf("%d accounts, want %d", s.len(), len(want))
			}
			for _, account := range append(accounts, other, other+"x", "x"+other) {
				if has(s, account) != want[account] {
					t.Errorf("%q in the set: %t, want %t", account, !want[account], want[account])
				}
			}
		}
		if !slices.Equal(input, accounts) {
			t.Error("the input was changed")
		}
	})
}

func TestPrefixSet(t *testing.T) {
	tests := map[string]struct {
		prefixes []string
		in, out  []string
	}{
		"none":     {out: []string{"", "a"}},
		"one":      {prefixes: []string{"ab"}, in: []string{"ab", "abc"}, out: []string{"", "a", "aa", "ac", "b"}},
		"enclosed": {prefixes: []string{"abc", "a", "ab", "b", "abd"}, in: []string{"a", "abd", "azz", "b", "bz"}, out: []string{"", "A", "c"}},
		"far":      {prefixes: []string{"a", "c"}, in: []string{"azzzz", "c"}, out: []string{"b", "`"}},
		"every":    {prefixes: []string{"x", ""}, in: []string{"", "a"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p := newPrefixSet(tc.prefixes)
			for _, s := range tc.in {
				if !p.contains(s) {
					t.Errorf("%q is not matched", s)
				}
			}
			for _, s := range tc.out {
				if p.contains(s) {
					t.Errorf("%q is matched", s)
				}
			}
		})
	}
}

func BenchmarkAccountSet(b *testing.B) {
	accounts := make([]string, 1_000_000)
	for i := range accounts {
		accounts[i] = fmt.Sprintf("account-%08d", i)
	}
	var s *accountSet
	b.Run("Build", func(b *testing.B) {
		for b.Loop() {
			s = newAccountSet(accounts)
		}
		b.ReportMetric(float64(4*cap(s.table)+cap(s.arena))/float64(len(accounts))-16, "B/account-above-raw")
	})
	s = newAccountSet(accounts)
	for name, format := range map[string]string{"Listed": "account-%08d", "Stranger": "somebody-%07d"} {
		b.Run(name, func(b *testing.B) {
			asked := make([]string, 1<<16)
			for i := range asked {
				asked[i] = fmt.Sprintf(format, rand.IntN(len(accounts)))
			}
			i := 0
			for b.Loop() {
				i++
				has(s, asked[i%len(asked)])
			}
		})
	}
}
