package controllers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/lab"
	"github.com/groupgate/groupgate/internal/lab/labtest"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
	"github.com/groupgate/groupgate/internal/term"
)

const apiGroups = "get_appid_group_list"

func (w *world) sweeper(r *PruneRunReconciler) *Sweeper {
	return &Sweeper{
		Client: w.Client, Live: w.Client, Snapshots: w.Store, Term: r.Term, Clients: r.Engine.Clients, Now: w.Clock.Now,
		Interval: 10 * time.Millisecond, Log: logr.Discard(),
	}
}

func (w *world) sweep(s *Sweeper) *appSweep {
	return s.of(w.Store.Load().AppNamed(w.Namespace, labtest.App).Object())
}

// pattern is a policy for the groups of a prefix, or for all where it is empty.
func (w *world) pattern(name, prefix string) {
	w.t.Helper()
	w.PolicyFor(name, name, v1alpha1.PruneRule{})
	change(w, &v1alpha1.GroupPolicy{}, name, func(p *v1alpha1.GroupPolicy) {
		p.Spec.Groups = []v1alpha1.GroupMatcher{{Type: v1alpha1.GroupMatcherPrefix, Value: prefix}}
		if prefix == "" {
			p.Spec.Groups = []v1alpha1.GroupMatcher{{Type: v1alpha1.GroupMatcherAll}}
		}
	})
	w.Publish()
}

// sweepCall is one call of a sweep: for a page, or for groups.
type sweepCall struct {
	API    string
	Page   uint64
	Groups []string
}

// smallPages is a proxy between a sweep and the vendor that makes pages of two groups.
type smallPages struct {
	vendor http.Handler

	mu     sync.Mutex
	calls  []sweepCall
	before func(call sweepCall, r *http.Request) (answer string)
}

// smallPages makes the process talk to the vendor through it.
func (w *world) smallPages(r *PruneRunReconciler) *smallPages {
	w.t.Helper()
	vendor, err := url.Parse(w.URL)
	labtest.Must(w.t, err)
	p := &smallPages{vendor: httputil.NewSingleHostReverseProxy(vendor)}
	server := httptest.NewServer(p)
	w.t.Cleanup(server.Close)
	r.Engine.Clients.Endpoint = server.URL
	return p
}

func (p *smallPages) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var request struct {
		Next   uint64
		Groups []string `json:"GroupIdList"`
	}
	if err := json.Unmarshal(body, &request); err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	call := sweepCall{API: path.Base(r.URL.Path), Page: request.Next, Groups: request.Groups}
	if call.API == apiGroups {
		body = fmt.Appendf(nil, `{"Limit":2,"Next":%d}`, request.Next)
	}
	p.mu.Lock()
	p.calls = append(p.calls, call)
	before := p.before
	p.mu.Unlock()
	if before != nil {
		if answer := before(call, r); answer != "" {
			_, _ = io.WriteString(rw, answer)
			return
		}
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	p.vendor.ServeHTTP(rw, r)
}

// instead sets what is done before a call, which may be to answer it instead of the vendor; then everything recorded so
// far is forgotten.
func (p *smallPages) instead(before func(call sweepCall, r *http.Request) (answer string)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before, p.calls = before, nil
}

func (p *smallPages) groups() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var groups []string
	for _, call := range p.calls {
		groups = append(groups, call.Groups...)
	}
	return groups
}

// pages are those that were listed, each once however often it was tried.
func (p *smallPages) pages() []uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	var pages []uint64
	for _, call := range p.calls {
		if call.API == apiGroups {
			pages = append(pages, call.Page)
		}
	}
	return slices.Compact(pages)
}

func refusal(code int) string {
	return fmt.Sprintf(`{"ActionStatus":"FAIL","ErrorInfo":"no","ErrorCode":%d}`, code)
}

// hasRuns says that exactly these groups have one run each.
func (w *world) hasRuns(groups ...string) {
	w.t.Helper()
	var list v1alpha1.PruneRunList
	labtest.Must(w.t, w.Client.List(w.t.Context(), &list, client.InNamespace(w.Namespace)))
	got := []string{}
	for i := range list.Items {
		got = append(got, list.Items[i].Spec.GroupID)
	}
	slices.Sort(got)
	if diff := cmp.Diff(groups, got); diff != "" {
		w.t.Errorf("groups that have a run (-want,+got)\n%s", diff)
	}
}

