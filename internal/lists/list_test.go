package lists

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/lab/labtest"
)

func TestMain(m *testing.M) { os.Exit(labtest.Main(m)) }

// newList has shards of some 10 accounts.
func newList(t *testing.T) *List {
	t.Helper()
	return &List{Client: labtest.Client(t), Namespace: labtest.NewNamespace(t), Name: "vip", maxBytes: 100}
}

func numbered(prefix string, n int) (accounts []string) {
	for i := range n {
		accounts = append(accounts, fmt.Sprintf("%s-%04d", prefix, i))
	}
	return accounts
}

// inForce are the accounts on the AccountLists that a policy selects.
func inForce(t *testing.T, l *List) []string {
	t.Helper()
	var all v1alpha1.AccountListList
	selected := client.MatchingLabels{"list": l.Name}
	labtest.Must(t, l.Client.List(t.Context(), &all, client.InNamespace(l.Namespace), selected))
	accounts := map[string]bool{}
	for i := range all.Items {
		for _, account := range all.Items[i].Spec.Accounts {
			accounts[account] = true
		}
	}
	return slices.Sorted(maps.Keys(accounts))
}

func wantInForce(t *testing.T, l *List, want []string) {
	t.Helper()
	slices.Sort(want)
	if diff := cmp.Diff(want, inForce(t, l)); diff != "" {
		t.Errorf("accounts in force (-want,+got)\n%s", diff)
	}
}

func (l *List) put(t *testing.T, name string, labels map[string]string, accounts ...string) *v1alpha1.AccountList {
	t.Helper()
	list := &v1alpha1.AccountList{
		ObjectMeta: metav1.ObjectMeta{Namespace: l.Namespace, Name: name, Labels: labels},
		Spec:       v1alpha1.AccountListSpec{Accounts: accounts},
	}
	labtest.Must(t, l.Client.Create(t.Context(), list))
	return list
}

// witness fails the test if an account of those is ever not on an AccountList that policies select, at any
// resourceVersion: a replica may publish each of them.
func (l *List) witness(t *testing.T, accounts []string) (stop func() (events int)) {
	t.Helper()
	watching, err := labtest.Client(t).Watch(t.Context(), &v1alpha1.AccountListList{},
		client.InNamespace(l.Namespace), client.MatchingLabels{"list": l.Name})
	labtest.Must(t, err)
	done, stopped := make(chan int), make(chan struct{})
	go func() { // ended by stop
		lists, events := map[string][]string{}, 0
		defer func() { done <- events }()
		complete := false
		for event := range watching.ResultChan() {
			list, ok := event.Object.(*v1alpha1.AccountList)
			if !ok {
				select {
				case <-stopped:
				default:
					t.Errorf("watch: %+v", event)
				}
				return
			}
			events++
			lists[list.Name] = list.Spec.Accounts
			if event.Type == "DELETED" {
				delete(lists, list.Name)
			}
			is := map[string]bool{}
			for _, part := range lists {
				for _, account := range part {
					is[account] = true
				}
			}
			missing := slices.DeleteFunc(slices.Clone(accounts), func(account string) bool { return is[account] })
			switch {
			case len(missing) == 0:
				complete = true
			case complete:
				t.Errorf("missing after %s of %s: %s", event.Type, list.Name, missing)
			}
		}
	}()
	stop = sync.OnceValue(func() int {
		close(stopped)
		watching.Stop()
		return <-done
	})
	t.Cleanup(func() { stop() })
	return stop
}

func TestDigitsAreThoseOfSHA256(t *testing.T) {
	// printf %s jared | sha256sum
	for account, want := range map[string]string{"jared": "27d300", "": "e3b0c4"} {
		if got := digitsOf(account, 6); got != want {
			t.Errorf("%q: %s, want %s", account, got, want)
		}
		if got := digitsOf(account, 3); got != want[:3] {
			t.Errorf("%q: %s, want %s", account, got, want[:3])
		}
	}
}

