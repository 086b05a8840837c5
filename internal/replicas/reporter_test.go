package replicas

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

var pod = Pod{Namespace: "groupgate-system", Name: "groupgate-manager-x", UID: "uid"}

// reporting is a Reporter that runs, and the writes that it made.
type reporting struct {
	*Reporter
	writes []time.Time
	last   coordinationv1.Lease
	fails  error
	hold   error
	stop   func()

	deletions int

	versions atomic.Pointer[Versions]
}

func (r *reporting) publish(version string) { r.versions.Store(new(versions(version))) }

func startReporter(t *testing.T) *reporting {
	t.Helper()
	r := &reporting{}
	objects := runtime.NewScheme()
	if err := coordinationv1.AddToScheme(objects); err != nil {
		t.Fatal(err)
	}
	r.Reporter = &Reporter{
		Client: interceptor.NewClient(fake.NewClientBuilder().WithScheme(objects).Build(), interceptor.Funcs{
			Apply: func(_ context.Context, _ client.WithWatch, lease runtime.ApplyConfiguration,
				_ ...client.ApplyOption) error {
				if r.fails != nil {
					return r.fails
				}
				encoded, err := json.Marshal(lease)
				if err != nil {
					return err
				}
				r.last = coordinationv1.Lease{}
				r.writes = append(r.writes, time.Now())
				return json.Unmarshal(encoded, &r.last)
			},
			Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error {
				r.deletions++
				return nil
			},
		}),
		Pod: pod,
		Report: func() (Report, bool) {
			if published := r.versions.Load(); published != nil {
				return Report{Versions: *published}, true
			}
			return Report{}, false
		},
		Hold:    func() error { return r.hold },
		Members: NewMembers(pod, time.Now),
		Now:     time.Now,
		Log:     logr.Discard(),
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Start(ctx) }() // received by stop
	r.stop = func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	return r
}

// elapse lets d pass.
func elapse(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestLeaseSaysWhatWasReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startReporter(t)
		defer r.stop()
		if err := r.Reported(); err == nil {
			t.Error("reported before the first publication")
		}
		r.publish("100")
		elapse(reportInterval)
		if err := r.Reported(); err != nil {
			t.Error(err)
		}
		got := readLease(&r.last)
		if !got.started.Equal(r.started) {
			t.Errorf("started at %s, want %s", got.started, r.started)
		}
		if !got.renewed.Equal(r.writes[0]) {
			t.Errorf("renewed at %s, want %s", got.renewed, r.writes[0])
		}
		want := leased{
			name: pod.Name, started: got.started, renewed: got.renewed, report: Report{Versions: versions("100")},
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(leased{})); diff != "" {
			t.Errorf("read (-want,+got):\n%s", diff)
		}
		owner := r.last.OwnerReferences[0]
		if owner.Kind != "Pod" || owner.Name != pod.Name || string(owner.UID) != pod.UID ||
			owner.BlockOwnerDeletion != nil {
			t.Errorf("owner %+v", owner)
		}
		if r.last.Name != "replica-"+pod.Name || r.last.Labels["groupgate.io/replica"] != "true" {
			t.Errorf("%+v", r.last.ObjectMeta)
		}
	})
}

func TestLeaseIsWrittenAtMostOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startReporter(t)
		defer r.stop()
		for i := range 200 {
			r.publish(fmt.Sprint(100 + i))
			elapse(50 * time.Millisecond)
		}
		if len(r.writes) < 9 || len(r.writes) > 11 {
			t.Errorf("%d writes in 10 s of edits", len(r.writes))
		}
		elapse(time.Second)
		if got := readLease(&r.last).report.Versions.of("IMApp", "chat"); got != "299" {
			t.Errorf("the last report has %s, want 299", got)
		}
	})
}

func TestLeaseIsRenewedWhileNothingChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startReporter(t)
		defer r.stop()
		r.publish("100")
		elapse(time.Minute)
		if len(r.writes) < 5 || len(r.writes) > 7 {
			t.Errorf("%d writes in a minute", len(r.writes))
		}
	})
}

func TestReplicaThatMayNotWriteItsLeaseIsReadyAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startReporter(t)
		defer r.stop()
		r.fails = apierrors.NewForbidden(coordinationv1.Resource("leases"), "replica-x", errors.New("no role"))
		r.publish("100")
		elapse(patience / 2)
		if err := r.Reported(); !apierrors.IsForbidden(err) {
			t.Errorf("Reported: %v, want the refusal", err)
		}
		elapse(patience)
		if err := r.Reported(); err != nil {
			t.Errorf("not ready after a while: %v", err)
		}
	})
}

// The Lease of a replica that never answers would keep every edit from being in force.
func TestReplicaThatIsHeldBackHasNoLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startReporter(t)
		defer r.stop()
		held := errors.New("another replica serves namespace chat")
		r.hold = held
		r.publish("100")
		elapse(time.Minute)
		if err := r.Reported(); !errors.Is(err, held) || len(r.writes) != 0 {
			t.Errorf("%d writes, and Reported: %v, want none, and why", len(r.writes), err)
		}
		r.mu.Lock() // which the Reporter holds when it asks
		r.hold = nil
		r.mu.Unlock()
		elapse(reportInterval)
		if err := r.Reported(); err != nil || len(r.writes) == 0 {
			t.Errorf("%d writes, and Reported: %v", len(r.writes), err)
		}
	})
}

func TestNothingIsWrittenAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startReporter(t)
		defer r.stop()
		r.publish("100")
		elapse(2 * time.Second)
		elapse(3 * time.Second)
		r.Leave(t.Context())
		if last := r.writes[len(r.writes)-1]; !last.Equal(time.Now()) {
			t.Errorf("the Lease was last renewed at %s, before the end at %s", last, time.Now())
		}
		writes := len(r.writes)
		r.publish("101")
		elapse(time.Minute)
		if len(r.writes) != writes {
			t.Error("the Lease came back")
		}
	})
}

func TestLeaseOfAnotherReleaseIsOfAReplicaThatEnforcesNothing(t *testing.T) {
	lease := &coordinationv1.Lease{}
	lease.Name, lease.Annotations = "replica-x", map[string]string{"groupgate.io/report": "v2"}
	if diff := cmp.Diff(leased{name: "replica-x"}, readLease(lease), cmp.AllowUnexported(leased{})); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
}

// A panic starts the Reporter again, while this replica answers.
func TestLeaseStaysWhenTheReporterStartsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startReporter(t)
		r.publish("100")
		elapse(2 * time.Second)
		r.stop()
		deletions := r.deletions
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if err := r.Start(ctx); err != nil {
			t.Error(err)
		}
		if r.deletions != deletions {
			t.Error("the Lease of a replica that answers was deleted")
		}
	})
}
