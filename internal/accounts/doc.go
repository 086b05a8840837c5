// Package accounts holds sets of accounts: millions of them in little more memory than their bytes, exact, and asked
// without an allocation. It knows no rule.
//
// A [Set] is one list of accounts, packed into a string that is its own index. A [Union] is an index over many sets: it
// names the few that may hold an account, so that they are not asked one after the other. [Prefixes] is a set given by
// beginnings of accounts. A [Dedup] finds the accounts of one long list that came before.
//
// [Hash] is computed once per question and passed to every set that is asked. A Set and a Union never rely on a hash
// alone: every answer compares all bytes of an account.
package accounts
