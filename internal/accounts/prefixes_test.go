package accounts

import "testing"

func TestPrefixes(t *testing.T) {
	tests := map[string]struct {
		prefixes []string
		in, out  []string
	}{
		"none": {out: []string{"", "a"}},
		"one":  {prefixes: []string{"ab"}, in: []string{"ab", "abc"}, out: []string{"", "a", "aa", "ac", "b"}},
		"enclosed": {
			prefixes: []string{"abc", "a", "ab", "b", "abd"}, in: []string{"a", "abd", "azz", "b", "bz"},
			out: []string{"", "A", "c"},
		},
		"far":   {prefixes: []string{"a", "c"}, in: []string{"azzzz", "c"}, out: []string{"b", "`"}},
		"every": {prefixes: []string{"x", ""}, in: []string{"", "a"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p := NewPrefixes(tc.prefixes)
			for _, s := range tc.in {
				if !p.Contains(s) {
					t.Errorf("%q is not matched", s)
				}
			}
			for _, s := range tc.out {
				if p.Contains(s) {
					t.Errorf("%q is matched", s)
				}
			}
		})
	}
}