// oldReads is a client whose reads from the cache of the API server are as old as any that it has seen.
func oldReads(t *testing.T, random *rand.Rand) client.Client {
	var (
		mu   sync.Mutex
		seen = map[string][]*v1alpha1.AccountList{} // nil for one that did not exist
	)
	return interceptor.NewClient(labtest.Client(t), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, into client.Object,
			options ...client.GetOption) error {
			err := c.Get(ctx, key, into, options...)
			if !isCached(options) || client.IgnoreNotFound(err) != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			now := into.(*v1alpha1.AccountList).DeepCopy()
			if err != nil {
				now = nil
			}
			seen[key.Name] = append(seen[key.Name], now)
			old := seen[key.Name][random.IntN(len(seen[key.Name]))]
			if old == nil {
				lists := v1alpha1.GroupVersion.WithResource("accountlists").GroupResource()
				return apierrors.NewNotFound(lists, key.Name)
			}
			old.DeepCopyInto(into.(*v1alpha1.AccountList))
			return nil
		},
	})
}

func isCached(options []client.GetOption) bool {
	var all client.GetOptions
	all.ApplyOptions(options)
	return all.Raw != nil && all.Raw.ResourceVersion == "0"
}

// wantCacheCaughtUp waits until the API server answers from its cache with what etcd holds: an edit that reads an older
// one asks once more.
func wantCacheCaughtUp(t *testing.T, l *List) {
	t.Helper()
	c := labtest.Client(t)
	labtest.Eventually(t, func() error {
		var all v1alpha1.AccountListList
		if err := c.List(t.Context(), &all, client.InNamespace(l.Namespace)); err != nil {
			return err
		}
		for i := range all.Items {
			var cached v1alpha1.AccountList
			old := client.GetOptions{Raw: &metav1.GetOptions{ResourceVersion: "0"}}
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(&all.Items[i]), &cached, &old); err != nil {
				return err
			}
			if is, want := cached.ResourceVersion, all.Items[i].ResourceVersion; is != want {
				return fmt.Errorf("%s: the cache has resourceVersion %s, etcd %s", cached.Name, is, want)
			}
		}
		return nil
	})
}

// What a cache says must not end an edit with nothing done, nor with an error.
func TestOldReadsChangeNoEdit(t *testing.T) {
	l := newList(t)
	l.Client = oldReads(t, rand.New(rand.NewPCG(1, 1)))
	for i := range 40 {
		account := numbered("a", 30)[i%30 : i%30+1]
		for _, step := range []struct {
			change func(context.Context, []string) (Result, error)
			want   int
		}{{l.Remove, min(1, i/30)}, {l.Add, 1}, {l.Add, 0}, {l.Remove, 1}, {l.Remove, 0}, {l.Add, 1}} {
			result, err := step.change(t.Context(), account)
			if labtest.Must(t, err); result.Added+result.Removed != step.want {
				t.Fatalf("%v, edit %d: %+v, want %d changed", account, i, result, step.want)
			}
		}
	}
	wantInForce(t, l, numbered("a", 30))
}

// The API server has to bear 50 edits a second of a list of a million accounts.
func TestRequestsOfAnEdit(t *testing.T) {
	l := newList(t)
	_, err := l.Add(t.Context(), numbered("a", 30))
	labtest.Must(t, err)
	requests := map[string]int{}
	l.Client = interceptor.NewClient(labtest.Client(t), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, into client.Object,
			options ...client.GetOption) error {
			if isCached(options) {
				requests["GET from the cache"]++
			} else {
				requests["GET"]++
			}
			return c.Get(ctx, key, into, options...)
		},
		List: func(ctx context.Context, c client.WithWatch, all client.ObjectList, options ...client.ListOption) error {
			requests["LIST"]++
			return c.List(ctx, all, options...)
		},
		Apply: func(ctx context.Context, c client.WithWatch, object runtime.ApplyConfiguration,
			opts ...client.ApplyOption) error {
			requests["APPLY"]++
			return c.Apply(ctx, object, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch,
			opts ...client.PatchOption) error {
			requests["PATCH"]++
			return c.Patch(ctx, object, patch, opts...)
		},
	})
	check := func(what string, want map[string]int, edit func(context.Context, []string) (Result, error)) {
		t.Helper()
		wantCacheCaughtUp(t, l)
		clear(requests)
		_, err := edit(t.Context(), []string{"a-0007"})
		labtest.Must(t, err)
		if diff := cmp.Diff(want, requests); diff != "" {
			t.Errorf("%s (-want,+got):\n%s", what, diff)
		}
	}
	check("the first removal", map[string]int{"GET from the cache": 2, "LIST": 1, "PATCH": 1}, l.Remove)
	l.looked = time.Now().Add(time.Hour).UnixNano() // however slow this test is
	check("an addition", map[string]int{"GET from the cache": 2, "PATCH": 1}, l.Add)
	check("another removal", map[string]int{"GET from the cache": 2, "PATCH": 1}, l.Remove)
	l.looked = time.Now().Add(-2 * time.Second).UnixNano()
	check("one of nothing, later", map[string]int{"GET from the cache": 2, "GET": 2, "LIST": 1}, l.Remove)
}

