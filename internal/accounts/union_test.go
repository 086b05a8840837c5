package accounts

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// editedSets are lists of accounts by name, of which a union was made again and again.
type editedSets struct {
	lists map[string][]string
	union *Union
}

func (e *editedSets) sets() []Named {
	var sets []Named
	for _, name := range slices.Sorted(maps.Keys(e.lists)) {
		if len(e.lists[name]) > 0 {
			sets = append(sets, Named{name, NewSet(e.lists[name])})
		}
	}
	return sets
}

// drawStretch draws some of all accounts that there are: lists overlap, and their sizes are far from each other.
func drawStretch(t *rapid.T) []string {
	n := rapid.SampledFrom([]int{0, 1, 2, 5, 50, 400, 1500}).Draw(t, "size")
	from := rapid.SampledFrom([]int{0, 1, 40, 300, 2000}).Draw(t, "from")
	return someNumbered[from : from+n]
}

var someNumbered = numbered("account", 0, 3500)

// TestUnionIsTheModel edits lists at random, and compares the union that was made from the one before with a plain map,
// and with a union made from nothing.
func TestUnionIsTheModel(t *testing.T) { rapid.Check(t, unitesAsTheModel) }

func FuzzUnion(f *testing.F) { f.Fuzz(rapid.MakeFuzz(unitesAsTheModel)) }

func unitesAsTheModel(t *rapid.T) {
	e := editedSets{lists: map[string][]string{}}
	name := func(label string) string { return fmt.Sprint("shard-", rapid.IntRange(0, 20).Draw(t, label)) }
	for range rapid.IntRange(0, 20).Draw(t, "lists") {
		e.lists[name("list")] = drawStretch(t)
	}
	for range rapid.IntRange(1, 8).Draw(t, "builds") {
		for range rapid.IntRange(0, 3).Draw(t, "edits") {
			e.edit(t, name)
		}
		sets := e.sets()
		e.union = NewUnion(sets, e.union)
		cold := NewUnion(sets, nil)
		if len(e.union.segments) != len(cold.segments) || e.union.entries != cold.entries {
			t.Fatalf("%d entries in %d parts, from nothing %d in %d", e.union.entries, len(e.union.segments),
				cold.entries, len(cold.segments))
		}
		want := map[string]bool{}
		for _, list := range e.lists {
			for _, account := range list {
				want[account] = true
			}
		}
		if e.union.entries != len(want) {
			t.Fatalf("%d accounts, want %d", e.union.entries, len(want))
		}
		for _, account := range slices.Concat(someNumbered, []string{"", "newcomer-1", "newcomer-2", "stranger"}) {
			hash := Hash(account)
			if got := e.union.Contains(account, hash); got != want[account] || cold.Contains(account, hash) != got {
				t.Fatalf("%q in the union: %t, in that from nothing: %t, want %t", account, got,
					cold.Contains(account, hash), want[account])
			}
		}
	}
}

func (e *editedSets) edit(t *rapid.T, name func(string) string) {
	edited := name("edited")
	switch rapid.IntRange(0, 3).Draw(t, "edit") {
	case 0:
		delete(e.lists, edited)
	case 1:
		e.lists[edited] = drawStretch(t)
	case 2:
		list := slices.Clone(e.lists[edited])
		if len(list) > 0 {
			list[rapid.IntRange(0, len(list)-1).Draw(t, "which")] = "newcomer-1"
		}
		e.lists[edited] = append(list, "newcomer-2")
	case 3:
		other := name("renamed")
		e.lists[other], e.lists[edited] = e.lists[edited], e.lists[other]
	}
}

// TestUnionComparesBytes asks with the hash of another account, as if the two collided, and with tags of hardly a bit.
func TestUnionComparesBytes(t *testing.T) {
	sets := shards(10, 300)
	u := NewUnion(sets, nil)
	if u.Contains("mallory", Hash("account-00000007")) {
		t.Error("a collision of hashes lets a stranger onto the list")
	}
	for _, placeBits := range []int{30, 31, 32} {
		crowded := &Union{places: sets, placeBits: placeBits, segmentBits: 2}
		for i := range 4 {
			crowded.segments = append(crowded.segments, crowded.segment(i))
		}
		for i, account := range numbered("account", 0, 4000) {
			if got, want := crowded.Contains(account, Hash(account)), i < 3000; got != want {
				t.Fatalf("%d bits of tag: %s in the union: %t, want %t", 32-placeBits, account, got, want)
			}
		}
	}
}