func (w *world) fullGroups(ids ...string) {
	w.t.Helper()
	for _, id := range ids {
		w.Group(id, 1, 1)
	}
}

func TestSweepListsTheGroupsThatPatternsName(t *testing.T) {
	w := newWorld(t)
	w.fullGroups("vip-1", "other", "vip-2", "solo", "vip-3", "other-2", "vip-4")
	w.PolicyFor("solo", "solo", v1alpha1.PruneRule{})
	w.PolicyFor("third", "vip-3", v1alpha1.PruneRule{}) // exact, and by the pattern too
	w.Group("vip-roomy", 1, 1)
	_, err := w.Emulator.Quit(t.Context(), "vip-roomy", "i1")
	labtest.Must(t, err)
	w.PolicyFor("roomy", "vip-roomy", v1alpha1.PruneRule{})
	w.pattern("vip", "vip-")
	r := w.process()
	vendor, sweep := w.smallPages(r), w.sweep(w.sweeper(r))
	if !sweep.inTerm(t.Context()) || sweep.page != 0 {
		t.Errorf("the sweep came to page %d, want its end", sweep.page)
	}
	w.hasRuns("solo", "vip-1", "vip-2", "vip-3", "vip-4")
	if diff := cmp.Diff([]string{"solo", "vip-3", "vip-roomy", "vip-1", "vip-2", "vip-4"},
		vendor.groups()); diff != "" {
		t.Errorf("groups asked about (-want,+got)\n%s", diff)
	}
	if got := vendor.pages(); len(got) != 4 {
		t.Errorf("pages = %v, want 4 of two groups each", got)
	}

	w.fullGroups("new")
	w.pattern("all", "")
	vendor.instead(nil)
	sweep.inTerm(t.Context())
	w.hasRuns("new", "other", "other-2", "solo", "vip-1", "vip-2", "vip-3", "vip-4")
	if diff := cmp.Diff([]string{"vip-roomy", "other", "other-2", "new"}, vendor.groups()); diff != "" {
		t.Errorf("groups with a run were asked about (-want,+got)\n%s", diff)
	}
}

func TestSweepResumesWhereItStopped(t *testing.T) {
	type stop struct {
		*world
		r     *PruneRunReconciler
		renew func()
	}
	// Each of these ends the sweep while it looks at "c", which is on the second of three pages; mend makes up for it.
	tests := map[string]struct {
		spoil func(w stop, r *http.Request) (answer string)
		mend  func(w stop)
	}{
		"the vendor is down": {spoil: func(stop, *http.Request) string { return refusal(10002) }},
		"the vendor limits us": {spoil: func(stop, *http.Request) string { return refusal(60028) },
			mend: func(w stop) { w.Clock.Forward(time.Hour) }},
		"the key is wrong meanwhile": {spoil: func(stop, *http.Request) string { return refusal(70009) },
			mend: func(w stop) { w.Clock.Forward(time.Hour) }},
		"the term is lost": {
			spoil: func(w stop, r *http.Request) string {
				w.endTerm(w.r)
				<-r.Context().Done() // the vendor hangs, the sweep does not
				return "never read"
			},
			mend: func(w stop) { w.renew() },
		},
		"the app is suspended": {
			spoil: func(w stop, _ *http.Request) string { w.pruning(v1alpha1.PruningSuspended); return refusal(10002) },
			mend:  func(w stop) { w.pruning(v1alpha1.PruningEnabled) },
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := stop{world: newWorld(t)}
			w.fullGroups("a", "b", "c", "d", "e")
			w.pattern("all", "")
			w.r = w.process()
			sweeper := w.sweeper(w.r)
			w.renew = func() { sweeper.Term = w.process().Term }
			vendor, sweep := w.smallPages(w.r), w.sweep(sweeper)
			vendor.instead(func(call sweepCall, r *http.Request) string {
				if slices.Contains(call.Groups, "c") {
					return tc.spoil(w, r)
				}
				return ""
			})
			sweep.inTerm(t.Context())
			w.hasRuns("a", "b")
			before := vendor.pages()
			if len(before) != 2 || sweep.page != before[1] {
				t.Fatalf("stopped at page %d of %v, want the second one", sweep.page, before)
			}
			if tc.mend != nil {
				tc.mend(w)
			}
			vendor.instead(nil)
			sweep.inTerm(t.Context())
			w.hasRuns("a", "b", "c", "d", "e")
			if got := vendor.pages(); len(got) != 2 || got[0] != before[1] || sweep.page != 0 {
				t.Errorf("the next sweep listed %v and came to %d, want it to go on at %d", got, sweep.page, before[1])
			}
			vendor.instead(nil)
			w.sweep(sweeper).inTerm(t.Context())
			if got := vendor.pages(); len(got) != 3 || got[0] != 0 {
				t.Errorf("a new process listed %v, want everything", got)
			}
		})
	}
}

