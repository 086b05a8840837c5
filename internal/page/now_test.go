package page

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/refusals"
	"github.com/groupgate/groupgate/internal/refusals/replicaclient"
)

func condition(kind, reason, message string) metav1.Condition {
	return metav1.Condition{
		Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: message, ObservedGeneration: 1,
		LastTransitionTime: metav1.NewTime(noon.Add(-3 * time.Hour)),
	}
}

// closed is a world in which all is known and well: an app, a policy, and a replica that counts for a day.
func closed() *world {
	ready := condition(v1alpha1.ConditionReady, v1alpha1.ReasonReady, "All is well.")
	programmed := condition(v1alpha1.ConditionProgrammed, v1alpha1.ReasonProgrammed, "Every replica enforces it.")
	policy := &v1alpha1.GroupPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "chat", Name: "vip", Generation: 1},
		Spec: v1alpha1.GroupPolicySpec{
			AppRef: v1alpha1.AppReference{Name: "prod"},
			Join:   &v1alpha1.JoinSection{Mode: v1alpha1.JoinModeEnforce, Allow: &v1alpha1.AccountSelector{}},
		},
	}
	policy.Status.ObservedGeneration, policy.Status.Conditions = 1, []metav1.Condition{ready, programmed}
	w := &world{namespace: "chat"}
	w.objects = append(w.objects, policy, app("chat", "prod", ready, programmed,
		condition(v1alpha1.ConditionCallbacksVerified, v1alpha1.ReasonVerified, "Callbacks carry a right Sign.")))
	w.joined.Replicas = []refusals.Activity{activity("replica-0", 24*time.Hour)}
	return w
}

// activity is that of a replica that admits 10 accounts and refuses one in five minutes, for so long.
func activity(name string, since time.Duration) refusals.Activity {
	a := refusals.Activity{Replica: name, Since: noon.Add(-since), Now: noon, SnapshotAt: noon}
	for at := a.Since.Truncate(refusals.IntervalLength); !at.After(noon); at = at.Add(refusals.IntervalLength) {
		a.Intervals = append(a.Intervals, refusals.Interval{Start: at, Admitted: 10, Refused: 1})
	}
	return a
}

const fine = "The gate is closed: every join is decided by the policies as they are written."

func TestNowSaysThatTheGateIsClosed(t *testing.T) {
	status, body := closed().visit(t, "/", "en")
	if status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	expect(t, body, fine, "Callbacks carry a right Sign.", "No plan waits for approval.",
		"1,390 accounts were admitted and 139 refused.", "!not all known", "!Not every replica", "Last join decided")
	_, body = closed().visit(t, "/", "zh-CN")
	expect(t, body, "管控有效", "放行 1,390 个账号，拒绝 139 个。")
}

func TestNowNeverSaysThatAllIsWellWhereSomethingIsNotKnown(t *testing.T) {
	policy := func(w *world) *v1alpha1.GroupPolicy { return w.objects[0].(*v1alpha1.GroupPolicy) }
	imapp := func(w *world) *v1alpha1.IMApp { return w.objects[1].(*v1alpha1.IMApp) }
	problem := replicaclient.Problem{Replica: "replica-1", Message: "It did not answer within 3s."}
	for name, tc := range map[string]struct {
		change func(*world)
		want   []string
	}{
		"no replica": {
			func(w *world) { w.joined.Replicas = nil },
			[]string{"No replica was found", "How many joins were admitted and refused is not known"},
		},
		"a replica is silent": {
			func(w *world) { w.joined.Problems = append(w.joined.Problems, problem) },
			[]string{"replica-1", "It did not answer within 3s.", "Not every replica answered: there may be more."},
		},
		"a replica is stale": {
			func(w *world) {
				w.joined.Replicas[0].Stale, w.joined.Replicas[0].SnapshotAt = true, noon.Add(-7*time.Minute)
			},
			[]string{"has not heard of changes for 7m0s"},
		},
		"a replica has restarted": {
			func(w *world) {
				w.joined.Replicas = append(w.joined.Replicas, activity("replica-1", time.Hour))
				w.joined.Replicas[1].Intervals = nil
			},
			[]string{fine, "Not all is known from before", "1 hour ago", "not all known", `class="nothing"`},
		},
		"the policies are not known": {
			func(w *world) { w.forbidden = []string{"grouppolicies"} },
			[]string{"The policies are not known.", "maria"},
		},
		"the runs are not known": {
			func(w *world) { w.forbidden = []string{"pruneruns"} },
			[]string{fine, "How many plans wait is not known.", "maria", "!No plan waits"},
		},
		"an edited policy": {
			func(w *world) { policy(w).Generation = 2 }, []string{"The leader has not looked at the policy yet."},
		},
		"an edited app": {
			func(w *world) { imapp(w).Generation = 2 }, []string{"The leader has not looked at the app since"},
		},
		"wrong callbacks": {
			func(w *world) {
				imapp(w).Status.Conditions[2] = metav1.Condition{
					Type: v1alpha1.ConditionCallbacksVerified, Status: metav1.ConditionFalse,
					Reason: v1alpha1.ReasonWrongToken, Message: "Callbacks carry a wrong Sign.",
				}
			},
			[]string{"The gate is open: accounts join without being judged.", "Callbacks carry a wrong Sign."},
		},
		"leaks": {
			func(w *world) { w.joined.Replicas[0].Intervals[200].Leaked = 2 },
			[]string{"2 were seen in groups although the gate refuses them.", `class="leaked"`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := closed()
			tc.change(w)
			status, body := w.visit(t, "/", "en")
			if status != http.StatusOK {
				t.Errorf("status %d", status)
			}
			expect(t, body, tc.want...)
			if tc.want[0] != fine {
				expect(t, body, "!"+fine)
			}
		})
	}
}

