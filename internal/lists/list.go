package lists

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// List is a list of accounts in a namespace. Its methods may be called side by side, also by several processes.
type List struct {
	// Client reads and writes past all caches.
	Client    client.Client
	Namespace string
	Name      string
	// Adopt has Sync take over foreign shards. Without it they are an error.
	Adopt bool
	// Force lets more than a tenth of the list be removed.
	Force bool
	// DryRun writes nothing, and returns what would be done.
	DryRun bool

	maxBytes int // of a shard; 0 is the default

	// looked is when no foreign shards were found, in ns since 1970. It is atomic without being a type that must not be
	// copied, as a List may be. See refuseForeign.
	looked int64
}

// Result is what a change did, or would do.
type Result struct {
	// Added and Removed count accounts. What was on the list, or was not, as wanted, does not count.
	Added, Removed int
	// Shards are the names of the AccountLists that were written, ordered.
	Shards []string
	// Total is how many accounts the list had before; -1 if that was not read.
	Total int
}

// ForeignError says that AccountLists are in the way that something else keeps.
type ForeignError struct {
	List   string
	Shards []string
	Why    string // of the first one
}

// Error implements error.
func (e *ForeignError) Error() string {
	more := ""
	if n := len(e.Shards) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more like it)", n)
	}
	return fmt.Sprintf("AccountList %s%s is not kept by `groupgate lists`: it %s. If nothing else is to keep it any "+
		"more, take over its accounts with `groupgate lists sync %s --from FILE --adopt`",
		e.Shards[0], more, e.Why, e.List)
}

// RemovalError says that a change would remove more than a tenth of a list.
type RemovalError struct {
	List           string
	Removed, Total int
}

// Error implements error.
func (e *RemovalError) Error() string {
	return fmt.Sprintf("this would remove %d of the %d accounts of %s, which is more than 10 %%: nothing was written. "+
		"If that is meant, say --force", e.Removed, e.Total, e.List)
}

// ValidateName says what is wrong with the name of a list.
func ValidateName(name string) error {
	if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
		return fmt.Errorf("%q cannot be the name of a list: %s", name, problems[0])
	}
	return nil
}

func (l *List) edit() *edit {
	return &edit{
		List: l, known: map[string]*v1alpha1.AccountList{}, asked: map[string]bool{}, written: map[string]bool{},
		result: Result{Total: -1},
	}
}

func (e *edit) done(err error) (Result, error) {
	e.result.Shards = slices.Sorted(maps.Keys(e.written))
	return e.result, err
}

// Add adds accounts. With an error, the result is what was done before.
func (l *List) Add(ctx context.Context, accounts []string) (Result, error) {
	e, whole := l.edit(), task{changes: changes{add: accounts}}
	if l.DryRun {
		err := e.look(ctx, whole)
		return e.done(err)
	}
	return e.done(each(ctx, []task{whole}, e.carryOut))
}

// Remove removes accounts, unless foreign shards may have them, too. With an error, the result is what was done before.
func (l *List) Remove(ctx context.Context, accounts []string) (Result, error) {
	e, whole := l.edit(), task{changes: changes{remove: accounts}}
	if err := e.refuseForeign(ctx); err != nil {
		return e.done(err)
	}
	if err := e.look(ctx, whole); err != nil {
		return e.done(err)
	}
	first, into := e.known[l.Name], 0
	if first != nil {
		into, _ = splitInto(first, "") // look has returned its error
	}
	if into == 0 {
		if err := e.refuseLeft(ctx, first); err != nil {
			return e.done(err)
		}
	}
	// One account may always be removed: it was named.
	if removed := e.result.Removed; removed > 1 && tooMany(removed, e.result.Total) && !l.Force {
		// Total is that of the shards that were read. All of them together may have ten times as many accounts.
		all, err := l.read(ctx)
		if err != nil {
			return e.done(err)
		}
		if tooMany(removed, len(all.accounts)) {
			return Result{Total: -1}, &RemovalError{List: l.Name, Removed: removed, Total: len(all.accounts)}
		}
	}
	e.result.Total = -1
	if l.DryRun {
		return e.done(nil)
	}
	e.result.Removed = 0
	return e.done(each(ctx, []task{whole}, e.carryOut))
}

// tooMany reports whether that is more than a tenth.
func tooMany(removed, total int) bool { return 10*removed > total }