func TestSweepRepeatsAPageWhoseRunsItCouldNotCreate(t *testing.T) {
	w := newWorld(t)
	w.fullGroups("a", "b", "c", "d", "e")
	w.pattern("all", "")
	r := w.process()
	vendor, sweeper := w.smallPages(r), w.sweeper(r)
	sweeper.Client = &troubled{Client: w.Client,
		create: func(ctx context.Context, run *v1alpha1.PruneRun, send func() error) error {
			if run.Spec.GroupID != "d" {
				return send()
			}
			w.endTerm(r)
			<-ctx.Done() // the API server hangs, the sweep does not
			return ctx.Err()
		}}
	sweep := w.sweep(sweeper)
	if sweep.inTerm(t.Context()) {
		t.Error("the sweep passes for done")
	}
	w.hasRuns("a", "b", "c")
	if pages := vendor.pages(); len(pages) != 2 || sweep.page != pages[1] {
		t.Errorf("stopped at %d of %v, want the page of the group that has no run", sweep.page, pages)
	}
}

func (w *world) pruning(state v1alpha1.PruningState) {
	w.t.Helper()
	change(w, &v1alpha1.IMApp{}, labtest.App, func(app *v1alpha1.IMApp) { app.Spec.Pruning = state })
	w.Publish()
}

func TestSweepRestartsWhenThePageIsNoLongerKnown(t *testing.T) {
	w := newWorld(t)
	w.fullGroups("a", "b", "c")
	w.pattern("all", "")
	r := w.process()
	vendor, sweep := w.smallPages(r), w.sweep(w.sweeper(r))
	sweep.page = 4711
	vendor.instead(func(call sweepCall, _ *http.Request) string {
		if call.Page == 4711 {
			return refusal(10004)
		}
		return ""
	})
	sweep.inTerm(t.Context())
	w.hasRuns("a", "b", "c")
	if got := vendor.pages(); len(got) != 3 || got[0] != 4711 || got[1] != 0 {
		t.Errorf("pages = %v, want 4711 and then all", got)
	}
}

func TestSweepOfAnEndlessListingIsStoppedAndRestarted(t *testing.T) {
	for name, next := range map[string]map[uint64]uint64{
		"a page leads to itself":         {0: 1, 1: 1},
		"a page leads to an earlier one": {0: 1, 1: 2, 2: 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.fullGroups("a")
			w.pattern("all", "")
			r := w.process()
			vendor, sweep := w.smallPages(r), w.sweep(w.sweeper(r))
			for range 2 {
				vendor.instead(func(call sweepCall, _ *http.Request) string {
					if call.API != apiGroups {
						return ""
					}
					return fmt.Sprintf(`{"ActionStatus":"OK","ErrorCode":0,"TotalCount":1,`+
						`"GroupIdList":[{"GroupId":"a"}],"Next":%d}`, next[call.Page])
				})
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				if !sweep.inTerm(ctx) {
					t.Error("the sweep does not end")
				}
				cancel()
				w.hasRuns("a")
				if got := vendor.pages(); len(got) != len(next) || got[0] != 0 || sweep.page != 0 {
					t.Fatalf("listed %v and goes on at %d, want every page once, and to begin anew", got, sweep.page)
				}
			}
		})
	}
}

