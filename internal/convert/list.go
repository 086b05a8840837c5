package convert

import (
	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/accounts"
	"github.com/groupgate/groupgate/internal/policy"
)

// packedMark stands before the accounts of a list that has been packed. It is not UTF-8, and so cannot come from the API:
// decoding puts U+FFFD in the place of every byte that is not. It is longer than an account may be, so that it cannot go
// there, either.
const packedMark = "\xff packed by Groupgate for its memory only"

// PackList puts the packed set of its accounts in the place of the accounts of a list that is to be kept: a million
// strings cost more than their bytes. A list that is packed stays as it is. Only [List] understands one, and it must never
// be written to the API.
func PackList(list *v1alpha1.AccountList) {
	list.Spec.Accounts = []string{packedMark, string(packedAccounts(list))}
}

// ShareAccounts lets a packed list keep its accounts where others hold them already, if they are the same: a list that
// comes again, with another status, would bring another copy of them.
func ShareAccounts(list *v1alpha1.AccountList, held accounts.Set) {
	if packedAccounts(list) == held {
		list.Spec.Accounts = []string{packedMark, string(held)}
	}
}

// List converts an AccountList, packed or not.
func List(list *v1alpha1.AccountList) policy.List {
	return policy.List{Object: object(list), Labels: list.Labels, Accounts: packedAccounts(list)}
}

func packedAccounts(list *v1alpha1.AccountList) accounts.Set {
	if listed := list.Spec.Accounts; len(listed) == 2 && listed[0] == packedMark {
		return accounts.Set(listed[1])
	}
	return accounts.NewSet(list.Spec.Accounts)
}