// waits adds a plan that waits since so many hours.
func (w *world) waits(name, group string, hours int) {
	run := &v1alpha1.PruneRun{ObjectMeta: metav1.ObjectMeta{Namespace: "chat", Name: name}}
	run.Spec.Approval, run.Spec.GroupID = v1alpha1.ApprovalPending, group
	run.Status.AwaitsApproval = true
	made := noon.Add(-time.Duration(hours) * time.Hour)
	run.Status.Plan = &v1alpha1.PrunePlan{CreatedAt: metav1.NewTime(made)}
	w.objects = append(w.objects, run)
}

func TestNowSaysWhatWaits(t *testing.T) {
	w := closed()
	for i, hours := range []int{20, 3, 30, 7, 9, 8, 6} {
		w.waits(fmt.Sprintf("run-%d", i), fmt.Sprintf("club-%d", i), hours)
	}
	_, body := w.visit(t, "/", "en")
	expect(t, body, "6 plans wait for approval.", "in 4 hours",
		`<a href="/runs/chat/run-0"><bdi class="id">club-0</bdi></a>`, "club-6",
		`<a class="button" href="/waiting">`, "!club-1" /* the last */, "!club-2" /* void */)
}

// TestPlansThatWereNotReadMayWait reads plans that are all void, of more than a page reads.
func TestPlansThatWereNotReadMayWait(t *testing.T) {
	w := closed()
	run := &v1alpha1.PruneRun{ObjectMeta: metav1.ObjectMeta{Namespace: "chat", Name: "void"}}
	run.Status.AwaitsApproval = true
	run.Status.Plan = &v1alpha1.PrunePlan{CreatedAt: metav1.NewTime(noon.Add(-30 * time.Hour))}
	w.objects, w.more = append(w.objects, run), true
	for path, fine := range map[string]string{
		"/": "No plan waits for approval.", "/waiting": "No plan waits for a person.",
	} {
		_, body := w.visit(t, path, "en")
		expect(t, body, "How many plans wait is not known.", "!"+fine)
		w.more = false
		_, body = w.visit(t, path, "en")
		expect(t, body, "!How many plans wait is not known.", fine)
		w.more = true
	}
}

func TestNowOfAnEmptyCluster(t *testing.T) {
	for _, language := range []string{"en", "zh-CN"} {
		status, body := new(world).visit(t, "/", language)
		if status != http.StatusOK {
			t.Errorf("status %d", status)
		}
		expect(t, body, "!"+fine, "!管控有效", "!<svg")
	}
}

func TestNowOfOneApp(t *testing.T) {
	w := closed()
	w.namespace = ""
	w.objects = append(w.objects, app("other", "prod"))
	_, body := w.visit(t, "/?app=chat%2Fprod", "en")
	expect(t, body, fine, "!other/prod")
	if status, _ := w.visit(t, "/?app=chat%2Fnone", "en"); status != http.StatusNotFound {
		t.Errorf("status %d for an app that is not there", status)
	}
}

func TestNowOfAViewerWithoutRights(t *testing.T) {
	w := closed()
	w.forbidden = []string{"imapps"}
	status, body := w.visit(t, "/", "en")
	if status != http.StatusForbidden {
		t.Errorf("status %d", status)
	}
	expect(t, body, "You may not do this.", "Ask the people who run the cluster for a role.", "!"+fine)
}

// TestNowIsSmall bounds the page of many apps, each of which has findings.
func TestNowIsSmall(t *testing.T) {
	for name, change := range map[string]func(*world){
		"all is well": func(*world) {},
		"nothing is known": func(w *world) {
			w.joined = replicaclient.Answer[refusals.Activity]{Problems: []replicaclient.Problem{{
				Replica: "groupgate-6d5f9c7b8d-x2x7q", Message: "It did not answer within 3s: is it ready?",
			}}}
		},
	} {
		w := closed()
		w.namespace = ""
		for i := range 49 {
			another := w.objects[1].DeepCopyObject().(*v1alpha1.IMApp)
			another.Name = fmt.Sprintf("community-of-region-%02d", i)
			w.objects = append(w.objects, another)
		}
		for i := range plansOfNow + 1 {
			name := fmt.Sprintf("community-of-region-%02d-0123456789abcdef-evict-1", i)
			w.waits(name, fmt.Sprintf("@TGS#_@TGS#cQVLVHIM62CJ-%02d", i), i)
		}
		change(w)
		for _, language := range []string{"en", "zh-CN"} {
			_, body := w.visit(t, "/", language)
			t.Logf("%s, %s: %d bytes", name, language, len(body))
			if len(body) > 30_000 {
				t.Errorf("%s, %s: %d bytes", name, language, len(body))
			}
			if n := strings.Count(body, "<h3>"); n != 50 {
				t.Errorf("%d apps", n)
			}
		}
	}
}

func TestChartHasATextAndATable(t *testing.T) {
	_, body := closed().visit(t, "/", "en")
	expect(t, body, `role="img" aria-labelledby="chart-text"`, `<p id="chart-text">`, "Accounts in each half hour",
		"!style=")
	if n := len(regexp.MustCompile(`<th scope="row">\d\d:\d\d</th>`).FindAllString(body, -1)); n != 24 {
		t.Errorf("%d rows", n)
	}
	v := aVisit(t, "en", "Asia/Shanghai")
	if got := v.Hour(noon); got != "20:02" {
		t.Errorf("noon is %s", got)
	}
}