func TestSweepUsesTheCurrentSnapshot(t *testing.T) {
	w := newWorld(t)
	w.fullGroups("a-1", "b-1", "a-2", "b-2", "a-3", "b-3")
	w.pattern("as", "a-")
	r := w.process()
	vendor, sweep := w.smallPages(r), w.sweep(w.sweeper(r))
	vendor.instead(func(call sweepCall, _ *http.Request) string {
		if slices.Contains(call.Groups, "a-1") {
			w.Remove(&v1alpha1.GroupPolicy{}, "as")
			w.pattern("bs", "b-")
		}
		if slices.Contains(call.Groups, "b-2") {
			w.Remove(&v1alpha1.GroupPolicy{}, "bs")
			w.Publish()
		}
		return ""
	})
	sweep.inTerm(t.Context())
	if diff := cmp.Diff([]string{"a-1", "b-2"}, vendor.groups()); diff != "" {
		t.Errorf("groups asked about (-want,+got)\n%s", diff)
	}
	if got := vendor.pages(); len(got) != 2 || sweep.page != 0 {
		t.Errorf("pages = %v, from %d: want no page after the last pattern went", got, sweep.page)
	}
}

func TestSweepSkipsRefusedPages(t *testing.T) {
	w := newWorld(t)
	w.fullGroups("a", "b", "c", "d", "e")
	w.PolicyFor("exact", "e", v1alpha1.PruneRule{})
	w.pattern("all", "")
	r := w.process()
	vendor, sweeper := w.smallPages(r), w.sweeper(r)
	vendor.instead(func(call sweepCall, _ *http.Request) string {
		if slices.Contains(call.Groups, "a") || slices.Contains(call.Groups, "e") {
			return refusal(10004) // by the vendor, for good
		}
		return ""
	})
	refuse := func(group string) bool { return group == "c" } // by the API server
	sweeper.Client = &refusing{Client: w.Client, refuse: refuse}
	w.sweep(sweeper).inTerm(t.Context())
	w.hasRuns("d")
}

func TestSweepOfOneAppDelaysNoOther(t *testing.T) {
	w := newWorld(t)
	w.PolicyFor("exact", "full", v1alpha1.PruneRule{})
	labtest.Must(t, w.Client.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "other-im",
			Labels: map[string]string{v1alpha1.LabelCredentials: "true"}},
		StringData: map[string]string{v1alpha1.SecretKeySecretKey: lab.SecretKey},
	}))
	labtest.Must(t, w.Client.Create(t.Context(), &v1alpha1.IMApp{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "other"},
		Spec: v1alpha1.IMAppSpec{
			SDKAppID: lab.SDKAppID + 1, Region: "Singapore", AdminAccount: "administrator",
			CallbackAuthentication: v1alpha1.CallbackAuthenticationNone,
			CredentialsSecretRef:   v1alpha1.CredentialsSecretReference{Name: "other-im"},
			REST:                   v1alpha1.RESTSettings{RequestsPerSecond: 200},
		},
	}))
	labtest.Must(t, w.Client.Create(t.Context(), &v1alpha1.GroupPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "of-other"},
		Spec: v1alpha1.GroupPolicySpec{
			AppRef: v1alpha1.AppReference{Name: "other"},
			Groups: []v1alpha1.GroupMatcher{{Type: v1alpha1.GroupMatcherExact, Value: "roomy"}},
			WhenFull: &v1alpha1.WhenFullSection{Prune: &v1alpha1.PruneRule{Mode: v1alpha1.PruneModeEnforce,
				InactiveFor: "30d"}},
		},
	}))
	w.Publish()
	r := w.process()
	vendor := w.smallPages(r)
	var mu sync.Mutex
	swept := map[string]int{}
	vendor.instead(func(_ sweepCall, r *http.Request) string {
		app := r.URL.Query().Get("sdkappid")
		mu.Lock()
		swept[app]++
		mu.Unlock()
		if app == fmt.Sprint(lab.SDKAppID) {
			<-r.Context().Done() // for as long as somebody waits for it
			return "never read"
		}
		return `{"ActionStatus":"OK","ErrorCode":0,"GroupInfo":[` +
			`{"GroupId":"roomy","ErrorCode":0,"Type":"Public","MemberNum":1,"MaxMemberNum":2}]}`
	})
	stop := start(t, w.sweeper(r).Start)
	labtest.Eventually(t, func() error {
		mu.Lock()
		defer mu.Unlock()
		if hangs, others := swept[fmt.Sprint(lab.SDKAppID)],
			swept[fmt.Sprint(lab.SDKAppID+1)]; hangs == 0 || others < 5 {
			return fmt.Errorf("the app that hangs was called %d times, the other one %d times", hangs, others)
		}
		return nil
	})
	stop() // which does not wait for the vendor
	mu.Lock()
	defer mu.Unlock()
	// The client gives up on an attempt after 5 s, of which there are 5.
	if got := swept[fmt.Sprint(lab.SDKAppID)]; got > 5 {
		t.Errorf("%d calls for one sweep of the app that hangs", got)
	}
}

