package convert

import (
	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/accounts"
	"github.com/groupgate/groupgate/internal/policy"
)

// packedAccounts is the annotation in which a packed list holds its accounts. The API accepts no space in the name of
// an annotation: no list comes from the API with it, and a packed list cannot be written to the API.
const packedAccounts = "packed accounts"

// PackList packs the accounts of a list that is to be cached: a million strings cost several times their bytes. Only
// [List] reads them; spec.accounts is nil then, which the API never returns, since the field is required. Other
// annotations are dropped. Packing a packed list changes nothing.
//
// If held, which may be empty, has the same accounts, the list shares its memory.
func PackList(list *v1alpha1.AccountList, held accounts.Set) {
	set := accountsOf(list)
	if set == held {
		set = held
	}
	list.Spec.Accounts = nil
	list.Annotations = map[string]string{packedAccounts: string(set)}
}

// List converts an AccountList, packed or not.
func List(list *v1alpha1.AccountList) policy.List {
	return policy.List{Object: object(list), Labels: list.Labels, Accounts: accountsOf(list)}
}

func accountsOf(list *v1alpha1.AccountList) accounts.Set {
	if packed, ok := list.Annotations[packedAccounts]; ok {
		return accounts.Set(packed)
	}
	return accounts.NewSet(list.Spec.Accounts)
}
