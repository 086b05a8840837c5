package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/groupgate/groupgate/config/crd"
)

const definitions topic = "CustomResourceDefinitions"

// checkDefinitions compares the definitions with those that this binary was built with.
func (c *Checker) checkDefinitions(ctx context.Context) []Line {
	files, err := crd.FS.ReadDir("bases")
	if err != nil {
		return []Line{definitions.fail("", "%s", err)}
	}
	var lines []Line
	for _, file := range files {
		text, err := crd.FS.ReadFile("bases/" + file.Name())
		var own apiextensionsv1.CustomResourceDefinition
		if err == nil {
			err = yaml.UnmarshalStrict(text, &own)
		}
		if err != nil {
			return []Line{definitions.fail("", "%s: %s", file.Name(), err)}
		}
		line := c.checkDefinition(ctx, &own)
		if line.Result != OK {
			lines = append(lines, line)
		}
		if line.noAnswer || strings.HasPrefix(line.Message, "not checked") ||
			strings.HasPrefix(line.Message, "not readable") {
			return lines
		}
	}
	if len(lines) == 0 {
		lines = append(lines, definitions.ok("%d are installed, as this binary knows them", len(files)))
	}
	return lines
}

func (c *Checker) checkDefinition(ctx context.Context, own *apiextensionsv1.CustomResourceDefinition) Line {
	const install = "kubectl apply --server-side -k config/crd, of the release that runs"
	live := &apiextensionsv1.CustomResourceDefinition{}
	err := c.Client.Get(ctx, client.ObjectKey{Name: own.Name}, live)
	if apierrors.IsNotFound(err) {
		return definitions.fail(install, "%s is not installed", own.Name)
	}
	if err != nil {
		return definitions.notRead(err)
	}
	if !slices.ContainsFunc(live.Status.Conditions, func(c apiextensionsv1.CustomResourceDefinitionCondition) bool {
		return c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue
	}) {
		return definitions.fail("look at its status", "%s is not established", own.Name)
	}
	for _, version := range own.Spec.Versions {
		i := slices.IndexFunc(live.Spec.Versions, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool {
			return v.Name == version.Name
		})
		switch {
		case i < 0 || version.Served && !live.Spec.Versions[i].Served:
			return definitions.fail(install, "%s does not serve %s, which this binary reads", own.Name, version.Name)
		case version.Storage != live.Spec.Versions[i].Storage:
			return definitions.warn("use the binary of the release that runs",
				"%s stores another version than %s", own.Name, version.Name)
		case !equality.Semantic.DeepEqual(version.Schema, live.Spec.Versions[i].Schema):
			return definitions.warn(install+", or use its binary here",
				"%s has another schema of %s than this binary: it is of another release", own.Name, version.Name)
		}
	}
	for _, stored := range live.Status.StoredVersions {
		if !slices.ContainsFunc(live.Spec.Versions, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool {
			return v.Name == stored && v.Served
		}) {
			return definitions.fail("migrate the stored objects", "%s has objects of %s, which is not served",
				own.Name, stored)
		}
	}
	return definitions.ok("%s", own.Name)
}

const rights topic = "Rights"

// right is what the manager may do, as config/rbac says. Where says in which namespace.
type right struct {
	group, resource, name string
	verbs                 []string
}

// watchedRights are needed in each watched namespace.
var watchedRights = []right{
	{"groupgate.io", "imapps", "", []string{"get", "list", "watch"}},
	{"groupgate.io", "accountlists", "", []string{"get", "list", "watch"}},
	{"groupgate.io", "grouppolicies", "", []string{"get", "list", "watch"}},
	{"groupgate.io", "imapps/status", "", []string{"patch"}},
	{"groupgate.io", "accountlists/status", "", []string{"patch"}},
	{"groupgate.io", "grouppolicies/status", "", []string{"patch"}},
	{"groupgate.io", "pruneruns/status", "", []string{"patch"}},
	{"groupgate.io", "pruneruns", "", []string{"get", "list", "watch", "create", "delete"}},
	{"", "secrets", "", []string{"list", "watch"}},
	{"events.k8s.io", "events", "", []string{"create", "patch"}},
}

// ownRights are needed in the namespace of the Leases.
func (c *Checker) ownRights() []right {
	return []right{
		{"coordination.k8s.io", "leases", "", []string{"create", "list", "watch", "patch", "delete"}},
		{"coordination.k8s.io", "leases", c.Election.Name, []string{"get", "update"}},
	}
}

// checkRights asks the API server what the manager's ServiceAccount may do. It has to be that, or to impersonate it.
func (c *Checker) checkRights(ctx context.Context) []Line {
	account := "system:serviceaccount:" + c.ServiceAccount.Namespace + ":" + c.ServiceAccount.Name
	review := &authenticationv1.SelfSubjectReview{}
	asked, err := c.Client, c.Client.Create(ctx, review)
	if err == nil && review.Status.UserInfo.Username != account {
		asked, err = c.Impersonate(account)
	}
	if err != nil {
		return []Line{rights.notRead(err)}
	}
	type place struct {
		namespace string
		rights    []right
	}
	places := []place{{c.Election.Namespace, c.ownRights()}}
	for _, namespace := range c.watched() {
		places = append(places, place{namespace, watchedRights})
	}
	var lacking []string
	for _, place := range places {
		for _, right := range place.rights {
			for _, verb := range right.verbs {
				allowed, err := c.may(ctx, asked, place.namespace, right, verb)
				if apierrors.IsForbidden(err) {
					return []Line{rights.warn("repeat it with the right to impersonate "+account+", or as it",
						"not checked: %s", reason(err))}
				}
				if err != nil {
					return []Line{rights.notRead(err)}
				}
				if !allowed {
					lacking = append(lacking, fmt.Sprintf("%s %s in %s", verb, right.resource, place.namespace))
				}
			}
		}
	}
	if n := len(lacking); n > 0 {
		return []Line{rights.fail("apply config/rbac, and a RoleBinding in each watched namespace as in config/default",
			"%s may not %s", account, bounded(lacking))}
	}
	return []Line{rights.ok("%s may do all that it needs, in namespaces %s", account, bounded(c.watched()))}
}

func (c *Checker) may(ctx context.Context, asked client.Client, namespace string, r right, verb string) (bool, error) {
	resource, subresource, _ := strings.Cut(r.resource, "/")
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: namespace, Verb: verb, Group: r.group, Resource: resource, Subresource: subresource,
			Name: r.name,
		},
	}}
	err := asked.Create(ctx, review)
	if err == nil && review.Status.EvaluationError != "" && !review.Status.Allowed {
		err = errors.New(review.Status.EvaluationError)
	}
	return review.Status.Allowed, err
}

// watched are the namespaces that are checked: those with an IMApp, or the one that is meant.
func (c *Checker) watched() []string {
	if c.Namespace != "" {
		return []string{c.Namespace}
	}
	var namespaces []string
	for i := range c.apps {
		namespaces = append(namespaces, c.apps[i].Namespace)
	}
	slices.Sort(namespaces)
	return slices.Compact(namespaces)
}

// bounded joins the first few words.
func bounded(words []string) string {
	const most = 5
	if n := len(words) - most; n > 0 {
		return strings.Join(words[:most], ", ") + fmt.Sprintf(" and %d more", n)
	}
	return strings.Join(words, ", ")
}