func TestSweepsEndWithTheirApp(t *testing.T) {
	w := newWorld(t)
	w.Group("full", 1, 1)
	w.pattern("all", "")
	r := w.process()
	sweeper := w.sweeper(r)
	object := w.sweep(sweeper).object
	var ended atomic.Bool
	start(t, func(ctx context.Context) error {
		sweeper.sweepRepeatedly(ctx, object)
		ended.Store(true)
		return nil
	})
	labtest.Eventually(t, func() error {
		if len(w.RunNames()) == 0 {
			return errors.New("no run yet")
		}
		return nil
	})
	w.Remove(&v1alpha1.IMApp{}, labtest.App)
	w.Publish()
	labtest.Eventually(t, func() error {
		if !ended.Load() {
			return errors.New("the sweeps outlive the app")
		}
		return nil
	})
}

func TestSweepFindsFullGroups(t *testing.T) {
	w := newWorld(t)
	for _, id := range []string{"full", "cooling", "busy", "work"} {
		w.Group(id, 2, 5)
		w.PolicyFor("exact-"+id, id, v1alpha1.PruneRule{Cooldown: "1h"})
	}
	w.PolicyFor("exact-gone", "gone", v1alpha1.PruneRule{}) // such a group does not exist
	w.Group("roomy", 2, 5)
	_, err := w.Emulator.Quit(t.Context(), "roomy", "i1")
	labtest.Must(t, err)
	w.PolicyFor("exact-roomy", "roomy", v1alpha1.PruneRule{})
	change(w, &v1alpha1.GroupPolicy{}, "exact-work", func(p *v1alpha1.GroupPolicy) {
		p.Spec.GroupTypes = []v1alpha1.GroupType{v1alpha1.GroupTypeWork} // and the group is Public
	})
	w.Publish()
	w.RunFor("busy", "busy", v1alpha1.PruneTriggerManual)
	w.RunFor("cooling", "cooling", v1alpha1.PruneTriggerManual)
	run := w.Get("cooling")
	run.Status = endedRun(v1alpha1.ConditionComplete, "Previewed", 0, true).Status
	run.Status.Conditions[0].LastTransitionTime = metav1.NewTime(w.Clock.Now())
	labtest.Must(t, w.Client.Status().Update(t.Context(), run))
	r := w.process()
	sweep := w.sweep(w.sweeper(r))

	sweep.inTerm(t.Context())
	sweep.inTerm(t.Context())

	want := []string{"busy", "cooling", prunerun.Key{App: labtest.App, Group: "full"}.Name(1)}
	slices.Sort(want)
	if got := w.RunNames(); !slices.Equal(got, want) {
		t.Errorf("runs = %v, want %v", got, want)
	}
	if got := w.Get(want[slices.IndexFunc(want,
		func(s string) bool {
			return s != "busy" &&
				s != "cooling"
		})]).Spec.Trigger; got != v1alpha1.PruneTriggerSweep {
		t.Errorf("trigger = %s", got)
	}
	if got := w.Happened(labtest.GetGroup); got != 2 || w.Happened(apiGroups) != 0 {
		t.Errorf("calls of 2 sweeps: %v, want one each, and nothing listed for policies without a pattern", w.Calls())
	}

	w.Forget()
	change(w, &v1alpha1.IMApp{}, labtest.App,
		func(app *v1alpha1.IMApp) { app.Spec.Pruning = v1alpha1.PruningSuspended })
	w.Publish()
	sweep.inTerm(t.Context())
	change(w, &v1alpha1.IMApp{}, labtest.App, func(app *v1alpha1.IMApp) { app.Spec.Pruning = v1alpha1.PruningEnabled })
	w.Publish()
	w.endTerm(r)
	sweep.inTerm(t.Context())
	if len(w.Calls()) != 0 {
		t.Errorf("calls of a suspended app, or outside a term: %v", w.Calls())
	}
}

