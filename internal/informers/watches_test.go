package informers

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

var (
	errForbidden = apierrors.NewForbidden(corev1.Resource("secrets"), "", nil)
	errDown      = &url.Error{Op: "Get", URL: "https://10.0.0.1", Err: syscall.ECONNREFUSED}
)

// newTrack is that of an informer that is not running.
func newTrack() *watchTrack {
	w := NewWatches(nil, time.Now)
	i, _ := w.NewInformer(&toolscache.ListWatch{}, &corev1.Secret{}, 0, nil).(*informer)
	return i.track
}

// script is an API server whose answers a test gives one by one.
type script struct {
	answers chan error // of the next attempt
	watcher *watch.FakeWatcher
}

func newScript() *script {
	return &script{answers: make(chan error, 100), watcher: watch.NewFake()}
}

func (s *script) lister() *toolscache.ListWatch {
	return &toolscache.ListWatch{
		ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
			return &corev1.SecretList{}, <-s.answers
		},
		WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) {
			return s.watcher, <-s.answers
		},
	}
}

func (s *script) next(answers ...error) {
	for _, answer := range answers {
		s.answers <- answer
	}
}

var streaming = metav1.ListOptions{SendInitialEvents: new(true)}

func checkState(t *testing.T, track *watchTrack, want WatchState) {
	t.Helper()
	if diff := cmp.Diff(want, track.current(), cmpopts.EquateApproxTime(0)); diff != "" {
		t.Errorf("state (-want,+got):\n%s", diff)
	}
}

func TestStreamingWatchIsInOrderOnceItHasSentEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s, track := newScript(), newTrack()
		lw := toolscache.ToListerWatcherWithContext(reconnecting(s.lister(), track))
		checkState(t, track, WatchState{FailingSince: start})

		s.next(errDown, errDown, nil)
		w, err := lw.WatchWithContext(t.Context(), streaming)
		must(t, err)
		defer w.Stop()
		checkState(t, track, WatchState{FailingSince: start, Problem: "connection refused"})

		end := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
			ResourceVersion: "7", Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"},
		}}
		go s.watcher.Add(&corev1.Secret{})
		<-w.ResultChan()
		checkState(t, track, WatchState{FailingSince: start, Problem: "connection refused"})
		go s.watcher.Action(watch.Bookmark, end)
		if event := <-w.ResultChan(); event.Type != watch.Bookmark {
			t.Errorf("event %v, want the bookmark", event)
		}
		checkState(t, track, WatchState{})
		<-w.ResultChan() // the mark

		<-time.After(time.Hour)
		go s.watcher.Error(&apierrors.NewInternalError(errors.New("decode")).ErrStatus)
		<-w.ResultChan()
		checkState(t, track, WatchState{FailingSince: time.Now(), Problem: "the API server answers 500"})
	})
}

func TestRefusalsAreCountedWhileNothingElseIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, track := newScript(), newTrack()
		lw := toolscache.ToListerWatcherWithContext(reconnecting(s.lister(), track))
		s.next(nil)
		w, err := lw.WatchWithContext(t.Context(), metav1.ListOptions{ResourceVersion: "7"})
		must(t, err)
		w.Stop()
		checkState(t, track, WatchState{})

		// A watch that goes on from a version leaves refusals to the reflector.
		failed := time.Now()
		s.next(errForbidden)
		if _, err := lw.WatchWithContext(t.Context(), metav1.ListOptions{ResourceVersion: "7"}); !refused(err) {
			t.Fatalf("Watch: %v, want the refusal", err)
		}
		checkState(t, track, WatchState{
			FailingSince: failed, Problem: "forbidden", RefusedSince: failed, RefusedAt: failed,
		})

		// One that streams is attempted again and again, so that it is back soon after its permission.
		for range 50 {
			s.next(errForbidden)
		}
		begin := time.Now()
		if _, err := lw.WatchWithContext(t.Context(), streaming); !refused(err) {
			t.Fatalf("Watch: %v, want the refusal after a while, so that the reflector may try a list", err)
		}
		if took := time.Since(begin); took < 2*time.Minute || took > refusalPatience {
			t.Errorf("attempted for %s, want less than %s", took, refusalPatience)
		}
		if got := track.current(); got.RefusedSince != failed || got.RefusedAt != time.Now() || !track.skip() {
			t.Errorf("since %s, at %s; skipped: %t", got.RefusedSince, got.RefusedAt, track.skip())
		}

		s.answers = make(chan error, 2)
		s.next(errDown, errForbidden)
		broken := time.Now()
		_, _ = lw.ListWithContext(t.Context(), metav1.ListOptions{})
		got := track.current()
		if got.FailingSince != failed {
			t.Errorf("failing since %s, want %s: the reason changed, not the failure", got.FailingSince, failed)
		}
		if !got.RefusedSince.After(broken) || got.RefusedFor() != 0 {
			t.Errorf("refused since %s, for %s: an answer that did not come may have been another one",
				got.RefusedSince, got.RefusedFor())
		}
		if !track.skip() {
			t.Error("readers wait again for a watch that was given up")
		}
	})
}