func TestUnionFindsAccountsOnSeveralLists(t *testing.T) {
	sets := shards(6, 100)
	twice := Named{"twice", NewSet(numbered("account", 50, 100))}
	u := NewUnion(append(sets, twice), nil)
	u = NewUnion(sets, u)
	if !has(sets[0].Accounts, "account-00000060") || !u.Contains("account-00000060", Hash("account-00000060")) {
		t.Error("an account has left a list, and is no longer found on the other one")
	}
	u = NewUnion(append(sets[1:], twice), u)
	for account, want := range map[string]bool{"account-00000060": true, "account-00000040": false} {
		if u.Contains(account, Hash(account)) != want {
			t.Errorf("%s in the union: %t, want %t", account, !want, want)
		}
	}
}

// TestUnionOfEqualSets has every account on every list.
func TestUnionOfEqualSets(t *testing.T) {
	sets := make([]Named, 100)
	for i := range sets {
		sets[i] = Named{fmt.Sprint(i), NewSet(numbered("account", 0, 1000))}
	}
	u := NewUnion(sets, nil)
	slots := 0
	for _, part := range u.segments {
		slots += len(part.table)
	}
	if u.entries != 1000 || slots > 1500 {
		t.Errorf("%d entries in %d slots for 1000 accounts", u.entries, slots)
	}
}

// TestUnionSharesSegments counts what an edit makes again.
func TestUnionSharesSegments(t *testing.T) {
	sets := shards(8, 20_000)
	u := NewUnion(sets, nil)
	steps := []struct {
		name string
		sets func() []Named
		most int
	}{
		{"nothing edited", func() []Named { return sets }, 0},
		{"one account of a list replaced", func() []Named {
			accounts := numbered("account", 3*20_000, 20_000)
			accounts[77] = "newcomer"
			sets[4].Accounts = NewSet(accounts)
			return sets
		}, 2},
		{"two lists edited", func() []Named {
			sets[4].Accounts = NewSet(numbered("account", 3*20_000, 20_000))
			sets[7].Accounts = NewSet(numbered("account", 6*20_000, 19_999))
			return sets
		}, 3},
		{"a small list gone", func() []Named { return sets[1:] }, 10},
		{"a small list come", func() []Named { return sets }, 10},
	}
	sets = append([]Named{{"founders", NewSet(numbered("founder", 0, 10))}}, sets...)
	u = NewUnion(sets, u)
	for _, step := range steps {
		before := u
		u = NewUnion(step.sets(), before)
		made := 0
		for i := range u.segments {
			if &u.segments[i].table[0] != &before.segments[i].table[0] {
				made++
			}
		}
		if len(u.segments) != 256 || made > step.most {
			t.Errorf("%s: %d of %d parts were made again, want at most %d of 256", step.name, made, len(u.segments),
				step.most)
		}
	}
}

func shards(n, each int) []Named {
	sets := make([]Named, n)
	for i := range sets {
		sets[i] = Named{fmt.Sprintf("shard-%06d", i), NewSet(numbered("account", i*each, each))}
	}
	return sets
}

func BenchmarkUnion(b *testing.B) {
	const each = 20_000
	sets := shards(500, each)
	b.Run("Build", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			NewUnion(sets, nil)
		}
	})
	u := NewUnion(sets, nil)
	b.Run("OneAccountEdited", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			i++
			accounts := numbered("account", 7*each, each)
			accounts[each/2] = fmt.Sprintf("newcomer-%08d", i)
			sets[7].Accounts = NewSet(accounts)
			u = NewUnion(sets, u)
		}
	})
	sets[7].Accounts = NewSet(numbered("account", 7*each, each))
	u = NewUnion(sets, u)
	listed, strangers := numbered("account", 0, 1<<16), numbered("strange", 0, 1<<16)
	for i := range listed {
		listed[i] = fmt.Sprintf("account-%08d", (i*7919)%(500*each))
	}
	for name, asked := range map[string][]string{"Listed": listed, "Stranger": strangers} {
		b.Run(name, func(b *testing.B) {
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				i++
				account := asked[i%len(asked)]
				if u.Contains(account, Hash(account)) != (name == "Listed") {
					b.Fatal("wrong")
				}
			}
		})
	}
}