// Writers that run side by side add and remove accounts, each its own, while the shards are split many times.
func TestWritersSideBySideLoseNothing(t *testing.T) {
	l := newList(t)
	lasting := numbered("lasting", 40)
	stop := l.witness(t, lasting)
	_, err := l.Add(t.Context(), lasting[:5])
	labtest.Must(t, err)
	const writers, rounds = 8, 25
	var (
		mu     sync.Mutex
		expect = slices.Clone(lasting)
		all    errgroup.Group
	)
	all.Go(func() error {
		_, err := l.Add(t.Context(), lasting)
		return err
	})
	for w := range writers {
		all.Go(func() error {
			random := rand.New(rand.NewPCG(uint64(w), 1))
			mine, on := numbered(fmt.Sprintf("writer-%d", w), 60), map[string]bool{}
			writer := *l
			writer.Force = true
			if w%2 == 0 {
				writer.Client = oldReads(t, random)
			}
			for range rounds {
				var some []string
				for range 1 + random.IntN(6) {
					some = append(some, mine[random.IntN(len(mine))])
				}
				slices.Sort(some)
				some = slices.Compact(some)
				add := random.IntN(3) > 0
				change := writer.Remove
				if add {
					change = writer.Add
				}
				result, err := change(t.Context(), some)
				if err != nil {
					return err
				}
				changed := 0
				for _, account := range some {
					if on[account] != add {
						changed++
					}
					on[account] = add
				}
				if got := result.Added + result.Removed; got != changed {
					return fmt.Errorf("writer %d: %d changed, want %d", w, got, changed)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for account, is := range on {
				if is {
					expect = append(expect, account)
				}
			}
			return nil
		})
	}
	labtest.Must(t, all.Wait())
	wantInForce(t, l, expect)
	d, err := l.Diff(t.Context(), expect)
	if labtest.Must(t, err); len(d.Add)+len(d.Remove) > 0 || d.Total != len(expect) {
		t.Errorf("%+v", d)
	}
	s, err := l.read(t.Context())
	if labtest.Must(t, err); len(s.shards) < 17 || len(s.foreign) > 0 {
		t.Errorf("%d shards, %d foreign: the list was to be split", len(s.shards), len(s.foreign))
	}
	for _, shard := range s.shards {
		if into, _ := splitInto(shard, ""); into > 0 {
			if len(shard.Spec.Accounts) > 0 || shard.Labels["list"] != "" {
				t.Errorf("%s is not emptied", shard.Name)
			}
		} else if bytes := jsonBytes(shard.Spec.Accounts); bytes > 2*l.max() {
			t.Errorf("%s has %d bytes", shard.Name, bytes)
		}
	}
	if events := stop(); events < 20 {
		t.Errorf("%d events seen", events)
	}
}

// A writer that is killed before or after any of its writes leaves a list that is in force, and that others complete.
func TestWriterThatDiesLosesNothing(t *testing.T) {
	lasting, more := numbered("lasting", 8), numbered("more", 12)
	died := errors.New("died")
	for at := 1; ; at++ {
		l := newList(t)
		_, err := l.Add(t.Context(), lasting)
		labtest.Must(t, err)
		stop := l.witness(t, lasting[1:])
		var mu sync.Mutex
		writes, carriedOut := 0, at%2 == 0
		write := func(carryOut func() error) error {
			mu.Lock()
			defer mu.Unlock()
			if writes++; writes*2 >= at {
				if writes*2 <= at+1 && carriedOut {
					labtest.Must(t, carryOut())
				}
				return died
			}
			return carryOut()
		}
		dying := *l
		dying.Client = interceptor.NewClient(labtest.Client(t), interceptor.Funcs{
			Apply: func(
				ctx context.Context, c client.WithWatch, object runtime.ApplyConfiguration, opts ...client.ApplyOption,
			) error {
				return write(func() error { return c.Apply(ctx, object, opts...) })
			},
			Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch,
				opts ...client.PatchOption) error {
				return write(func() error { return c.Patch(ctx, object, patch, opts...) })
			},
		})
		_, err = dying.Add(t.Context(), more)
		if err != nil && !errors.Is(err, died) {
			t.Fatalf("write %d: %v", at, err)
		}
		finished := err == nil
		for _, account := range inForce(t, l) {
			if !slices.Contains(lasting, account) && !slices.Contains(more, account) {
				t.Errorf("write %d: %s came from nowhere", at, account)
			}
		}
		// The one that goes on removes an account, too, that the split had to move.
		other := *l
		other.Force = true
		_, err = other.Remove(t.Context(), lasting[:1])
		labtest.Must(t, err)
		_, err = other.Add(t.Context(), append([]string{lasting[0]}, more...))
		labtest.Must(t, err)
		wantInForce(t, l, slices.Concat(lasting, more))
		stop()
		if finished {
			if at < 12 {
				t.Errorf("finished after %d writes", at)
			}
			return
		}
	}
}

// A process that stood still in the middle of a split goes on when others have finished it, and have removed accounts.
func TestOldCopyOfAShardBringsNothingBack(t *testing.T) {
	l := newList(t)
	accounts := numbered("old", 9)
	_, err := l.Add(t.Context(), accounts)
	labtest.Must(t, err)
	e, root := l.edit(), task{}
	shard, _, err := e.get(t.Context(), "vip", current)
	labtest.Must(t, err)
	labtest.Must(t, e.write(t.Context(), root, shard.ResourceVersion, shard.Spec.Accounts, 1, true))
	closed, _, err := e.get(t.Context(), "vip", current)
	labtest.Must(t, err)

	other := *l
	other.Force = true
	_, err = other.Remove(t.Context(), accounts[:8])
	labtest.Must(t, err)
	wantInForce(t, l, accounts[8:])
	if err := l.edit().finishSplit(t.Context(), root, closed, 1); err == nil {
		t.Error("the old copy was written")
	}
	wantInForce(t, l, accounts[8:])
}

func TestSyncMakesAListOfAnyLength(t *testing.T) {
	l := newList(t)
	want := numbered("account", 1000)
	stop := l.witness(t, want[100:300])
	for _, accounts := range [][]string{want[:5], want, slices.Concat(want[:20], want[60:]), want} {
		result, err := l.Sync(t.Context(), accounts)
		labtest.Must(t, err)
		wantInForce(t, l, slices.Clone(accounts))
		if again, err := l.Sync(t.Context(), accounts); err != nil || again.Added+again.Removed+len(again.Shards) > 0 {
			t.Errorf("again: %+v %v", again, err)
		}
		t.Logf("%d added, %d removed, %d shards", result.Added, result.Removed, len(result.Shards))
	}
	result, err := l.Add(t.Context(), []string{"new"})
	if labtest.Must(t, err); result.Added != 1 || len(result.Shards) != 1 {
		t.Errorf("one account: %+v", result)
	}
	stop()
}

func TestNoMoreThanATenthIsRemoved(t *testing.T) {
	l := newList(t)
	accounts := numbered("account", 100)
	_, err := l.Sync(t.Context(), accounts)
	labtest.Must(t, err)
	_, err = l.Sync(t.Context(), accounts[11:])
	if _, refused := errors.AsType[*RemovalError](err); !refused {
		t.Errorf("sync: %v", err)
	}
	for _, want := range []string{"remove 11 of the 100 accounts of vip", "--force"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("sync: %v, want in it %q", err, want)
		}
	}
	if _, err = l.Remove(t.Context(), accounts[:11]); err == nil || !strings.Contains(err.Error(), "11 of the 100") {
		t.Errorf("remove: %v", err)
	}
	wantInForce(t, l, slices.Clone(accounts))
	if result, err := l.Remove(t.Context(), accounts[:10]); err != nil || result.Removed != 10 {
		t.Errorf("a tenth: %+v %v", result, err)
	}
	forced := *l
	forced.Force, forced.DryRun = true, true
	result, err := forced.Sync(t.Context(), accounts[:50])
	if labtest.Must(t, err); result.Added != 10 || result.Removed != 50 {
		t.Errorf("dry run: %+v", result)
	}
	wantInForce(t, l, accounts[10:])
	forced.DryRun = false
	_, err = forced.Sync(t.Context(), accounts[:50])
	labtest.Must(t, err)
	wantInForce(t, l, accounts[:50])
	few := newList(t)
	_, err = few.Add(t.Context(), []string{"ann", "bob"})
	labtest.Must(t, err)
	if result, err := few.Remove(t.Context(), []string{"ann"}); err != nil || result.Removed != 1 {
		t.Errorf("one of two: %+v %v", result, err)
	}
}

