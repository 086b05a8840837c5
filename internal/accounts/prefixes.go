package accounts

import (
	"slices"
	"strings"
)

// Prefixes is a set of accounts given by prefixes: sorted, and none is a prefix of another. [NewPrefixes] makes one;
// nil is the empty set.
type Prefixes []string

// NewPrefixes returns the accounts that begin with one of the prefixes.
func NewPrefixes(prefixes []string) Prefixes {
	var set Prefixes
	for _, prefix := range slices.Sorted(slices.Values(prefixes)) {
		// In sorted order a prefix is immediately followed by everything that begins with it, which is redundant.
		if len(set) == 0 || !strings.HasPrefix(prefix, set[len(set)-1]) {
			set = append(set, prefix)
		}
	}
	return slices.Clip(set)
}

// Contains reports whether account begins with one of the prefixes. Everything between a prefix of the account and the
// account in sorted order begins with that prefix, and the set holds no two such strings: only the last prefix that is
// not after the account can match.
func (p Prefixes) Contains(account string) bool {
	if len(p) == 0 {
		return false
	}
	i, exact := slices.BinarySearch(p, account)
	return exact || i > 0 && strings.HasPrefix(account, p[i-1])
}
