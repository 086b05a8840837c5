package replicas

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// world is a leader with two other replicas, a clock, and objects in namespace chat.
type world struct {
	*testing.T
	*Members
	*Enforcement
	at time.Time
}

// behindC is said of replica c while it does not follow.
const behindC = "1 of 3: c, whose AccountLists of namespace chat have been out of date since 2026-11-21T18:30:00Z"

var start = time.Date(2026, 11, 21, 18, 30, 0, 0, time.UTC)

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, at: start}
	w.Members = NewMembers(Pod{"groupgate-system", "leader", "1"}, func() time.Time { return w.at })
	w.Enforcement = NewEnforcement(w.Members, nil)
	w.allListed()
	w.expect()
	w.publish("100")
	w.report("b", "100")
	w.report("c", "100")
	return w
}

func versions(version string) Versions {
	return Versions{
		{"IMApp", "chat"}: version, {"AccountList", "chat"}: version, {"GroupPolicy", "chat"}: version,
	}
}

// publish is a publication of the leader that contains every event up to a version.
func (w *world) publish(version string) { w.Published(versions(version), versions(version)) }

// report is a report of another replica.
func (w *world) report(name, version string) {
	w.put("replica-"+name, leased{name: name, renewed: w.at, report: Report{Versions: versions(version)}})
}

// renew renews the leader's own Lease.
func (w *world) renew() { w.put("replica-leader", leased{name: "leader", renewed: w.at}) }

func (w *world) after(d time.Duration) { w.at = w.at.Add(d) }

func (w *world) list(generation int64, version string) Verdict {
	return w.Judge(1, Object{
		Kind: "AccountList", Namespace: "chat", Name: "vip", UID: "vip", Generation: generation, Version: version,
	})
}

func (w *world) policy(generation int64, version string) Verdict {
	return w.Judge(1, Object{
		Kind: "GroupPolicy", Namespace: "chat", Name: "lounge", UID: "lounge", Generation: generation, Version: version,
		RefersTo: "AccountList",
	})
}

// check compares a verdict with "waiting", "reached" or what is said of the replicas that are behind.
func (w *world) check(verdict Verdict, want string) {
	w.Helper()
	got := map[State]string{Waiting: "waiting", Reached: "reached"}[verdict.State]
	switch {
	case verdict.Unread != "" && verdict.State == Behind:
		got = "unread: " + verdict.Unread
	case verdict.State == Behind:
		got = fmt.Sprintf("%d of %d: %s", verdict.Late, verdict.Replicas, verdict.First)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.Errorf("(-want,+got):\n%s", diff)
	}
}