func TestDryRunsWriteNothing(t *testing.T) {
	l := newList(t)
	dry := *l
	dry.DryRun = true
	if result, err := dry.Sync(t.Context(), []string{"ann"}); err != nil || result.Added != 1 {
		t.Errorf("sync: %+v %v", result, err)
	}
	_, err := l.Add(t.Context(), numbered("account", 50))
	labtest.Must(t, err)
	before := inForce(t, l)
	if result, err := dry.Add(t.Context(), []string{"ann", "account-0001"}); err != nil || result.Added != 1 {
		t.Errorf("add: %+v %v", result, err)
	}
	if result, err := dry.Remove(t.Context(), []string{"ann", "account-0001"}); err != nil || result.Removed != 1 {
		t.Errorf("remove: %+v %v", result, err)
	}
	wantInForce(t, l, before)
}

func TestForeignListsAreLeftAloneUntilAdopted(t *testing.T) {
	selected := map[string]string{"list": "vip"}
	for name, foreign := range map[string]func(*testing.T, *List){
		"a shard beside":       func(t *testing.T, l *List) { l.put(t, "vip-0", selected, "ann", "bob") },
		"the name of the list": func(t *testing.T, l *List) { l.put(t, "vip", selected, "ann", "bob") },
		"from which others were deleted": func(t *testing.T, l *List) {
			_, err := l.Add(t.Context(), append(numbered("old", 30), "ann", "bob"))
			labtest.Must(t, err)
			first := &v1alpha1.AccountList{ObjectMeta: metav1.ObjectMeta{Namespace: l.Namespace, Name: "vip"}}
			labtest.Must(t, l.Client.Delete(t.Context(), first))
		},
		"applied by another one": func(t *testing.T, l *List) {
			_, err := l.Add(t.Context(), []string{"ann"})
			labtest.Must(t, err)
			object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&v1alpha1.AccountList{
				TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "AccountList"},
				ObjectMeta: metav1.ObjectMeta{Namespace: l.Namespace, Name: "vip"},
				Spec:       v1alpha1.AccountListSpec{Accounts: []string{"ann", "bob"}},
			})
			labtest.Must(t, err)
			delete(object, "status")
			applied := client.ApplyConfigurationFromUnstructured(&unstructured.Unstructured{Object: object})
			labtest.Must(t, l.Client.Apply(t.Context(), applied, client.FieldOwner("gitops"), client.ForceOwnership))
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newList(t)
			foreign(t, l)
			before := inForce(t, l)
			wanted := append(slices.DeleteFunc(slices.Clone(before), func(a string) bool { return a == "bob" }), "new")
			l.Force = true
			refused := func(what string, _ Result, err error) {
				t.Helper()
				if _, is := errors.AsType[*ForeignError](err); !is || !strings.Contains(err.Error(), "--adopt") {
					t.Errorf("%s: %v", what, err)
				}
			}
			result, err := l.Sync(t.Context(), wanted)
			refused("sync", result, err)
			result, err = l.Remove(t.Context(), []string{"ann"})
			refused("remove", result, err)
			wantInForce(t, l, before)
			stop := l.witness(t, slices.DeleteFunc(slices.Clone(before), func(a string) bool { return a == "bob" }))
			adopting := *l
			adopting.Adopt = true
			result, err = adopting.Sync(t.Context(), wanted)
			if labtest.Must(t, err); result.Added != 1 || result.Removed != 1 {
				t.Errorf("%+v", result)
			}
			wantInForce(t, l, slices.Clone(wanted))
			stop()
			if _, err := l.Sync(t.Context(), wanted); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// Shards that another writer has just made are not taken for what is left of another list, which is deleted.
func TestListThatIsSplitWhileItIsReadLosesNothing(t *testing.T) {
	l := newList(t)
	_, err := l.Add(t.Context(), numbered("a", 5))
	labtest.Must(t, err)
	other, lists := *l, 0
	more := append(numbered("a", 5), numbered("b", 30)...)
	l.Client = interceptor.NewClient(labtest.Client(t), interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, all client.ObjectList, options ...client.ListOption) error {
			if lists++; lists == 2 {
				if _, err := other.Add(ctx, more); err != nil {
					return err
				}
			}
			return c.List(ctx, all, options...)
		},
	})
	l.Adopt, l.Force = true, true
	_, err = l.Sync(t.Context(), more)
	labtest.Must(t, err)
	wantInForce(t, l, more)
}

