package lists

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// FieldManager is the field manager of all writes.
const FieldManager = "groupgate-lists"

// maxBytes is how many bytes the accounts of a shard may have as JSON. etcd stores a shard up to three times for one
// edit, as statuses follow the accounts, and the goal for that is 64 KiB. 16 KiB are 862 accounts of 16 characters.
const maxBytes = 16 << 10

// splitNo is AnnotationSplit of a shard that takes accounts.
const splitNo = "no"

// digitsOf are the first n digits of an account.
func digitsOf(account string, n int) string {
	sum := sha256.Sum256([]byte(account))
	return hex.EncodeToString(sum[:(n+1)/2])[:n]
}

// maxDigits are enough for a list of hundreds of millions of accounts.
const maxDigits = 5

// shardName is the name of the AccountList of the shard with those digits. Names of lists have no dot, so that the
// shards of two lists never have the same name.
func (l *List) shardName(digits string) string {
	if digits == "" {
		return l.Name
	}
	return l.Name + "." + digits
}

// jsonBytes is how many bytes accounts have in a JSON list.
func jsonBytes(accounts []string) (n int) {
	for _, account := range accounts {
		quoted, err := json.Marshal(account)
		if err != nil { // never of a string
			continue
		}
		n += len(quoted) + len(",")
	}
	return n
}

// digitsFor is how many digits the shards need that take over bytes from one that has the given number of digits. They
// are filled to three quarters at most, so that the next accounts do not split them again.
func (l *List) digitsFor(bytes, digits int) int {
	for digits++; digits < maxDigits && bytes > 16*l.max()*3/4; digits++ {
		bytes /= 16
	}
	return digits
}

func (l *List) max() int {
	if l.maxBytes == 0 {
		return maxBytes
	}
	return l.maxBytes
}

// splitInto is how many digits the shards have that took over from this one, or are about to; 0 if it takes accounts.
func splitInto(shard *v1alpha1.AccountList, digits string) (int, error) {
	switch text := shard.Annotations[v1alpha1.AnnotationSplit]; text {
	case "", splitNo:
		return 0, nil
	default:
		n, err := strconv.Atoi(text)
		if err != nil || n <= len(digits) || n > maxDigits {
			return 0, fmt.Errorf("AccountList %s has the annotation %s=%q: it is written by `groupgate lists` alone",
				shard.Name, v1alpha1.AnnotationSplit, text)
		}
		return n, nil
	}
}

// foreign says why a shard is not one of this package; "" if it is one. parent is the UID of the shard that it was
// split from.
func (l *List) foreign(shard *v1alpha1.AccountList, parent string) string {
	if shard.Labels[v1alpha1.LabelManagedList] != l.Name {
		return fmt.Sprintf("lacks the label %s=%s", v1alpha1.LabelManagedList, l.Name)
	}
	for _, entry := range shard.ManagedFields {
		if entry.Operation == metav1.ManagedFieldsOperationApply && entry.Manager != FieldManager &&
			entry.Subresource == "" && ownsAccounts(entry.FieldsV1) {
			return fmt.Sprintf("is applied by %q, too", entry.Manager)
		}
	}
	if shard.Annotations[v1alpha1.AnnotationSplitFrom] != parent {
		return whyLeft
	}
	return ""
}

// whyLeft says why a shard is foreign that took over from one which is not there any more.
const whyLeft = "is left from a list of this name of which other AccountLists were deleted"

func ownsAccounts(fields *metav1.FieldsV1) bool {
	var owned struct {
		Spec map[string]any `json:"f:spec"`
	}
	if fields == nil || json.Unmarshal(fields.GetRawBytes(), &owned) != nil {
		return false
	}
	_, owns := owned.Spec["f:accounts"]
	return owns
}

// changes are accounts to add and to remove.
type changes struct{ add, remove []string }

func (c changes) empty() bool { return len(c.add)+len(c.remove) == 0 }

// split sorts changes by the first digits of the accounts.
func (c changes) split(digits int) map[string]changes {
	parts := map[string]changes{}
	for _, account := range c.add {
		part := parts[digitsOf(account, digits)]
		part.add = append(part.add, account)
		parts[digitsOf(account, digits)] = part
	}
	for _, account := range c.remove {
		part := parts[digitsOf(account, digits)]
		part.remove = append(part.remove, account)
		parts[digitsOf(account, digits)] = part
	}
	return parts
}

// apply returns accounts after the changes, sorted and each once, and how many were added and removed.
func (c changes) apply(accounts []string) (after []string, added, removed int) {
	is := make(map[string]bool, len(accounts))
	for _, account := range accounts {
		is[account] = true
	}
	for _, account := range c.add {
		if !is[account] {
			is[account] = true
			added++
		}
	}
	for _, account := range c.remove {
		if is[account] {
			delete(is, account)
			removed++
		}
	}
	after = make([]string, 0, len(is))
	for account := range is {
		after = append(after, account)
	}
	slices.SortFunc(after, strings.Compare)
	return after, added, removed
}
