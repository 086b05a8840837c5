package page

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/groupgate/groupgate/internal/lab"
)

const (
	system = "groupgate-system"
	page   = "groupgate-page"
	// account is the user that the page is for the API server.
	account = "system:serviceaccount:" + system + ":" + page
)

// groups and users are cluster-wide, and the rest is bound in the namespace of the page.
var (
	impersonator = []string{
		"impersonate-on:user-info:create selfsubjectaccessreviews.authorization.k8s.io",
		"impersonate:user-info groups.authentication.k8s.io",
		"impersonate:user-info users.authentication.k8s.io",
	}
	impersonatorInChat = []string{
		"impersonate-on:user-info:create selfsubjectaccessreviews.authorization.k8s.io",
		"impersonate-on:user-info:get imapps.groupgate.io",
		"impersonate-on:user-info:get imapps/activity.groupgate.io",
		"impersonate-on:user-info:get imapps/refusals.groupgate.io",
		"impersonate-on:user-info:get pruneruns.groupgate.io",
		"impersonate-on:user-info:list accountlists.groupgate.io",
		"impersonate-on:user-info:list grouppolicies.groupgate.io",
		"impersonate-on:user-info:list imapps.groupgate.io",
		"impersonate-on:user-info:list pruneruns.groupgate.io",
		"impersonate-on:user-info:patch pruneruns.groupgate.io",
		"impersonate:user-info groups.authentication.k8s.io",
		"impersonate:user-info users.authentication.k8s.io",
	}
)

// These are all rules of RBAC about the page, but for those about every ServiceAccount.
func TestThePageHasNoOtherRightsThanToImpersonateForWhatItShows(t *testing.T) {
	t.Parallel()
	// kubectl has applied these files. This copy has go test notice every change of them.
	if err := os.CopyFS(t.TempDir(), os.DirFS(filepath.Join(lab.Root(), "config", "page"))); err != nil {
		t.Fatal(err)
	}
	for namespace, want := range map[string][]string{
		"chat": impersonatorInChat, "default": impersonator, system: impersonator,
	} {
		if diff := cmp.Diff(want, rights(t, namespace)); diff != "" {
			t.Errorf("in namespace %s (-want,+got)\n%s", namespace, diff)
		}
	}
}

// rights are the pairs of verb and resource that the page may in a namespace, and no other ServiceAccount.
func rights(t *testing.T, namespace string) (all []string) {
	t.Helper()
	const other = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: other, namespace: chat}\n"
	if _, err := cluster.Kubectl(t.Context(), other, "apply", "--server-side", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	others := rules(t, withToken(t, "chat", "other"), namespace)
	for _, right := range rules(t, withToken(t, system, page), namespace) {
		if !slices.Contains(others, right) {
			all = append(all, right)
		}
	}
	return all
}

// rules are those of RBAC about the user of the configuration, sorted.
func rules(t *testing.T, config *rest.Config, namespace string) (all []string) {
	t.Helper()
	review, err := clientset(t, config).AuthorizationV1().SelfSubjectRulesReviews().Create(t.Context(),
		&authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace}},
		metav1.CreateOptions{})
	if err != nil || review.Status.Incomplete {
		t.Fatalf("%v, %s", err, review.Status.EvaluationError)
	}
	for _, rule := range review.Status.ResourceRules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					right := verb + " " + resource + "." + group + " " + strings.Join(rule.ResourceNames, ",")
					all = append(all, strings.TrimSpace(right))
				}
			}
		}
	}
	for _, rule := range review.Status.NonResourceRules {
		all = append(all, strings.Join(rule.Verbs, ",")+" "+strings.Join(rule.NonResourceURLs, ","))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// The API server answers the same for what would do harm.
func TestReviewsOfThePageRefuseAllThatWouldDoHarm(t *testing.T) {
	t.Parallel()
	verbs := []string{"*", "impersonate", "impersonate:serviceaccount", "impersonate:arbitrary-node"}
	for _, verb := range []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"} {
		verbs = append(verbs, verb, "impersonate-on:user-info:"+verb, "impersonate-on:serviceaccount:"+verb)
	}
	admin := clientset(t, fast(cluster.Config))
	allowed, reviews := []string{}, 0
	for _, resource := range []string{
		"secrets.", "pods.", "serviceaccounts.", "users.", "groups.", "users.authentication.k8s.io",
		"serviceaccounts.authentication.k8s.io", "uids.authentication.k8s.io", "imapps.groupgate.io",
		"grouppolicies.groupgate.io", "accountlists.groupgate.io", "pruneruns.groupgate.io",
		"pruneruns/status.groupgate.io", "roles.rbac.authorization.k8s.io",
	} {
		name, group, _ := strings.Cut(resource, ".")
		name, subresource, _ := strings.Cut(name, "/")
		for _, verb := range verbs {
			reviews++
			review, err := admin.AuthorizationV1().SubjectAccessReviews().Create(t.Context(),
				&authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
					User: account, Groups: []string{
						"system:serviceaccounts", "system:serviceaccounts:" + system, "system:authenticated",
					},
					ResourceAttributes: &authorizationv1.ResourceAttributes{
						Namespace: "chat", Verb: verb, Group: group, Resource: name, Subresource: subresource,
					},
				}}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if review.Status.Allowed {
				allowed = append(allowed, verb+" "+resource)
			}
		}
	}
	for _, right := range allowed {
		if !slices.Contains(impersonatorInChat, right) {
			t.Errorf("the page may %s", right)
		}
	}
	if len(allowed) != 7 {
		t.Errorf("%d of %d reviews allow: %v", len(allowed), reviews, allowed)
	}
}

