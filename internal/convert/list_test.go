package convert_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/json"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/accounts"
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/policy"
)

func newList(accounts ...string) *v1alpha1.AccountList {
	list := &v1alpha1.AccountList{ObjectMeta: meta("vip"), Spec: v1alpha1.AccountListSpec{Accounts: accounts}}
	list.Labels = map[string]string{"list": "vip"}
	return list
}

func TestList(t *testing.T) {
	packed := newList("jared", "tommy", "jared")
	convert.PackList(packed)
	again := packed.DeepCopy()
	convert.PackList(again)
	want := policy.List{Object: identity("vip"), Labels: map[string]string{"list": "vip"}, Accounts: accounts.NewSet([]string{"jared", "tommy"})}
	for name, list := range map[string]*v1alpha1.AccountList{"AsDecoded": newList("jared", "tommy", "jared"), "Packed": packed, "PackedTwice": again} {
		if diff := cmp.Diff(want, convert.List(list)); diff != "" {
			t.Errorf("%s (-want,+got):\n%s", name, diff)
		}
	}
}

func TestPackedEmptyList(t *testing.T) {
	list := newList()
	convert.PackList(list)
	convert.PackList(list)
	if got := convert.List(list).Accounts; got.Len() != 0 {
		t.Errorf("%d accounts", got.Len())
	}
}

// Whatever the API has is a list of accounts, even if somebody has put there what this process keeps in memory.
func TestNothingFromTheAPIIsTakenForPacked(t *testing.T) {
	packed := newList("jared", "tommy")
	convert.PackList(packed)
	raw := []byte(`{"spec":{"accounts":["`)
	raw = append(raw, packed.Spec.Accounts[0]...)
	raw = append(raw, `","jared"]}}`...)
	encoded, err := json.Marshal(packed)
	if err != nil {
		t.Fatal(err)
	}
	for name, document := range map[string][]byte{
		"Bytes":   raw,
		"Escaped": []byte(`{"spec":{"accounts":["\u00ff","jared"]}}`),
		"Half":    []byte(`{"spec":{"accounts":["\ud8ff","jared"]}}`),
		"Encoded": encoded,
	} {
		var list v1alpha1.AccountList
		if err := json.Unmarshal(document, &list); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		written := slices.Clone(list.Spec.Accounts)
		convert.PackList(&list)
		if got, want := convert.List(&list).Accounts, accounts.NewSet(written); got != want || got.Len() != 2 {
			t.Errorf("%s: %q is taken for %d accounts", name, written, got.Len())
		}
	}
}
