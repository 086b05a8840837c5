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

// Name returns the name of the group's run of that number.
func (k Key) Name(number uint64) string { return k.namePrefix() + strconv.FormatUint(number, 10) }

// maxNumber bounds the numbers that count: a name made by hand with a higher one must not end the count of its group.
const maxNumber = 1_000_000_000

// NextNumber is one more than the highest number among the names of runs, and the first after that which none of them
// has. Numbers from maxNumber on and names of another form do not count.
func (k Key) NextNumber(runs []v1alpha1.PruneRun) uint64 {
	highest, prefix := uint64(0), k.namePrefix()
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
		if _, has := taken[k.Name(next)]; !has {
			return next
		}
	}
}

func (k Key) namePrefix() string { return k.App + "-" + k.GroupHash() + "-" }