// Nor does Remove take them for that.
func TestRemoveFromAListThatIsSplitMeanwhile(t *testing.T) {
	l := newList(t)
	_, err := l.Add(t.Context(), numbered("a", 5))
	labtest.Must(t, err)
	other, lists := *l, 0
	l.Client = interceptor.NewClient(labtest.Client(t), interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, all client.ObjectList, options ...client.ListOption) error {
			if lists++; lists == 2 {
				if _, err := other.Add(ctx, numbered("b", 30)); err != nil {
					return err
				}
			}
			return c.List(ctx, all, options...)
		},
	})
	result, err := l.Remove(t.Context(), []string{"a-0000"})
	if labtest.Must(t, err); result.Removed != 1 {
		t.Errorf("%+v", result)
	}
	wantInForce(t, l, append(numbered("a", 5)[1:], numbered("b", 30)...))
}

// A policy that names an AccountList would miss the accounts that go to other shards.
func TestShardThatAPolicyNamesIsNotSplit(t *testing.T) {
	l := newList(t)
	_, err := l.Add(t.Context(), []string{"ann"})
	labtest.Must(t, err)
	policy := &v1alpha1.GroupPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: l.Namespace, Name: "lounge"},
		Spec: v1alpha1.GroupPolicySpec{
			AppRef: v1alpha1.AppReference{Name: "prod"}, Groups: []v1alpha1.GroupMatcher{{Value: "lounge"}},
			Join: &v1alpha1.JoinSection{Allow: &v1alpha1.AccountSelector{
				Lists: []v1alpha1.AccountListReference{{Name: "vip"}},
			}},
		},
	}
	labtest.Must(t, l.Client.Create(t.Context(), policy))
	_, err = l.Add(t.Context(), numbered("more", 30))
	for _, want := range []string{"GroupPolicy lounge names it", "selector: {matchLabels: {list: vip}}"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want in it %q", err, want)
		}
	}
	wantInForce(t, l, []string{"ann"})
	policy.Spec.Join.Allow.Lists[0] = v1alpha1.AccountListReference{
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"list": "vip"}},
	}
	labtest.Must(t, l.Client.Update(t.Context(), policy))
	_, err = l.Add(t.Context(), numbered("more", 30))
	labtest.Must(t, err)
	wantInForce(t, l, append(numbered("more", 30), "ann"))
}

