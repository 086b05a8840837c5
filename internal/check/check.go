package check

import (
	"context"
	"crypto/x509"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/convert"
)

// Checker checks an installation. It changes nothing.
type Checker struct {
	// Client has the rights of the person who asks; it reads from the API server, not from a cache.
	Client client.Client
	// Impersonate returns a client with the rights of a user.
	Impersonate func(user string) (client.Client, error)
	// Namespace is that of the IMApps and policies; empty for all.
	Namespace string
	// ServiceAccount is the one that the manager runs as.
	ServiceAccount types.NamespacedName
	// Election is the Lease of the election. The replicas report in its namespace.
	Election types.NamespacedName
	// URL is the callback URL as the vendor's console has it; empty to leave it out.
	URL string
	// Roots are the certificate authorities that the vendor trusts; nil for those of this machine.
	Roots *x509.CertPool
	// IMEndpoint replaces the REST hosts of the regions, if it is not empty.
	IMEndpoint string
	Now        func() time.Time

	apps     []v1alpha1.IMApp
	policies []v1alpha1.GroupPolicy
	// untrusted says that the URL is not encrypted, or its certificate not valid.
	untrusted bool
	// reports are those of the replicas, as far as they could be read.
	reports []report
}

// Run makes all checks.
func (c *Checker) Run(ctx context.Context) *Report {
	r := &Report{}
	r.add(c.checkDefinitions(ctx)...)
	if r.Checks[len(r.Checks)-1].noAnswer { // the others would say the same
		r.add(c.checkURL(ctx)...)
		return r
	}
	appsLine := c.readApps(ctx)
	r.add(c.checkRights(ctx)...)
	r.add(c.checkLeader(ctx))
	r.add(c.checkReplicas(ctx)...)
	r.add(appsLine...)
	for i := range c.apps {
		r.add(c.checkApp(&c.apps[i])...)
	}
	r.add(c.checkPolicies(ctx)...)
	r.add(c.checkEvictions()...)
	r.add(c.checkURL(ctx)...)
	for i := range c.apps {
		app := &c.apps[i]
		keys, problem := c.credentials(ctx, app)
		r.add(c.checkCallback(ctx, app, keys.CallbackToken.Reveal(), problem)...)
		r.add(c.checkVendor(ctx, app, keys.SecretKey.Reveal(), problem)...)
	}
	return r
}

// credentials reads the Secret of an app. problem is the line instead, if it could not be read.
func (c *Checker) credentials(ctx context.Context, app *v1alpha1.IMApp) (keys convert.SecretKeys, problem *Line) {
	const secrets topic = "Secret"
	name := app.Spec.CredentialsSecretRef.Name
	secret := &corev1.Secret{}
	err := c.Client.Get(ctx, client.ObjectKey{Namespace: app.Namespace, Name: name}, secret)
	if apierrors.IsForbidden(err) {
		err = c.listSecret(ctx, app.Namespace, name, secret, err)
	}
	if client.IgnoreNotFound(err) != nil {
		line := secrets.notRead(err)
		return keys, &line
	}
	if err != nil || secret.Labels[v1alpha1.LabelCredentials] != "true" {
		line := secrets.fail("create it, with that label",
			"Secret %s was not found in namespace %s, or lacks the label %s=true",
			name, app.Namespace, v1alpha1.LabelCredentials)
		return keys, &line
	}
	return convert.Credentials(secret.Data), nil
}

// listSecret reads a Secret as the manager does, whose ServiceAccount may list Secrets and not get one. The error is
// forbidden if this user may do neither.
func (c *Checker) listSecret(ctx context.Context, namespace, name string, into *corev1.Secret, forbidden error) error {
	secrets := &corev1.SecretList{}
	if err := c.Client.List(ctx, secrets, client.InNamespace(namespace),
		client.MatchingLabels{v1alpha1.LabelCredentials: "true"}); err != nil {
		return forbidden
	}
	for i := range secrets.Items {
		if secrets.Items[i].Name == name {
			secrets.Items[i].DeepCopyInto(into)
		}
	}
	return nil // without it, into lacks the label
}