// look reads the shards of a task, and counts what it would change. Total counts the accounts that were read.
func (e *edit) look(ctx context.Context, t task) error {
	e.result.Total = 0
	return each(ctx, []task{t}, func(ctx context.Context, t task) ([]task, error) {
		name, from := e.shardName(t.digits), cached
		if e.DryRun {
			from = current
		}
		shard, err := e.read(ctx, t, from)
		if err != nil {
			return nil, err
		}
		e.mu.Lock()
		e.known[name], e.asked[name] = shard, false
		e.mu.Unlock()
		accounts := []string{}
		if shard != nil {
			if why := e.foreign(shard, t.parent); why != "" && !e.Adopt {
				return nil, &ForeignError{List: e.Name, Shards: []string{name}, Why: why}
			}
			into, err := splitInto(shard, t.digits)
			if err != nil {
				return nil, err
			}
			accounts = shard.Spec.Accounts
			if into > 0 && len(accounts) == 0 {
				return t.below(shard, into), nil
			}
		}
		_, added, removed := t.apply(accounts)
		e.count(added, removed)
		e.mu.Lock()
		defer e.mu.Unlock()
		e.result.Total += len(accounts)
		return nil, nil
	})
}

// unmanaged selects the AccountLists that policies take for the list, and that lack the label of its shards.
func (l *List) unmanaged() labels.Selector {
	selector := labels.Set{v1alpha1.LabelList: l.Name}.AsSelector()
	other, err := labels.NewRequirement(v1alpha1.LabelManagedList, selection.NotEquals, []string{l.Name})
	if err != nil { // the name is no value of a label: see ValidateName
		return labels.Nothing()
	}
	return selector.Add(*other)
}

// lookAgain is how long it is taken for granted that there are no foreign shards. To look, the API server goes through
// all AccountLists of the namespace, which costs more than the removal of an account.
const lookAgain = time.Second

// refuseForeign fails if policies select AccountLists by the label of the list that are foreign.
func (e *edit) refuseForeign(ctx context.Context) error {
	last, now := atomic.LoadInt64(&e.looked), time.Now().UnixNano()
	if now-last < int64(lookAgain) || last > 0 && !atomic.CompareAndSwapInt64(&e.looked, last, now) {
		return nil // others have looked, or are about to
	}
	names, err := e.names(ctx, e.unmanaged())
	if err == nil && len(names) == 0 {
		atomic.StoreInt64(&e.looked, now)
	} else {
		atomic.StoreInt64(&e.looked, 0)
	}
	if err != nil || len(names) == 0 {
		return err
	}
	why := fmt.Sprintf("lacks the label %s=%s", v1alpha1.LabelManagedList, e.Name)
	return &ForeignError{List: e.Name, Shards: names, Why: why}
}

// refuseLeft fails if there are shards beside the first one, which is nil or was not split: somebody has deleted the
// one that they took over from.
func (e *edit) refuseLeft(ctx context.Context, first *v1alpha1.AccountList) error {
	names, err := e.names(ctx, labels.Set{v1alpha1.LabelManagedList: e.Name}.AsSelector())
	if first != nil {
		names = slices.DeleteFunc(names, func(name string) bool { return name == first.Name })
	}
	if err != nil || len(names) == 0 {
		return err
	}
	e.asked[e.Name] = true // what is known of it is first
	now, _, err := e.get(ctx, e.Name, current)
	if err != nil {
		return err
	}
	if version(now) != version(first) {
		return nil // another writer has split it meanwhile
	}
	return &ForeignError{List: e.Name, Shards: names, Why: whyLeft}
}

func version(shard *v1alpha1.AccountList) string {
	if shard == nil {
		return ""
	}
	return shard.ResourceVersion
}

// names returns the names of the AccountLists that have the labels.
func (e *edit) names(ctx context.Context, selector labels.Selector) (names []string, _ error) {
	found := &metav1.PartialObjectMetadataList{}
	found.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("AccountListList"))
	// From the cache of the API server: nobody can tell such a list from one that was made a moment later.
	err := e.Client.List(ctx, found, &client.ListOptions{
		Namespace: e.Namespace, LabelSelector: selector, Raw: &metav1.ListOptions{ResourceVersion: "0"},
	})
	if err != nil {
		return nil, fmt.Errorf("look for other AccountLists of the list: %w", err)
	}
	for i := range found.Items {
		names = append(names, found.Items[i].Name)
	}
	return names, nil
}

// state is a whole list, as it was read at one moment.
type state struct {
	shards  map[string]*v1alpha1.AccountList // by name
	foreign []*v1alpha1.AccountList          // ordered by name
	// kept are the accounts on the shards that are not foreign, accounts those on all of them.
	kept, accounts map[string]bool
}

