package browser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
	"github.com/groupgate/groupgate/internal/lab/labtest"
)

const (
	namespace = "chat"
	app       = namespace + "/prod"

	// Those who look: maria decides about runs, viktor may read, norman may do nothing.
	maria, viktor, norman = "maria", "viktor", "norman"
)

// world is what all tests look at: the app and the policies of config/samples, an IM backend, and two replicas.
type world struct {
	lab.World
	im       *emulator.Client
	backend  *lab.Backend
	log      lab.Log
	replicas []*lab.Manager
	// certificates is the folder with the certificate of the replicas, and of those that a test adds: pages ask these
	// instead.
	certificates string
	replicaURLs  []string

	mu    sync.Mutex
	pages map[string]*lab.Page // by viewer
}

// theWorld is made for the first test that looks at it.
var theWorld = sync.OnceValues(func() (*world, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	w := &world{pages: map[string]*lab.Page{}}
	made = w
	w.World = lab.World{ControlPlane: cluster.ControlPlane, Namespace: namespace, Binary: cluster.Binary}
	w.backend = lab.NewBackend([]lab.App{{}}, w.callbackURLs, nil)
	w.im, w.IMEndpoint = &emulator.Client{BaseURL: w.backend.URL}, w.backend.URL
	if _, err := w.Kubectl(ctx, "", "apply", "--server-side", "-k", "config/samples"); err != nil {
		return w, err
	}
	if _, err := w.Kubectl(ctx, lab.App{}.Manifests(), "apply", "--server-side", "--force-conflicts", "-f",
		"-"); err != nil {
		return w, err
	}
	for _, grant := range [][2]string{
		{maria, "groupgate-prune-approver"}, {maria, "groupgate-policy-viewer"}, {viktor, "groupgate-policy-viewer"},
	} {
		if _, err := w.Kubectl(ctx, "", "create", "rolebinding", grant[0]+"-"+grant[1], "--clusterrole="+grant[1],
			"--serviceaccount="+namespace+":"+grant[0]); err != nil {
			return w, err
		}
	}
	var err error
	if w.certificates, err = os.MkdirTemp("", "groupgate-browser-"); err != nil {
		return w, err
	}
	flags, err := lab.SecureMetrics(w.certificates)
	if err != nil {
		return w, err
	}
	flags = slices.Concat(lab.FastElection, flags, []string{"--shutdown-delay=0s"})
	replicas := 2
	if *update {
		replicas = 1 // processes outside of Pods do not tell the leader which callbacks they saw
	}
	for range replicas {
		replica, err := w.StartManager(&w.log, "", flags...)
		if err != nil {
			return w, err
		}
		w.replicas = append(w.replicas, replica)
	}
	for _, replica := range w.replicas {
		if err := replica.AwaitReady(ctx); err != nil {
			return w, fmt.Errorf("%w\n%s", err, &w.log)
		}
	}
	if _, err := w.Kubectl(ctx, "", "wait", "--for=condition=Ready", "--timeout=60s", "imapp/prod",
		"grouppolicy/club"); err != nil {
		return w, err
	}
	return w, nil
})

// made is theWorld, once a test has looked at it.
var made *world

// newWorld is the world, in which other tests have groups, too.
func newWorld(t *testing.T) *world {
	t.Helper()
	w, err := theWorld()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) callbackURLs() (urls []string) {
	for _, replica := range w.replicas {
		urls = append(urls, replica.CallbackURL)
	}
	return urls
}

// end stops all processes of the world.
func (w *world) end() error {
	var errs []error
	for _, page := range w.pages {
		errs = append(errs, page.Stop(30*time.Second))
	}
	for _, replica := range w.replicas {
		errs = append(errs, replica.Stop(time.Minute))
	}
	return errors.Join(append(errs, w.backend.Close(), os.RemoveAll(w.certificates))...)
}

// page is the URL of the page that a viewer has started on a laptop.
func (w *world) page(t *testing.T, viewer string) string {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if page := w.pages[viewer]; page != nil {
		return page.URL
	}
	kubeconfig, err := w.AccountKubeconfig(t.Context(), namespace, viewer)
	if err != nil {
		t.Fatal(err)
	}
	replicas := w.replicas
	if w.replicaURLs != nil {
		replicas = nil
	}
	flags := append(lab.ReplicaFlags(w.certificates, replicas...),
		"--namespace="+namespace, "--time-zone=Europe/Berlin")
	for _, url := range w.replicaURLs {
		flags = append(flags, "--replicas-url="+url)
	}
	page, err := lab.StartPage(t.Context(), &w.log, w.Binary, kubeconfig, flags...)
	if err != nil {
		t.Fatal(err)
	}
	w.pages[viewer] = page
	return page.URL
}

// open is a tab that shows the page of a viewer.
func (w *world) open(t *testing.T, viewer string, h habits) *tab {
	t.Helper()
	x := newTab(t, h)
	if status := x.visit(w.page(t, viewer)); status != 200 {
		t.Fatalf("status %d\n%s", status, x.state())
	}
	return x
}

// plan makes a full group like the club of the demo, has nina apply, and returns the run that then awaits approval. It
// would remove the first three of the silent members: anna, boris and chen, unless others are named.
func (w *world) plan(t *testing.T, group string, silent ...string) *v1alpha1.PruneRun {
	t.Helper()
	_, spec := lab.DemoGroups()
	spec.ID = group
	if len(silent) > 0 {
		spec.Members = []emulator.MemberSpec{{
			Prefix: "busy-", Count: lab.ClubSeats - 1 - len(silent), JoinedAgo: "100d", SpokeAgo: "2d",
		}}
		for i, account := range silent {
			spec.Members = append(spec.Members, emulator.MemberSpec{
				Accounts: []string{account}, JoinedAgo: fmt.Sprintf("%dd", 200-i),
			})
		}
	}
	must(w.im.CreateGroup(t.Context(), spec))(t)
	if outcome := must(w.im.Apply(t.Context(), group, "nina"))(t); outcome.Result != emulator.ResultFull {
		t.Fatalf("nina applies to join %s: %+v", group, outcome)
	}
	return w.await(t, group, v1alpha1.ReasonAwaitingApproval)
}

// await waits until the only run of a group shows a result.
func (w *world) await(t *testing.T, group, result string) (run *v1alpha1.PruneRun) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var list v1alpha1.PruneRunList
	err := lab.Await(ctx, "the run of "+group+" to show "+result, func(ctx context.Context) (bool, error) {
		err := w.client(t).List(ctx, &list, client.InNamespace(namespace), client.MatchingFields{"spec.groupID": group})
		if err != nil || len(list.Items) != 1 {
			return false, err
		}
		run = &list.Items[0]
		conditions := run.Status.Conditions
		return len(conditions) > 0 && conditions[len(conditions)-1].Reason == result, nil
	})
	if err != nil {
		t.Fatalf("%v\n%+v", err, list.Items)
	}
	return run
}

// client is one with all rights.
func (w *world) client(t *testing.T) client.Client {
	t.Helper()
	return must(client.New(w.Config, client.Options{Scheme: labtest.Scheme()}))(t)
}

// members are the accounts in a group.
func (w *world) members(t *testing.T, group string) (accounts []string) {
	t.Helper()
	for _, member := range must(w.im.Members(t.Context(), group))(t) {
		accounts = append(accounts, member.Account)
	}
	return accounts
}

// must ends the test with an error.
func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}
