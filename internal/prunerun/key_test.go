package prunerun_test

import (
	"strings"
	"testing"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/prunerun"
)

func TestNumberOfTheNextRun(t *testing.T) {
	key := prunerun.Key{Namespace: "chat", App: "prod", Group: "@TGS#2J4SZEAEL"}
	numbered := func(suffix string) v1alpha1.PruneRun { return named(key.App+"-"+key.GroupHash()+suffix, 0) }
	tests := map[string]struct {
		runs []v1alpha1.PruneRun
		want string
	}{
		"none":              {want: key.Name(1)},
		"one":               {runs: []v1alpha1.PruneRun{numbered("-1")}, want: key.Name(2)},
		"highest, not last": {runs: []v1alpha1.PruneRun{numbered("-12"), numbered("-9")}, want: key.Name(13)},
		"gaps stay":         {runs: []v1alpha1.PruneRun{numbered("-4")}, want: key.Name(5)},
		"names of another form": {
			runs: []v1alpha1.PruneRun{numbered("-x"), numbered(""), named("by-hand-7", 0)},
			want: key.Name(1),
		},
		"a number made by hand": {
			runs: []v1alpha1.PruneRun{numbered("-4294967295"), numbered("-18446744073709551615"), numbered("-2")},
			want: key.Name(3),
		},
		"evictions are counted apart": {runs: []v1alpha1.PruneRun{numbered("-evict-7")}, want: key.Name(1)},
		"the highest number that counts": {
			runs: []v1alpha1.PruneRun{numbered("-999999999")}, want: key.Name(1_000_000_000),
		},
		"the one after it is taken": {
			runs: []v1alpha1.PruneRun{numbered("-999999999"), numbered("-1000000000"), numbered("-1000000001")},
			want: key.Name(1_000_000_002),
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := key.NextName(freeSeats, tc.runs); got != tc.want {
				t.Errorf("next name = %s, want %s", got, tc.want)
			}
		})
	}
}

func TestNameOfTheNextEviction(t *testing.T) {
	key := prunerun.Key{Namespace: "chat", App: "prod", Group: "group"}
	runs := []v1alpha1.PruneRun{named(key.Name(7), 0)}
	for number, want := range []string{"prod-ad936fcbed631fa6-evict-1", "prod-ad936fcbed631fa6-evict-2"} {
		got := key.NextName(v1alpha1.PrunePurposeEvict, runs)
		if got != want || got != key.EvictName(uint64(number)+1) {
			t.Errorf("next name = %s, want %s", got, want)
		}
		runs = append(runs, named(got, 0))
	}
}

func TestGroupHash(t *testing.T) {
	// printf %s 'group' | sha256sum | cut -c1-16
	key := prunerun.Key{App: "prod", Group: "group"}
	if got, want := key.GroupHash(), "ad936fcbed631fa6"; got != want {
		t.Errorf("hash = %s, want %s", got, want)
	}
	if got, want := key.Name(3), "prod-ad936fcbed631fa6-3"; got != want {
		t.Errorf("name = %s, want %s", got, want)
	}
	if other := (prunerun.Key{App: "prod", Group: strings.ToUpper(key.Group)}); other.GroupHash() == key.GroupHash() {
		t.Errorf("two groups share the hash %s", key.GroupHash())
	}
}