func TestSweepsAreRepeated(t *testing.T) {
	w := newWorld(t)
	w.Group("full", 2, 5)
	w.PolicyFor("exact", "full", v1alpha1.PruneRule{})
	r := w.process()
	sweeper := w.sweeper(r)
	start(t, sweeper.Start) // before there is a snapshot that knows the policy
	w.Publish()
	labtest.Eventually(t, func() error {
		if !w.Exists(prunerun.Key{App: labtest.App, Group: "full"}.Name(1)) {
			return errors.New("no run yet")
		}
		return nil
	})
	if sweeper.NeedLeaderElection() {
		t.Error("the manager's election would decide, not the term")
	}
}

// A sweep of many groups, none of which matches, so that all its work is listing them.
func TestSweepHoldsOnePageAtATime(t *testing.T) {
	const pages, perPage = 120, 3000
	w := newWorld(t)
	w.pattern("vip", "vip-")
	r := w.process()
	vendor, sweep := w.smallPages(r), w.sweep(w.sweeper(r))
	heap := func() int {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return int(stats.HeapAlloc)
	}
	page := make([]map[string]string, perPage)
	for n := range page {
		page[n] = map[string]string{"GroupId": fmt.Sprintf("@TGS#_of-the-community-%025d", n)}
	}
	ids, err := json.Marshal(page)
	labtest.Must(t, err)
	var early, late int
	vendor.instead(func(call sweepCall, _ *http.Request) string {
		switch call.Page {
		case 10:
			early = heap()
		case pages - 10:
			late = heap()
		}
		return fmt.Sprintf(`{"ActionStatus":"OK","ErrorCode":0,"GroupIdList":%s,"Next":%d}`, ids, (call.Page+1)%pages)
	})
	sweep.inTerm(t.Context())
	if got := len(vendor.pages()); got != pages || sweep.page != 0 {
		t.Fatalf("%d pages, then %d: want %d, and the end", got, sweep.page, pages)
	}
	// All ids together are more than 20 MiB.
	if grown := late - early; grown > 8<<20 {
		t.Errorf("the heap grew by %d MiB while listing", grown>>20)
	}
	if got := vendor.groups(); len(got) != 0 {
		t.Errorf("%d groups were asked about that no policy names", len(got))
	}
}

// noticedLoads notes when the snapshot was loaded.
type noticedLoads struct {
	policy.Store
	mu sync.Mutex
	at []time.Time
}

func (n *noticedLoads) Load() *policy.Snapshot {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.at = append(n.at, time.Now())
	return n.Store.Load()
}

// gaps are the times between loads, less those at one moment. They are forgotten, all but the last load.
func (n *noticedLoads) gaps() []time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	var gaps []time.Duration
	for i := 1; i < len(n.at); i++ {
		if gap := n.at[i].Sub(n.at[i-1]); gap > 0 {
			gaps = append(gaps, gap)
		}
	}
	n.at = n.at[len(n.at)-1:]
	return gaps
}

func TestTimesBetweenSweeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := policy.App{Object: policy.Object{Namespace: "chat", Name: "prod", UID: "one"}, SDKAppID: 1}
		suspended := app
		suspended.PruningSuspended = true
		var store noticedLoads
		store.Publish(policy.Compile(policy.Input{Apps: []policy.App{app}}))
		sweeper := &Sweeper{Snapshots: &store, Term: &term.Term{}, Interval: 10 * time.Minute, Log: logr.Discard()}
		start(t, func(ctx context.Context) error {
			sweeper.sweepRepeatedly(ctx, app.Object)
			return nil
		})
		want := func(phase string, least, most time.Duration) {
			t.Helper()
			<-time.After(time.Hour) // of the bubble
			synctest.Wait()
			gaps := store.gaps()
			// The first one belongs to the phase before.
			if len(gaps) < 4 || slices.Min(gaps[1:]) < least || slices.Max(gaps[1:]) > most {
				t.Errorf("%s: %v between sweeps, want %v to %v", phase, gaps, least, most)
			}
		}
		want("without a term", 54*time.Second, 66*time.Second)
		start(t, sweeper.Term.Start)
		want("in a term", 9*time.Minute, 11*time.Minute)
		store.Publish(policy.Compile(policy.Input{Apps: []policy.App{suspended}}))
		want("while suspended", 54*time.Second, 66*time.Second)
	})
}
