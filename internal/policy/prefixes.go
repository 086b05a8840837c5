package policy

import (
	"slices"
	"strings"
)

// prefixSet is a set of strings given by prefixes, sorted, none of which is a prefix of another.
type prefixSet []string

func newPrefixSet(prefixes []string) prefixSet {
	var set prefixSet
	for _, prefix := range slices.Sorted(slices.Values(prefixes)) {
		// What a prefix encloses follows it immediately in the order, and is redundant.
		if len(set) == 0 || !strings.HasPrefix(prefix, set[len(set)-1]) {
			set = append(set, prefix)
		}
	}
	return slices.Clip(set)
}

// contains reports whether s begins with one of the prefixes. Everything between a prefix of s and s in the order begins
// with that prefix, and the set holds no two such: only the last one not after s can match.
func (p prefixSet) contains(s string) bool {
	if len(p) == 0 {
		return false
	}
	i, exact := slices.BinarySearch(p, s)
	return exact || i > 0 && strings.HasPrefix(s, p[i-1])
}