// Accounts do not move from an AccountList to one that a policy does not select.
func TestAccountListThatPoliciesReferToOtherwiseIsNotMoved(t *testing.T) {
	for name, tc := range map[string]struct {
		ref  v1alpha1.AccountListReference
		want string // in the error; "" if there is none
	}{
		"by name": {v1alpha1.AccountListReference{Name: "vip-0"}, "GroupPolicy lounge names it"},
		"by other labels": {selects(map[string]string{"tier": "gold"}),
			"GroupPolicy lounge selects it by other labels"},
		"by more labels": {selects(map[string]string{"list": "vip", "tier": "gold"}),
			"GroupPolicy lounge selects it by other labels"},
		"by its label": {selects(map[string]string{"list": "vip"}), ""},
		"not at all":   {selects(map[string]string{"tier": "silver"}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := newList(t)
			l.Adopt = true
			l.put(t, "vip-0", map[string]string{"list": "vip", "tier": "gold"}, "ann", "bob")
			labtest.Must(t, l.Client.Create(t.Context(), &v1alpha1.GroupPolicy{
				ObjectMeta: metav1.ObjectMeta{Namespace: l.Namespace, Name: "lounge"},
				Spec: v1alpha1.GroupPolicySpec{
					AppRef: v1alpha1.AppReference{Name: "prod"}, Groups: []v1alpha1.GroupMatcher{{Value: "lounge"}},
					Join: &v1alpha1.JoinSection{Deny: &v1alpha1.AccountSelector{
						Lists: []v1alpha1.AccountListReference{tc.ref},
					}},
				},
			}))
			_, err := l.Sync(t.Context(), []string{"ann", "bob"})
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want in it %q", err, tc.want)
			}
			var kept v1alpha1.AccountList
			err = l.Client.Get(t.Context(), types.NamespacedName{Namespace: l.Namespace, Name: "vip-0"}, &kept)
			if gone := apierrors.IsNotFound(err); gone != (tc.want == "") {
				t.Errorf("vip-0: %v", err)
			}
		})
	}
}

