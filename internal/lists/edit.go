package lists

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

const (
	// parallel is how many requests are under way at a time.
	parallel = 16
	// absent is the resourceVersion with which an apply creates a shard and never changes one: the API server compares
	// it with that of the object, if there is one, and no object has it.
	absent = "1"
	// maxPause bounds the time that a writer waits after another one was faster.
	maxPause = 250 * time.Millisecond
)

// edit is one change of a list, from its first read to its last write.
type edit struct {
	*List

	mu sync.Mutex
	// policies are those of the namespace; nil until they were read.
	policies *v1alpha1.GroupPolicyList
	// known are shards as they were read before, by name; nil for one that did not exist. Each is used once, and is
	// asked for after that. complete says that no others existed, and that they were not read from a cache.
	known    map[string]*v1alpha1.AccountList
	complete bool
	asked    map[string]bool
	written  map[string]bool
	result   Result
}

// task is a change of the accounts that begin with some digits.
type task struct {
	digits string
	// parent is the UID of the shard that was split into this one.
	parent string
	changes
}

// each runs step for the tasks, then for those that step returns, and so on.
func each(ctx context.Context, tasks []task, step func(context.Context, task) ([]task, error)) error {
	for len(tasks) > 0 {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(parallel)
		next := make([][]task, len(tasks))
		for i, t := range tasks {
			g.Go(func() (err error) {
				next[i], err = step(ctx, t)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		tasks = slices.Concat(next...)
	}
	return nil
}

// below are the tasks for the shards that took over from one.
func (t task) below(shard *v1alpha1.AccountList, digits int) []task {
	var tasks []task
	for prefix, part := range t.split(digits) {
		tasks = append(tasks, task{digits: prefix, parent: string(shard.UID), changes: part})
	}
	return tasks
}

// source is where a shard is read from.
type source int

const (
	// cached is the cache of the API server: a read from it costs a fraction, and may be old.
	cached source = iota
	// current is etcd.
	current
)

// get reads a shard; nil if there is none. It returns where that was read from.
func (e *edit) get(ctx context.Context, name string, from source) (*v1alpha1.AccountList, source, error) {
	e.mu.Lock()
	shard, known := e.known[name]
	known = (known || e.complete) && !e.asked[name]
	e.asked[name] = true
	e.mu.Unlock()
	if known {
		if e.complete {
			from = current
		}
		return shard, from, nil
	}
	var options []client.GetOption
	if from == cached {
		options = append(options, &client.GetOptions{Raw: &metav1.GetOptions{ResourceVersion: "0"}})
	}
	shard = &v1alpha1.AccountList{}
	err := e.Client.Get(ctx, types.NamespacedName{Namespace: e.Namespace, Name: name}, shard, options...)
	if apierrors.IsNotFound(err) {
		return nil, from, nil
	}
	if err != nil {
		return nil, from, fmt.Errorf("read AccountList %s: %w", name, err)
	}
	return shard, from, nil
}

// read reads the shard of a task, from a cache if the task can do with that: it goes on to other shards, of a split
// that stays as it is, or writes this one, which fails if it was old. Nothing else is concluded from what may be old,
// above all not that nothing is to be done.
func (e *edit) read(ctx context.Context, t task, from source) (*v1alpha1.AccountList, error) {
	name := e.shardName(t.digits)
	shard, from, err := e.get(ctx, name, from)
	if err != nil || from == current || e.canBeOld(t, shard) {
		return shard, err
	}
	shard, _, err = e.get(ctx, name, current)
	return shard, err
}

func (e *edit) canBeOld(t task, shard *v1alpha1.AccountList) bool {
	if shard == nil || e.foreign(shard, t.parent) != "" {
		return false
	}
	switch into, err := splitInto(shard, t.digits); {
	case err != nil:
		return false
	case into > 0:
		return len(shard.Spec.Accounts) == 0
	}
	_, added, removed := t.apply(shard.Spec.Accounts)
	return added+removed > 0
}

// carryOut makes the changes of a task in its shard, and returns those that belong to others.
func (e *edit) carryOut(ctx context.Context, t task) ([]task, error) {
	from := cached
	for pause := time.Millisecond; ; pause = min(2*pause, maxPause) {
		below, err := e.try(ctx, t, from)
		if !apierrors.IsConflict(err) {
			return below, err
		}
		from = current
		// Another writer was faster. Writers that wait equally long would meet again.
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(time.Duration(rand.Int64N(int64(pause)) + 1)): //nolint:gosec // a pause is no secret
		}
	}
}

// try fails with a conflict if another writer was faster.
func (e *edit) try(ctx context.Context, t task, from source) ([]task, error) {
	name := e.shardName(t.digits)
	shard, err := e.read(ctx, t, from)
	if err != nil {
		return nil, err
	}
	if shard == nil {
		return e.create(ctx, t)
	}
	why := e.foreign(shard, t.parent)
	if why != "" && !e.Adopt {
		return nil, &ForeignError{List: e.Name, Shards: []string{name}, Why: why}
	}
	into, err := splitInto(shard, t.digits)
	if err != nil {
		return nil, err
	}
	if why != "" {
		into = 0 // this takes it over as it is
	}
	if into > 0 {
		if err := e.finishSplit(ctx, t, shard, into); err != nil {
			return nil, err
		}
		return t.below(shard, into), nil
	}
	after, added, removed := t.apply(shard.Spec.Accounts)
	if why == "" && added+removed == 0 {
		return nil, nil
	}
	if bytes := jsonBytes(after); bytes > e.max() && len(t.digits) < maxDigits {
		if err := e.mayBeSplit(ctx, name, shard); err != nil {
			return nil, err
		}
		// Closed: it keeps its accounts, and nothing changes them from now on.
		into, closed := e.digitsFor(bytes, len(t.digits)), len(shard.Spec.Accounts) > 0
		return []task{t}, e.write(ctx, t, shard.ResourceVersion, shard.Spec.Accounts, into, closed)
	}
	if why == "" {
		err = e.replace(ctx, shard, after)
	} else {
		err = e.write(ctx, t, shard.ResourceVersion, after, 0, true)
	}
	if apierrors.IsNotFound(err) {
		return []task{t}, nil // it was deleted meanwhile
	}
	if err != nil {
		return nil, err
	}
	e.count(added, removed)
	return nil, nil
}

// create makes a shard that does not exist. One that would get too many accounts is split from the beginning.
func (e *edit) create(ctx context.Context, t task) ([]task, error) {
	accounts, added, _ := changes{add: t.add}.apply(nil)
	if added == 0 {
		return nil, nil
	}
	if bytes := jsonBytes(accounts); bytes > e.max() && len(t.digits) < maxDigits {
		if err := e.mayBeSplit(ctx, e.shardName(t.digits), nil); err != nil {
			return nil, err
		}
		return []task{t}, e.write(ctx, t, absent, nil, e.digitsFor(bytes, len(t.digits)), false)
	}
	if err := e.write(ctx, t, absent, accounts, 0, true); err != nil {
		return nil, err
	}
	e.count(added, 0)
	return nil, nil
}

// finishSplit creates the shards that take over from a closed one, and empties that. Whoever comes second finds them,
// and changes nothing: a shard is never deleted, so that an old copy of the closed one cannot create it again.
func (e *edit) finishSplit(ctx context.Context, t task, shard *v1alpha1.AccountList, into int) error {
	if len(shard.Spec.Accounts) == 0 {
		return nil
	}
	parts := task{changes: changes{add: shard.Spec.Accounts}}.below(shard, into)
	if err := each(ctx, parts, e.takeOver); err != nil {
		return err
	}
	return e.write(ctx, t, shard.ResourceVersion, nil, into, false)
}

// takeOver creates a shard from its part of a closed one, unless that was done before.
func (e *edit) takeOver(ctx context.Context, part task) ([]task, error) {
	accounts, _, _ := part.apply(nil)
	err := e.write(ctx, part, absent, accounts, 0, true)
	if !apierrors.IsConflict(err) {
		return nil, err
	}
	name := e.shardName(part.digits)
	shard, _, err := e.get(ctx, name, current)
	switch {
	case err != nil:
		return nil, err
	case shard == nil:
		return []task{part}, nil
	}
	why := e.foreign(shard, part.parent)
	switch {
	case why == "":
		return nil, nil
	case !e.Adopt:
		return nil, &ForeignError{List: e.Name, Shards: []string{name}, Why: why}
	}
	accounts, _, _ = part.apply(shard.Spec.Accounts)
	err = e.write(ctx, part, shard.ResourceVersion, accounts, 0, true)
	if apierrors.IsConflict(err) {
		return []task{part}, nil
	}
	return nil, err
}

// write applies a shard, and fails with a conflict if it has another resourceVersion. Force is safe, as all that is in
// the shard at that resourceVersion was read before.
func (e *edit) write(
	ctx context.Context, t task, resourceVersion string, accounts []string, into int, selected bool,
) error {
	name, split := e.shardName(t.digits), splitNo
	if into > 0 {
		split = strconv.Itoa(into)
	}
	labels := map[string]any{v1alpha1.LabelManagedList: e.Name}
	if selected {
		labels[v1alpha1.LabelList] = e.Name
	}
	list := make([]any, len(accounts))
	for i, account := range accounts {
		list[i] = account
	}
	shard := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "AccountList",
		"metadata": map[string]any{
			"namespace": e.Namespace, "name": name, "resourceVersion": resourceVersion, "labels": labels,
			"annotations": map[string]any{
				v1alpha1.AnnotationSplit: split, v1alpha1.AnnotationSplitFrom: t.parent,
			},
		},
		"spec": map[string]any{"accounts": list},
	}}
	err := e.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(shard),
		client.FieldOwner(FieldManager), client.ForceOwnership)
	if err != nil {
		return fmt.Errorf("apply AccountList %s: %w", name, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.written[name] = true
	return nil
}

// replace writes the accounts of a shard, and fails with a conflict if it has another resourceVersion. An apply of the
// whole shard costs the API server a quarter more CPU time.
func (e *edit) replace(ctx context.Context, shard *v1alpha1.AccountList, accounts []string) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": shard.ResourceVersion},
		"spec":     map[string]any{"accounts": accounts},
	})
	if err != nil {
		return fmt.Errorf("encode AccountList %s: %w", shard.Name, err)
	}
	target := &metav1.PartialObjectMetadata{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.Namespace, Name: shard.Name},
	}
	target.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("AccountList"))
	err = e.Client.Patch(ctx, target, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(FieldManager))
	if err != nil {
		return fmt.Errorf("patch AccountList %s: %w", shard.Name, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.written[shard.Name] = true
	return nil
}

func (e *edit) count(added, removed int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.result.Added += added
	e.result.Removed += removed
}

// mayBeSplit fails if accounts must not move from the shard, nil if there is none yet, to others.
func (e *edit) mayBeSplit(ctx context.Context, name string, shard *v1alpha1.AccountList) error {
	var has map[string]string
	if shard != nil {
		has = shard.Labels
	}
	return e.mayMove(ctx, name, has, "is too large for one object", "split")
}

// mayMove fails if a policy refers to an AccountList by its name, or by labels that shards do not have: it would miss
// the accounts that go to other shards.
func (e *edit) mayMove(ctx context.Context, name string, has labels.Set, why, what string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.policies == nil {
		var policies v1alpha1.GroupPolicyList
		if err := e.Client.List(ctx, &policies, client.InNamespace(e.Namespace)); err != nil {
			return fmt.Errorf("see which policies refer to AccountList %s, which has to be %s: %w", name, what, err)
		}
		e.policies = &policies
	}
	shards := labels.Set{v1alpha1.LabelManagedList: e.Name, v1alpha1.LabelList: e.Name}
	for i := range e.policies.Items {
		for _, selector := range selectorsOf(&e.policies.Items[i]) {
			for _, ref := range selector.Lists {
				how := "names it"
				if ref.Selector != nil {
					selector, err := metav1.LabelSelectorAsSelector(ref.Selector)
					if err != nil || !selector.Matches(has) || selector.Matches(shards) {
						continue // one that is not valid selects nothing
					}
					how = "selects it by other labels"
				} else if ref.Name != name {
					continue
				}
				return fmt.Errorf("AccountList %s %s, and GroupPolicy %s %s, so that it cannot be %s: refer to the "+
					"list by {selector: {matchLabels: {%s: %s}}} there, and try again",
					name, why, e.policies.Items[i].Name, how, what, v1alpha1.LabelList, e.Name)
			}
		}
	}
	return nil
}

func selectorsOf(policy *v1alpha1.GroupPolicy) []*v1alpha1.AccountSelector {
	var all []*v1alpha1.AccountSelector
	if join := policy.Spec.Join; join != nil {
		all = append(all, join.Allow, join.Deny)
	}
	if full := policy.Spec.WhenFull; full != nil && full.Prune != nil {
		all = append(all, full.Prune.Protect)
	}
	return slices.DeleteFunc(all, func(s *v1alpha1.AccountSelector) bool { return s == nil })
}
