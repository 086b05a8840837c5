package convert_test

import (
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation"

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
	convert.PackList(packed, "")
	again := packed.DeepCopy()
	convert.PackList(again, "")
	want := policy.List{
		Object: identity("vip"), Labels: map[string]string{"list": "vip"},
		Accounts: accounts.NewSet([]string{"jared", "tommy"}),
	}
	for name, list := range map[string]*v1alpha1.AccountList{
		"AsDecoded": newList("jared", "tommy", "jared"), "Packed": packed, "PackedTwice": again,
	} {
		if diff := cmp.Diff(want, convert.List(list)); diff != "" {
			t.Errorf("%s (-want,+got):\n%s", name, diff)
		}
	}
	empty := newList()
	convert.PackList(empty, "")
	convert.PackList(empty, "")
	if got := convert.List(empty).Accounts.Len(); got != 0 {
		t.Errorf("an empty list has %d accounts", got)
	}
}

// A reader of the API's fields must not take packed data for accounts, and nothing that the API can hold is taken for
// packed data.
func TestPackedDataIsNoAccount(t *testing.T) {
	packed := newList("jared", "tommy")
	convert.PackList(packed, "")
	if packed.Spec.Accounts != nil {
		t.Errorf("a packed list has the accounts %q", packed.Spec.Accounts)
	}
	for name := range packed.Annotations {
		if problems := validation.IsQualifiedName(name); len(problems) == 0 {
			t.Errorf("the API accepts an annotation of the name %q", name)
		}
	}
}

func TestPackedListSharesMemory(t *testing.T) {
	held := accounts.NewSet([]string{"jared", "tommy"})
	memory := func(set accounts.Set) *byte { return unsafe.StringData(string(set)) }
	for name, tc := range map[string]struct {
		accounts []string
		want     bool
	}{"SameAccounts": {[]string{"jared", "tommy"}, true}, "OtherAccounts": {[]string{"jared", "ann"}, false}} {
		list := newList(tc.accounts...)
		convert.PackList(list, held)
		if got := memory(convert.List(list).Accounts) == memory(held); got != tc.want {
			t.Errorf("%s: shared: %t, want %t", name, got, tc.want)
		}
	}
}
