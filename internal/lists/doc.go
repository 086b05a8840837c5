// Package lists keeps a list of accounts of any length as AccountLists, so that the edit of one account writes one
// small object, and writers that run side by side lose nothing.
//
// Vocabulary:
//
//   - A list has a name, and consists of shards: AccountLists that policies select by the label list=NAME.
//   - The digits of an account are the SHA-256 of its bytes in hexadecimal. A shard holds the accounts whose digits
//     begin with those that its own name ends in: vip is the first shard of the list vip and has none, vip.3f has two.
//   - A shard that has grown too large is split: it is closed, so that its accounts do not change any more, the shards
//     with more digits are created from it, and then it is emptied and loses its label. It stays, and says how many
//     digits the shards have that took over. Whoever finds a closed shard finishes that.
//   - A shard is foreign if something else than this package keeps it.
//
// docs/adr/0012-a-list-is-a-tree-of-shards.md says why no account is ever missing meanwhile.
package lists