// Even for a user who may do everything, the page can do only what it is for.
func TestAnAdministratorOnThePageIsNoAdministrator(t *testing.T) {
	t.Parallel()
	bind(t, "clusterrolebinding", "cora", "cluster-admin", "")
	cora := as(t, rest.ImpersonationConfig{UserName: "cora"})
	many := as(t, rest.ImpersonationConfig{UserName: "cora", Groups: []string{"a", "b", "c", "d", "system:e"}})

	const chat = "/apis/groupgate.io/v1alpha1/namespaces/chat"
	for _, kind := range []string{"imapps", "grouppolicies", "accountlists", "pruneruns"} {
		for name, client := range map[string]*kubernetes.Clientset{"cora": cora, "cora with groups": many} {
			if err := send(t.Context(), client, "GET", chat+"/"+kind); err != nil {
				t.Errorf("%s lists %s: %v", name, kind, err)
			}
		}
	}
	for _, request := range []string{"GET /imapps/none", "GET /pruneruns/none", "PATCH /pruneruns/none"} {
		method, path, _ := strings.Cut(request, " ")
		if err := send(t.Context(), many, method, chat+path); !apierrors.IsNotFound(err) {
			t.Errorf("%s: %v", request, err)
		}
	}
	if _, err := cora.AuthorizationV1().SelfSubjectAccessReviews().Create(t.Context(),
		&authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Resource: "pods"},
		}}, metav1.CreateOptions{}); err != nil {
		t.Error(err)
	}

	for _, request := range []string{
		"GET /api/v1/namespaces/chat/secrets", "GET /api/v1/namespaces/chat/secrets/none", "GET /api/v1/secrets",
		"GET /api/v1/namespaces/" + system + "/secrets", "GET /api/v1/namespaces/chat/configmaps",
		"GET /api/v1/namespaces", "GET /api/v1/nodes", "POST /api/v1/namespaces/chat/serviceaccounts/default/token",
		"GET " + chat + "/pruneruns?watch=true&timeoutSeconds=1", "POST " + chat + "/pruneruns",
		"PUT " + chat + "/pruneruns/none",
		"DELETE " + chat + "/pruneruns/none", "DELETE " + chat + "/pruneruns",
		"PATCH " + chat + "/pruneruns/none/status",
		"GET " + chat + "/grouppolicies/none",
		"PATCH " + chat + "/imapps/none", "PATCH " + chat + "/grouppolicies/none", "POST " + chat + "/grouppolicies",
		"PATCH " + chat + "/accountlists/none", "GET /apis/groupgate.io/v1alpha1/pruneruns",
		"GET /apis/groupgate.io/v1alpha1/namespaces/default/pruneruns",
		"PATCH /apis/groupgate.io/v1alpha1/namespaces/default/pruneruns/none",
		"POST /apis/authorization.k8s.io/v1/subjectaccessreviews",
		"POST /apis/authentication.k8s.io/v1/selfsubjectreviews",
		"POST /apis/rbac.authorization.k8s.io/v1/clusterrolebindings", "GET /metrics", "GET /logs", "GET /api",
	} {
		method, path, _ := strings.Cut(request, " ")
		if err := send(t.Context(), cora, method, path); !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v", request, err)
		}
	}
}

