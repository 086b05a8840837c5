package prunerun

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// Key names one group of one IMApp.
type Key struct{ Namespace, App, Group string }

// KeyOf returns the group that run is about.
func KeyOf(run *v1alpha1.PruneRun) Key {
	return Key{Namespace: run.Namespace, App: run.Spec.AppRef.Name, Group: run.Spec.GroupID}
}

// AppName names the IMApp of the group.
func (k Key) AppName() types.NamespacedName {
	return types.NamespacedName{Namespace: k.Namespace, Name: k.App}
}

// AppAndGroup tells the groups of one namespace apart. Names of apps hold no slash, so that no two groups share a
// value.
func (k Key) AppAndGroup() string { return k.App + "/" + k.Group }

// GroupHash stands for the group in names and labels of runs: ids of groups fit into neither.
func (k Key) GroupHash() string {
	sum := sha256.Sum256([]byte(k.Group))
	return hex.EncodeToString(sum[:8])
}

// Name returns the name of the group's run of that number which frees seats.
func (k Key) Name(number uint64) string { return k.numbered(v1alpha1.PrunePurposeFreeSeats, number) }

// EvictName returns the name of the group's run of that number which evicts members. They are counted apart.
func (k Key) EvictName(number uint64) string { return k.numbered(v1alpha1.PrunePurposeEvict, number) }

// maxNumber bounds the numbers that count: a name made by hand with a higher one must not end the count of its group.
const maxNumber = 1_000_000_000

// NextName returns the name of the next run with this purpose. Its number is one more than the highest among the names
// of runs with the purpose, and the first after that which none of them has. Numbers from maxNumber on and names of
// another form do not count.
func (k Key) NextName(purpose v1alpha1.PrunePurpose, runs []v1alpha1.PruneRun) string {
	highest, prefix := uint64(0), k.namePrefix(purpose)
	taken := make(map[string]struct{}, len(runs))
	for i := range runs {
		taken[runs[i].Name] = struct{}{}
		text, ok := strings.CutPrefix(runs[i].Name, prefix)
		if !ok {
			continue
		}
		if number, err := strconv.ParseUint(text, 10, 64); err == nil && number < maxNumber {
			highest = max(highest, number)
		}
	}
	for next := highest + 1; ; next++ {
		name := k.numbered(purpose, next)
		if _, has := taken[name]; !has {
			return name
		}
	}
}

func (k Key) numbered(purpose v1alpha1.PrunePurpose, number uint64) string {
	return k.namePrefix(purpose) + strconv.FormatUint(number, 10)
}

func (k Key) namePrefix(purpose v1alpha1.PrunePurpose) string {
	prefix := k.App + "-" + k.GroupHash() + "-"
	if purpose == v1alpha1.PrunePurposeEvict {
		prefix += "evict-"
	}
	return prefix
}