// due checks which objects of a kind are enqueued.
func (w *world) checkDue(kind string, want ...string) {
	w.Helper()
	var got []string
	for _, request := range w.due(kind) {
		got = append(got, request.Name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.Errorf("enqueued %s (-want,+got):\n%s", kind, diff)
	}
}

func TestEditIsReachedWhenEveryReplicaReportsIt(t *testing.T) {
	w := newWorld(t)
	w.check(w.list(1, "90"), "reached")
	w.check(w.list(2, "110"), "waiting") // the leader itself has not published it
	w.publish("110")
	w.check(w.list(2, "110"), "waiting")
	w.report("b", "110")
	w.checkDue("AccountList")
	w.report("c", "112")
	w.checkDue("GroupPolicy")
	w.checkDue("AccountList", "vip")
	w.check(w.list(2, "110"), "reached")
	w.checkDue("AccountList")
}

// The versions that status writes make are no news: a replica that is cut off enforces the object without them.
func TestStatusWriteNeedsNoReport(t *testing.T) {
	w := newWorld(t)
	w.check(w.list(1, "90"), "reached")
	w.publish("120")
	w.check(w.list(1, "120"), "reached")
	w.check(w.list(2, "121"), "waiting")
	w.check(w.list(2, "125"), "waiting")
	w.publish("125")
	w.report("b", "121")
	w.report("c", "121")
	w.check(w.list(2, "125"), "reached")
}

func TestLabelsAreReachedLikeGenerations(t *testing.T) {
	w := newWorld(t)
	o := Object{Kind: "AccountList", Namespace: "chat", Name: "vip", UID: "vip", Generation: 1, Version: "90"}
	w.check(w.Judge(1, o), "reached")
	w.publish("110")
	o.Version, o.Labels = "110", 7
	w.check(w.Judge(1, o), "waiting")
}

func TestReplicaThatIsBehindIsNamed(t *testing.T) {
	w := newWorld(t)
	w.publish("110")
	w.report("b", "110")
	w.check(w.list(2, "110"), "waiting")
	w.after(grace)
	w.check(w.list(2, "110"), behindC)
	w.checkDue("AccountList")
	w.after(liveFor)
	w.renew()
	w.report("b", "110")
	w.checkDue("AccountList", "vip")
	w.check(w.list(2, "110"), "1 of 3: c, last heard of at 2026-11-21T18:30:00Z")
	w.check(w.list(1, "100"), "reached") // what did not change after the last report
	w.report("c", "110")
	w.checkDue("AccountList")
}

func TestReturnOfAReplicaIsNoticed(t *testing.T) {
	w := newWorld(t)
	w.publish("110")
	w.report("b", "110")
	w.after(grace)
	w.check(w.list(2, "110"), behindC)
	w.report("c", "115")
	w.checkDue("AccountList", "vip")
	w.check(w.list(2, "110"), "reached")
}

// With an edit every second no replica is ever quite current.
func TestReplicasThatFollowAreNotBehind(t *testing.T) {
	w := newWorld(t)
	for i := range 60 {
		w.publish(fmt.Sprint(200 + i))
		w.report("b", fmt.Sprint(199+i))
		w.report("c", fmt.Sprint(199+i))
		w.check(w.list(int64(i), fmt.Sprint(200+i)), "waiting")
		w.after(time.Second)
	}
}

func TestReplicaThatIsCutOffIsNamedDuringEdits(t *testing.T) {
	w := newWorld(t)
	for i := range 10 {
		w.publish(fmt.Sprint(200 + i))
		w.report("b", fmt.Sprint(200+i))
		want := "waiting"
		if i >= 5 {
			want = behindC
		}
		w.check(w.list(int64(i), fmt.Sprint(200+i)), want)
		w.after(time.Second)
	}
}

func TestReplicaThatEndedCleanlyDoesNotCount(t *testing.T) {
	w := newWorld(t)
	w.publish("110")
	w.report("b", "110")
	w.check(w.list(2, "110"), "waiting")
	w.remove("replica-c")
	w.checkDue("AccountList", "vip")
	w.check(w.list(2, "110"), "reached")
}

func TestReplicaWithoutTheNamespaceIsBehind(t *testing.T) {
	w := newWorld(t)
	other := Versions{{"AccountList", "games"}: "500"}
	w.put("replica-c", leased{name: "c", renewed: w.at, report: Report{Versions: other}})
	w.publish("110")
	w.report("b", "110")
	w.after(grace)
	w.check(w.list(2, "110"), "1 of 3: c, which has not read the AccountLists of namespace chat")
}

// During a rollout some replicas may watch namespaces one by one, and others all of them.
func TestWatchesOfOneAndOfAllNamespacesAreCompared(t *testing.T) {
	all := func(version string) Versions {
		return Versions{{"AccountList", ""}: version, {"IMApp", ""}: version, {"GroupPolicy", ""}: version}
	}
	t.Run("LeaderWatchesOne", func(t *testing.T) {
		w := newWorld(t)
		w.publish("110")
		w.report("b", "110")
		w.put("replica-c", leased{name: "c", renewed: w.at, report: Report{Versions: all("109")}})
		w.check(w.list(2, "110"), "waiting")
		w.put("replica-c", leased{name: "c", renewed: w.at, report: Report{Versions: all("110")}})
		w.check(w.list(2, "110"), "reached")
	})
	t.Run("LeaderWatchesAll", func(t *testing.T) {
		w := newWorld(t)
		w.Published(all("110"), all("110"))
		w.report("b", "110")
		w.check(w.list(2, "110"), "waiting")
		w.after(grace)
		w.check(w.list(2, "110"), behindC)
		w.report("c", "110")
		w.check(w.list(2, "110"), "reached")
	})
}

// A list that is edited, relabelled or deleted changes the policies that select it without a new version of them.
func TestPolicyWaitsForItsLists(t *testing.T) {
	w := newWorld(t)
	w.check(w.policy(1, "90"), "reached")
	w.publish("110")
	w.Resolved("GroupPolicy", "chat", "lounge", "lounge", versions("110"))
	w.checkDue("GroupPolicy")
	w.check(w.policy(1, "90"), "waiting")
	w.report("b", "110")
	w.after(grace)
	w.checkDue("GroupPolicy", "lounge")
	w.check(w.policy(1, "90"), behindC)
	w.report("c", "110")
	w.checkDue("GroupPolicy", "lounge")
	w.check(w.policy(1, "90"), "reached")
}

// An edit of a list that arrives everywhere changes no status of a policy.
func TestPolicyIsNotEnqueuedForAListThatArrives(t *testing.T) {
	w := newWorld(t)
	w.check(w.policy(1, "90"), "reached")
	w.publish("110")
	w.Resolved("GroupPolicy", "chat", "lounge", "lounge", versions("110"))
	w.report("b", "110")
	w.checkDue("GroupPolicy")
	w.report("c", "110")
	w.checkDue("GroupPolicy")
	w.check(w.policy(1, "90"), "reached")
}

// What is not known at first is required once it is known.
func TestPolicyWaitsForListsThatTheLeaderHasNotReadYet(t *testing.T) {
	w := newWorld(t)
	w.Published(Versions{{"GroupPolicy", "chat"}: "100"}, nil)
	w.check(w.policy(1, "90"), "waiting")
	w.publish("100")
	w.check(w.policy(1, "90"), "reached")
}

// What changed between two terms is not known: the present version is later, and so safe.
func TestNewLeaderTakesTheVersionsThatItFinds(t *testing.T) {
	w := newWorld(t)
	w.check(w.list(1, "90"), "reached")
	w.publish("120")
	o := Object{Kind: "AccountList", Namespace: "chat", Name: "vip", UID: "vip", Generation: 1, Version: "115"}
	w.check(w.Judge(2, o), "waiting")
	w.report("b", "115")
	w.report("c", "115")
	w.check(w.Judge(2, o), "reached")
}

func TestObjectThatIsCreatedAgainIsAnotherOne(t *testing.T) {
	w := newWorld(t)
	w.check(w.list(1, "90"), "reached")
	w.Forget("vip")
	w.publish("120")
	o := Object{Kind: "AccountList", Namespace: "chat", Name: "vip", UID: "another", Generation: 1, Version: "115"}
	w.check(w.Judge(1, o), "waiting")
	w.Forget("another")
	w.checkDue("AccountList")
}

// A leader that cannot read a kind does not know what has changed.
func TestLeaderWhoseWatchFailsIsBehind(t *testing.T) {
	w := newWorld(t)
	w.check(w.list(1, "90"), "reached")
	since := w.at
	failing := map[Watch]time.Time{{"AccountList", "chat"}: since}
	w.after(failingFor - time.Second)
	w.renew()
	if w.Members.observe(failing) {
		t.Error("a short failure counts")
	}
	w.check(w.list(1, "90"), "reached")
	w.after(time.Second)
	if !w.Members.observe(failing) || !w.Lapsed("AccountList", "chat") || w.Lapsed("GroupPolicy", "chat") {
		t.Error("a long failure does not count, or for another kind")
	}
	const want = "unread: the AccountLists of namespace chat since 2026-11-21T18:30:00Z"
	w.check(w.list(1, "90"), want)
	w.check(w.policy(1, "90"), want)
	if w.Members.observe(failing) {
		t.Error("the same failure is new")
	}
	if !w.Members.observe(nil) {
		t.Error("the end of a failure is not noticed")
	}
	w.check(w.list(1, "90"), "reached")
}

// A leader that does not see its own renewals does not see another replica start either.
func TestLeaderThatCannotFollowTheLeasesIsBehind(t *testing.T) {
	w := newWorld(t)
	w.renew()
	w.check(w.list(1, "90"), "reached")
	w.after(liveFor)
	w.Members.observe(nil)
	w.check(w.list(1, "90"),
		"unread: the Leases of the replicas since 2026-11-21T18:30:00Z")
	w.renew()
	w.Members.observe(nil)
	w.check(w.list(1, "90"), "reached")
}

func TestProcessOutsideOfAPodIsTheOnlyReplica(t *testing.T) {
	w := newWorld(t)
	w.Members = NewMembers(Pod{}, func() time.Time { return w.at })
	w.Enforcement = NewEnforcement(w.Members, nil)
	w.publish("100")
	w.after(time.Hour)
	w.Members.observe(nil)
	w.check(w.list(1, "100"), "reached")
	w.check(w.list(2, "101"), "waiting")
}

func TestNothingIsReachedBeforeTheReplicasAreKnown(t *testing.T) {
	w := newWorld(t)
	w.Members = NewMembers(Pod{"groupgate-system", "leader", "1"}, func() time.Time { return w.at })
	w.Enforcement = NewEnforcement(w.Members, nil)
	w.publish("100")
	w.check(w.list(1, "90"), "waiting")
	w.allListed()
	w.check(w.list(1, "90"), "reached")
}

// An upgrade with a role that lacks something must not replace the replicas that still know.
func TestReplicaThatCannotReadANamespaceReplacesNoneThatServesIt(t *testing.T) {
	w := newWorld(t)
	check := func(want string, namespaces ...string) {
		t.Helper()
		var watches []Watch
		for _, namespace := range namespaces {
			watches = append(watches, Watch{"IMApp", namespace}, Watch{"AccountList", namespace})
		}
		got := ""
		if err := w.Replaces(watches); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	check("", "chat", "games") // no replica serves games
	w.Published(Versions{{"IMApp", "chat"}: "100"}, nil)
	check("this replica cannot read the AccountLists of namespace chat, which b serves", "games", "chat")
	w.after(liveFor) // the others have not been heard of
	check("", "chat")
	w.report("c", "100")
	check("this replica cannot read the AccountLists of namespace chat, which c serves", "chat")
	w.publish("101")
	check("", "chat")
	w.Members = NewMembers(Pod{"groupgate-system", "leader", "1"}, func() time.Time { return w.at })
	check("waiting for the Leases of the replicas", "chat")
}

// A Lease that is found at the start may be old, and its clock may differ.
func TestLeaseIsAliveByTheClockOfItsReader(t *testing.T) {
	w := newWorld(t)
	renewed := w.at.Add(-time.Hour)
	w.put("replica-d", leased{name: "d", renewed: renewed, report: Report{Versions: versions("100")}})
	w.after(newcomer)
	if w.others["replica-d"].live(w.at) {
		t.Error("an old Lease is alive")
	}
	renewed = renewed.Add(10 * time.Second)
	w.put("replica-d", leased{name: "d", renewed: renewed, report: Report{Versions: versions("100")}})
	if !w.others["replica-d"].live(w.at) {
		t.Error("a Lease that was renewed is not alive")
	}
	w.put("replica-e", leased{name: "e", renewed: w.at.Add(time.Hour), report: Report{Versions: versions("100")}})
	w.after(liveFor)
	if w.others["replica-e"].live(w.at) {
		t.Error("a Lease from the future is alive for ever")
	}
}

func TestVersionsAreComparedAsNumbers(t *testing.T) {
	for _, tc := range []struct {
		version, required string
		want              bool
	}{
		{"100", "99", true}, {"99", "100", false}, {"100", "100", true},
		{"", "1", false}, {"1", "", false}, {"", "", false}, {"abc", "1", false},
		{"36893488147419103233", "36893488147419103232", true},
	} {
		if got := reaches(tc.version, tc.required); got != tc.want {
			t.Errorf("reaches(%q, %q) = %t", tc.version, tc.required, got)
		}
	}
}

// The newest version of an unedited list is that of its last status write, but each replica began with versions
// of its own, and has bookmarks of its own.
func TestReplicasThatBeganEarlierAreNotBehind(t *testing.T) {
	w := newWorld(t)
	w.Members = NewMembers(Pod{"groupgate-system", "leader", "1"}, func() time.Time { return w.at })
	w.Enforcement = NewEnforcement(w.Members, nil)
	w.allListed()
	w.expect()
	w.report("b", "100")
	w.report("c", "100")
	w.Published(versions("200"), versions("90"))
	w.check(w.policy(1, "90"), "waiting") // a list may have been deleted since 100
	w.after(bookmarkGrace - time.Second)
	w.renew()
	w.report("b", "210")
	w.report("c", "100")
	w.checkDue("GroupPolicy")
	w.check(w.policy(1, "90"), "waiting")
	w.after(time.Second)
	w.checkDue("GroupPolicy", "lounge")
	w.check(w.policy(1, "90"), behindC)
	w.report("c", "200")
	w.check(w.policy(1, "90"), "reached")

	// The leader is ahead by a bookmark when a list is edited.
	w.settled(versions("300"), versions("90"))
	w.after(time.Minute)
	w.renew()
	w.publish("310")
	w.Resolved("GroupPolicy", "chat", "lounge", "lounge", versions("310"))
	w.check(w.policy(1, "90"), "waiting")
	w.report("b", "310")
	w.report("c", "310")
	w.check(w.policy(1, "90"), "reached")
	w.settled(versions("400"), versions("310"))
	w.check(w.policy(2, "310"), "reached")
}

// The clock of the replica that serves is a minute behind that of the one that starts.
func TestReplicaThatServesWithAnotherClockIsNotReplaced(t *testing.T) {
	at := start
	m := NewMembers(Pod{"groupgate-system", "new", "1"}, func() time.Time { return at })
	m.allListed()
	watches := []Watch{{"IMApp", "chat"}, {"AccountList", "chat"}, {"GroupPolicy", "chat"}}
	serves := leased{name: "old", renewed: at.Add(-time.Minute), report: Report{Versions: versions("100")}}
	m.put("replica-old", serves)
	for range 6 {
		if err := m.Replaces(watches); err == nil {
			t.Fatalf("replaced %s after it was first heard of", at.Sub(start))
		}
		at = at.Add(renewInterval + reportInterval)
		serves.renewed = serves.renewed.Add(renewInterval + reportInterval)
		m.put("replica-old", serves)
	}
	at = at.Add(liveFor)
	if err := m.Replaces(watches); err != nil {
		t.Errorf("not replaced when it is silent: %v", err)
	}
}

// After an outage of the API server a term may begin before the watches are open again.
func TestOutageBeforeTheTermIsNotWrittenIntoStatuses(t *testing.T) {
	w := newWorld(t)
	failing := map[Watch]time.Time{{"AccountList", "chat"}: w.at}
	w.after(time.Hour)
	w.Members.observe(failing)
	w.check(w.list(1, "90"), "waiting")
	w.checkDue("AccountList")
	w.after(settling)
	w.renew()
	w.Members.observe(failing)
	w.checkDue("AccountList", "vip")
	w.check(w.list(1, "90"), "unread: the AccountLists of namespace chat since 2026-11-21T18:30:00Z")
	w.Members.observe(nil)
	w.check(w.list(1, "90"), "reached")
}

// The app that held the SDKAppID was deleted, perhaps in another namespace. A replica that is cut off still answers its
// callbacks by the policies of that app.
func TestAppThatTakesASDKAppIDOverWaitsForTheOther(t *testing.T) {
	w := newWorld(t)
	app := Object{Kind: "IMApp", Namespace: "chat", Name: "successor", UID: "successor", Generation: 1, Version: "90"}
	w.check(w.Judge(1, app), "reached")
	w.publish("110")
	w.report("b", "110")
	app.Holds = true
	w.check(w.Judge(1, app), "waiting")
	w.after(grace)
	w.check(w.Judge(1, app), strings.ReplaceAll(behindC, "AccountLists", "IMApps"))
	w.report("c", "110")
	w.checkDue("IMApp", "successor")
	w.check(w.Judge(1, app), "reached")
}
