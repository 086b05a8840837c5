package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
)

// reviewTimeout bounds what a client waits for the API server. Prometheus gives up after 10 s.
const reviewTimeout = 4 * time.Second

// reviews ask the API server who a client of the metrics endpoint is, and what it may do.
type reviews struct {
	tokens authenticationclient.TokenReviewInterface
	access authorizationclient.SubjectAccessReviewInterface
}

func newReviews(config *rest.Config, client *http.Client) (*reviews, error) {
	tokens, err := authenticationclient.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("create a client for token reviews: %w", err)
	}
	access, err := authorizationclient.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("create a client for access reviews: %w", err)
	}
	return &reviews{tokens: tokens.TokenReviews(), access: access.SubjectAccessReviews()}, nil
}

// bearerToken returns the token of a request, empty if it has none, or several.
func bearerToken(r *http.Request) string {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// user returns whose token it is; nil if the API server does not authenticate it for the audience. The empty audience
// is that of the API server.
func (r *reviews) user(ctx context.Context, token, audience string) (*authenticationv1.UserInfo, error) {
	spec := authenticationv1.TokenReviewSpec{Token: token}
	if audience != "" {
		spec.Audiences = []string{audience}
	}
	review, err := r.tokens.Create(ctx, &authenticationv1.TokenReview{Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("review the token of a client: %w", err)
	}
	// An authenticator that knows no audiences answers for tokens of the API server's, and returns none.
	for _, confirmed := range review.Status.Audiences {
		if confirmed == audience && review.Status.Authenticated {
			return &review.Status.User, nil
		}
	}
	if audience == "" && review.Status.Authenticated {
		return &review.Status.User, nil
	}
	return nil, nil
}

// allowed asks whether a user may do what the rest of the spec says.
func (r *reviews) allowed(
	ctx context.Context, user *authenticationv1.UserInfo, spec authorizationv1.SubjectAccessReviewSpec,
) (bool, error) {
	spec.User, spec.UID, spec.Groups = user.Username, user.UID, user.Groups
	spec.Extra = make(map[string]authorizationv1.ExtraValue, len(user.Extra))
	for name, values := range user.Extra {
		spec.Extra[name] = authorizationv1.ExtraValue(values)
	}
	review, err := r.access.Create(ctx, &authorizationv1.SubjectAccessReview{Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("review the access of a client: %w", err)
	}
	return review.Status.Allowed, nil
}

// unanswered reports whether err says nothing about the client or the rights of this process: the API server is away,
// starting, or overloaded.
func unanswered(err error) bool {
	var answer apierrors.APIStatus
	if !errors.As(err, &answer) {
		return true
	}
	code := answer.Status().Code
	return code == 0 || code >= http.StatusInternalServerError || code == http.StatusTooManyRequests
}
