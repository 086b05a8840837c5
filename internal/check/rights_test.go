package check

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

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