func selects(labels map[string]string) v1alpha1.AccountListReference {
	return v1alpha1.AccountListReference{Selector: &metav1.LabelSelector{MatchLabels: labels}}
}

func TestNameOfAListIsALabel(t *testing.T) {
	for name, good := range map[string]bool{
		"vip": true, "vip-2": true, "vip.2": false, "VIP": false, "": false, strings.Repeat("x", 64): false,
	} {
		if err := ValidateName(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Backends without this tool edit shards by JSON patches without a resourceVersion, as the page on tools shows.
func TestPlainPatchesAndThisToolDoNotDisturbEachOther(t *testing.T) {
	l := newList(t)
	_, err := l.Add(t.Context(), []string{"ann"})
	labtest.Must(t, err)
	patch := func(name, operation string) error {
		shard := &v1alpha1.AccountList{ObjectMeta: metav1.ObjectMeta{Namespace: l.Namespace, Name: name}}
		return l.Client.Patch(t.Context(), shard, client.RawPatch(types.JSONPatchType, []byte(
			`[{"op": "test", "path": "/metadata/annotations/groupgate.io~1split", "value": "no"},`+operation+`]`)))
	}
	var both errgroup.Group
	for _, account := range []string{"bob", "carl", "dora", "emil"} {
		both.Go(func() error {
			for {
				err := patch("vip", `{"op": "add", "path": "/spec/accounts/-", "value": "`+account+`"}`)
				if !apierrors.IsConflict(err) {
					return err
				}
			}
		})
		both.Go(func() error {
			_, err := l.Add(t.Context(), []string{account[:1]})
			return err
		})
	}
	labtest.Must(t, both.Wait())
	wantInForce(t, l, []string{"ann", "b", "bob", "c", "carl", "d", "dora", "e", "emil"})
	_, err = l.Add(t.Context(), numbered("more", 10))
	labtest.Must(t, err)
	if err := patch("vip", `{"op": "add", "path": "/spec/accounts/-", "value": "fred"}`); !apierrors.IsInvalid(err) {
		t.Errorf("a shard that was split is patched: %v", err)
	}
	name := l.shardName(digitsOf("bob", 1))
	if err := patch(name, `{"op": "test", "path": "/spec/accounts/0", "value": "zoe"}`); !apierrors.IsInvalid(err) {
		t.Errorf("a place that is not that of the account: %v", err)
	}
	labtest.Must(t, patch(name, `{"op": "add", "path": "/spec/accounts/-", "value": "bob"}`)) // twice
	if result, err := l.Remove(t.Context(), []string{"bob"}); err != nil || result.Removed != 1 {
		t.Errorf("%+v %v", result, err)
	}
	wantInForce(t, l, append(numbered("more", 10), "ann", "b", "c", "carl", "d", "dora", "e", "emil"))
}
