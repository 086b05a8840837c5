package check

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// admin may do everything, and is not told who it is.
type admin struct{ client.Client }

func (admin) Create(_ context.Context, object client.Object, _ ...client.CreateOption) error {
	if review, ok := object.(*authorizationv1.SelfSubjectAccessReview); ok {
		review.Status.Allowed = true
		return nil
	}
	return errors.New("the server is busy")
}

// What one user may do says nothing about another one.
func TestRightsAreThoseOfTheServiceAccount(t *testing.T) {
	c := &Checker{Client: admin{}, Namespace: "chat"}
	lines := c.checkRights(t.Context())
	if len(lines) != 1 || lines[0].Result == OK || !strings.Contains(lines[0].Message, "the server is busy") {
		t.Errorf("%+v", lines)
	}
}

// The rights that are checked are those that config/rbac grants.
func TestRightsAreThoseOfTheRoles(t *testing.T) {
	granted := func(files ...string) []string {
		var all []string
		for _, file := range files {
			text, err := os.ReadFile(filepath.Join("..", "..", "config", "rbac", file))
			if err != nil {
				t.Fatal(err)
			}
			var role rbacv1.ClusterRole // a Role has its rules in the same place
			first, _, _ := strings.Cut(string(text), "\n---\n")
			if err := yaml.Unmarshal([]byte(first), &role); err != nil {
				t.Fatal(err)
			}
			for _, rule := range role.Rules {
				for _, resource := range rule.Resources {
					for _, verb := range rule.Verbs {
						all = append(all, strings.Join(append(rule.APIGroups, resource, verb), " "))
					}
				}
			}
		}
		slices.Sort(all)
		return slices.Compact(all)
	}
	checked := func(rights []right) []string {
		var all []string
		for _, r := range rights {
			for _, verb := range r.verbs {
				all = append(all, r.group+" "+r.resource+" "+verb)
			}
		}
		slices.Sort(all)
		return all
	}
	if diff := cmp.Diff(granted("manager_role.yaml"), checked(watchedRights)); diff != "" {
		t.Errorf("in watched namespaces (-granted,+checked)\n%s", diff)
	}
	own := granted("leader_election_role.yaml", "replica_role.yaml")
	if diff := cmp.Diff(own, checked(new(Checker).ownRights())); diff != "" {
		t.Errorf("in the manager's own (-granted,+checked)\n%s", diff)
	}
}

// dead is a client of an API server that does not answer.
type dead struct{ client.Client }

var errDead = errors.New("dial tcp 127.0.0.1:1: connect: connection refused")

func (dead) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return errDead
}

func (dead) List(context.Context, client.ObjectList, ...client.ListOption) error { return errDead }

func (dead) Create(context.Context, client.Object, ...client.CreateOption) error { return errDead }

func TestDeadAPIServerIsReportedOnce(t *testing.T) {
	c := &Checker{
		Client: dead{}, Impersonate: func(string) (client.Client, error) { return dead{}, nil }, Now: time.Now,
		URL: "http://localhost/callback",
	}
	report := c.Run(t.Context())
	text := report.Sentence()
	if got := strings.Count(text, "connection refused"); got != 1 || !strings.Contains(text, "API server: no answer") {
		t.Errorf("said %d times, want once:\n%s", got, text)
	}
	if !strings.Contains(text, "is not encrypted") {
		t.Errorf("the callback URL is not checked:\n%s", text)
	}
}