// read reads all AccountLists that policies take for the list, and then all shards of it. The shards are those of one
// moment: of a list that another writer splits, a shard is not there as it was before and with those that took over.
func (l *List) read(ctx context.Context) (*state, error) {
	s := &state{shards: map[string]*v1alpha1.AccountList{}, kept: map[string]bool{}, accounts: map[string]bool{}}
	shards := labels.Set{v1alpha1.LabelManagedList: l.Name}.AsSelector()
	for _, selector := range []labels.Selector{l.unmanaged(), shards} {
		for token := ""; ; {
			var page v1alpha1.AccountListList
			err := l.Client.List(ctx, &page, client.InNamespace(l.Namespace),
				client.MatchingLabelsSelector{Selector: selector}, client.Limit(500), client.Continue(token))
			if err != nil {
				return nil, fmt.Errorf("read the list %s: %w", l.Name, err)
			}
			for i := range page.Items {
				s.shards[page.Items[i].Name] = &page.Items[i]
			}
			if token = page.Continue; token == "" {
				break
			}
		}
	}
	reached := map[string]bool{}
	if err := s.reach(l, "", "", reached); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(s.shards)) {
		shard := s.shards[name]
		if !reached[name] {
			s.foreign = append(s.foreign, shard)
		}
		for _, account := range shard.Spec.Accounts {
			s.accounts[account] = true
			if reached[name] {
				s.kept[account] = true
			}
		}
	}
	return s, nil
}

// reach finds the shards that are not foreign, from the first one on.
func (s *state) reach(l *List, digits, parent string, reached map[string]bool) error {
	shard := s.shards[l.shardName(digits)]
	if shard == nil {
		return nil
	}
	if why := l.foreign(shard, parent); why != "" {
		return nil
	}
	reached[shard.Name] = true
	into, err := splitInto(shard, digits)
	if err != nil || into == 0 {
		return err
	}
	for i := range 1 << (4 * max(0, into-len(digits))) {
		below := fmt.Sprintf("%s%0*x", digits, into-len(digits), i)
		err = errors.Join(err, s.reach(l, below, string(shard.UID), reached))
	}
	return err
}

// Difference is what Sync would change.
type Difference struct {
	// Add and Remove are ordered.
	Add, Remove []string
	// Total is how many accounts the list has.
	Total int
}

func (s *state) difference(accounts []string) Difference {
	wanted, d := make(map[string]bool, len(accounts)), Difference{Total: len(s.accounts)}
	for _, account := range accounts {
		if wanted[account] = true; !s.accounts[account] {
			d.Add = append(d.Add, account)
		}
	}
	for account := range s.accounts {
		if !wanted[account] {
			d.Remove = append(d.Remove, account)
		}
	}
	slices.Sort(d.Add)
	slices.Sort(d.Remove)
	return d
}

// Diff compares the list with accounts, each of which is there once.
func (l *List) Diff(ctx context.Context, accounts []string) (Difference, error) {
	s, err := l.read(ctx)
	if err != nil {
		return Difference{}, err
	}
	return s.difference(accounts), nil
}

// Sync makes the list what accounts are, each of which is there once. What others add or remove meanwhile stays added
// or removed. With an error, the result is what was done before.
func (l *List) Sync(ctx context.Context, accounts []string) (Result, error) {
	e := l.edit()
	s, err := l.read(ctx)
	if err != nil {
		return e.done(err)
	}
	d := s.difference(accounts)
	e.result.Total = d.Total
	if len(s.foreign) > 0 && !l.Adopt {
		return e.done(s.foreignError(l))
	}
	for _, shard := range s.foreign {
		if shard.Name == l.Name {
			continue // it becomes the first shard
		}
		if err := e.mayMove(ctx, shard.Name, shard.Labels, "is to be taken over", "deleted"); err != nil {
			return e.done(err)
		}
	}
	if tooMany(len(d.Remove), d.Total) && !l.Force {
		return e.done(&RemovalError{List: l.Name, Removed: len(d.Remove), Total: d.Total})
	}
	if l.DryRun {
		e.result.Added, e.result.Removed = len(d.Add), len(d.Remove)
		return e.done(nil)
	}
	// What only foreign shards have is added before they are deleted.
	whole := task{changes: changes{remove: d.Remove}}
	for _, account := range accounts {
		if !s.kept[account] {
			whole.add = append(whole.add, account)
		}
	}
	if !whole.empty() {
		e.known, e.complete = s.shards, true
		if err := each(ctx, []task{whole}, e.carryOut); err != nil {
			return e.done(err)
		}
	}
	e.result.Added, e.result.Removed = len(d.Add), len(d.Remove)
	for _, shard := range s.foreign {
		if e.written[shard.Name] {
			continue // it is a shard of ours now
		}
		precondition := client.Preconditions{UID: &shard.UID, ResourceVersion: &shard.ResourceVersion}
		err := l.Client.Delete(ctx, shard, precondition)
		if client.IgnoreNotFound(err) != nil {
			return e.done(fmt.Errorf("delete AccountList %s, whose accounts were taken over: %w", shard.Name, err))
		}
		e.written[shard.Name] = true
	}
	return e.done(nil)
}

func (s *state) foreignError(l *List) error {
	err := &ForeignError{List: l.Name}
	for _, shard := range s.foreign {
		err.Shards = append(err.Shards, shard.Name)
	}
	first := s.foreign[0]
	if err.Why = l.foreign(first, first.Annotations[v1alpha1.AnnotationSplitFrom]); err.Why == "" {
		err.Why = whyLeft
	}
	return err
}