// An attacker who controls the page cannot impersonate users and groups of Kubernetes itself.
func TestThePageCannotImpersonateTheSystem(t *testing.T) {
	t.Parallel()
	bind(t, "clusterrolebinding", "carl", "cluster-admin", "")
	// Both may list runs by themselves, so that only the impersonation can be refused.
	bind(t, "rolebinding", "system:serviceaccount:chat:robot", "groupgate-policy-viewer", "chat")
	bind(t, "rolebinding", "system:node:n1", "groupgate-policy-viewer", "chat")
	const runs = "/apis/groupgate.io/v1alpha1/namespaces/chat/pruneruns"
	for name, who := range map[string]rest.ImpersonationConfig{
		"system:masters":          {UserName: "carl", Groups: []string{"system:masters"}},
		"system:masters of many":  {UserName: "carl", Groups: []string{"a", "b", "c", "d", "system:masters"}},
		"a service account":       {UserName: "system:serviceaccount:chat:robot"},
		"the manager":             {UserName: "system:serviceaccount:" + system + ":groupgate-manager"},
		"a service account again": {UserName: "system:serviceaccount:chat:robot", Groups: []string{"a"}},
		"a node":                  {UserName: "system:node:n1"},
		"an empty group":          {UserName: "carl", Groups: []string{""}},
		"another UID":             {UserName: "carl", UID: "1"},
		"extra":                   {UserName: "carl", Extra: map[string][]string{"scopes": {"all"}}},
		"the page as it is":       {},
	} {
		if err := send(t.Context(), as(t, who), "GET", runs); !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := send(t.Context(), as(t, rest.ImpersonationConfig{UserName: "carl"}), "GET", runs); err != nil {
		t.Errorf("carl himself: %v", err)
	}
}

// The tokens of the page are for one purpose each.
func TestTheTokenForReplicasIsNoneForTheAPIServer(t *testing.T) {
	t.Parallel()
	client := clientset(t, withToken(t, system, page, "--audience=groupgate-replicas"))
	if err := send(t.Context(), client, "GET", "/api"); !apierrors.IsUnauthorized(err) {
		t.Errorf("%v", err)
	}
	deployment, err := cluster.Kubectl(t.Context(), "", "get", "deployment", page, "-n", system, "-o=yaml")
	if err != nil || !strings.Contains(deployment, "audience: groupgate-replicas") {
		t.Errorf("the Deployment has no such token: %v", err)
	}
}

// The installation for all namespaces gives the same rights in all of them, and no others.
func TestThePageOfAllNamespacesHasTheSameRightsEverywhere(t *testing.T) {
	binding := filepath.Join("config", "page", "cluster-wide", "page_binding.yaml")
	if _, err := cluster.Kubectl(t.Context(), "", "apply", "--server-side", "-f", binding); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := cluster.Kubectl(context.WithoutCancel(t.Context()), "", "delete", "-f", binding); err != nil {
			t.Error(err)
		}
	})
	if diff := cmp.Diff(impersonatorInChat, rights(t, "default")); diff != "" {
		t.Errorf("in another namespace (-want,+got)\n%s", diff)
	}
}

// as is a client with the token of the page that impersonates a user.
func as(t *testing.T, who rest.ImpersonationConfig) *kubernetes.Clientset {
	t.Helper()
	config := withToken(t, system, page)
	config.Impersonate = who
	return clientset(t, config)
}

// withToken is the configuration of a client that has a token of a ServiceAccount, as its Pod has.
func withToken(t *testing.T, namespace, account string, flags ...string) *rest.Config {
	t.Helper()
	token, err := cluster.Kubectl(t.Context(), "",
		append([]string{"create", "token", account, "--namespace=" + namespace}, flags...)...)
	if err != nil {
		t.Fatal(err)
	}
	config := fast(rest.AnonymousClientConfig(cluster.Config))
	config.BearerToken = strings.TrimSpace(token)
	return config
}

// fast takes the client's limit of requests away.
func fast(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.QPS = -1
	return config
}

func clientset(t *testing.T, config *rest.Config) *kubernetes.Clientset {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// send sends a request whose body, if it has one, says nothing.
func send(ctx context.Context, client *kubernetes.Clientset, method, uri string) error {
	request := client.RESTClient().Verb(method).RequestURI(uri)
	switch method {
	case "PATCH":
		request = request.SetHeader("Content-Type", string(types.MergePatchType)).Body([]byte("{}"))
	case "POST", "PUT":
		request = request.SetHeader("Content-Type", "application/json").Body([]byte("{}"))
	}
	return request.Do(ctx).Error()
}

// bind gives a user a ClusterRole, in a namespace if kind is rolebinding.
func bind(t *testing.T, kind, user, role, namespace string) {
	t.Helper()
	name := strings.ReplaceAll(user, ":", "-") + "-" + role
	args := []string{"create", kind, name, "--clusterrole=" + role, "--user=" + user}
	if namespace != "" {
		args = append(args, "--namespace="+namespace)
	}
	if _, err := cluster.Kubectl(t.Context(), "", args...); err != nil {
		t.Fatal(err)
	}
}