// A request may hang, or client-go may repeat it, for ten seconds.
func TestWatchThatGetsNoAnswerFailsFromItsRequestOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, track := newScript(), newTrack()
		lw := toolscache.ToListerWatcherWithContext(reconnecting(s.lister(), track))
		s.next(nil)
		w, err := lw.WatchWithContext(t.Context(), metav1.ListOptions{ResourceVersion: "7"})
		must(t, err)
		w.Stop()
		asked := time.Now()
		go func() { // ends with the answers below
			if w, err := lw.WatchWithContext(t.Context(), metav1.ListOptions{ResourceVersion: "7"}); err == nil {
				w.Stop()
			}
		}()
		<-time.After(answerLimit - time.Millisecond)
		checkState(t, track, WatchState{})
		<-time.After(time.Millisecond)
		checkState(t, track, WatchState{FailingSince: asked, Problem: "no answer"})
		<-time.After(10 * time.Second)
		s.next(errDown)
		synctest.Wait()
		checkState(t, track, WatchState{FailingSince: asked, Problem: "connection refused"})
		s.next(nil)
		<-time.After(2 * time.Second)
		checkState(t, track, WatchState{})
	})
}

func TestExpiredVersionIsNoFailure(t *testing.T) {
	s, track := newScript(), newTrack()
	lw := toolscache.ToListerWatcherWithContext(reconnecting(s.lister(), track))
	s.next(nil, apierrors.NewResourceExpired("too old"))
	w, err := lw.WatchWithContext(t.Context(), metav1.ListOptions{ResourceVersion: "7"})
	must(t, err)
	w.Stop()
	if _, err := lw.WatchWithContext(t.Context(), metav1.ListOptions{ResourceVersion: "7"}); err == nil {
		t.Fatal("no error")
	}
	checkState(t, track, WatchState{})
}

func TestStatesListEveryWatchFromTheBeginning(t *testing.T) {
	start := time.Unix(1700000000, 0)
	w := NewWatches([]string{"games", "chat", "games"}, func() time.Time { return start })
	var got []string
	for _, state := range w.States() {
		got = append(got, state.String())
		if state.FailingSince != start || state.Synced {
			t.Errorf("%s: %+v", state, state)
		}
	}
	want := []string{
		"IMApps of namespace chat", "AccountLists of namespace chat", "GroupPolicies of namespace chat",
		"PruneRuns of namespace chat", "Secrets of namespace chat",
		"IMApps of namespace games", "AccountLists of namespace games", "GroupPolicies of namespace games",
		"PruneRuns of namespace games", "Secrets of namespace games",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("watches (-want,+got):\n%s", diff)
	}
	if got, want := w.Waiting(), "IMApps of namespace chat (and 9 more)"; got != want {
		t.Errorf("waiting for %q, want %q", got, want)
	}
	if got := NewWatches(nil, time.Now).States(); len(got) != 5 || got[3].String() != "PruneRuns" {
		t.Errorf("without namespaces: %v", got)
	}
}

func TestFailingWatchesAreMeasured(t *testing.T) {
	now := time.Unix(1700000000, 0)
	w := NewWatches([]string{"chat"}, func() time.Time { return now })
	track := newTrack()
	w.track(watchKey{"Secret", "chat"}, track)
	track.opened()
	now = now.Add(90 * time.Second)
	want := "# HELP groupgate_watch_failing_seconds For how long the watch of a kind, in one of --namespace or in " +
		"all of them (empty), has not been in order; 0 while it is.\n" +
		"# TYPE groupgate_watch_failing_seconds gauge\n"
	for _, kind := range []string{"AccountList", "GroupPolicy", "IMApp", "PruneRun"} {
		want += fmt.Sprintf("groupgate_watch_failing_seconds{kind=%q,namespace=\"chat\"} 90\n", kind)
	}
	want += "groupgate_watch_failing_seconds{kind=\"Secret\",namespace=\"chat\"} 0\n"
	if err := testutil.CollectAndCompare(w, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

// The transforms of every kind and namespace are those of CacheOptions, whatever controller-runtime merges.
func TestInformerKnowsItsNamespace(t *testing.T) {
	watches := NewWatches([]string{"chat"}, time.Now)
	options := CacheOptions(Options{Namespaces: []string{"chat"}, Now: time.Now, Watches: watches})
	i := options.NewInformer(newScript().lister(), &v1alpha1.PruneRun{}, 0, nil)
	must(t, i.SetTransform(options.DefaultNamespaces["chat"].Transform))
	if key := (watchKey{"PruneRun", "chat"}); watches.tracked[key] == nil {
		t.Errorf("%v is not among %v", key, watches.tracked)
	}
}

func TestProblemIsShortAndNamesNoAddress(t *testing.T) {
	for want, err := range map[string]error{
		"connection refused":         fmt.Errorf("list: %w", errDown),
		"forbidden":                  errForbidden,
		"not found":                  apierrors.NewNotFound(corev1.Resource("secrets"), "x"),
		"the API server answers 429": apierrors.NewTooManyRequestsError("later"),
		"timeout":                    &url.Error{Op: "Get", URL: "https://10.0.0.1", Err: context.DeadlineExceeded},
		"broken":                     fmt.Errorf("list: %w", errors.New("broken")),
	} {
		if got := Problem(err); got != want {
			t.Errorf("Problem(%v) = %q, want %q", err, got, want)
		}
	}
}
