package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/refusals"
)

const (
	// viewerRate and viewerBurst bound the requests a second of all clients together, before the API server is asked
	// about any of them. A page of 100 apps is 100 requests to each replica.
	viewerRate, viewerBurst = 50, 200
	// maxGroups and maxName bound what a client impersonates.
	maxGroups, maxName = 256, 1024
	// manyGroups is from when on it is first asked whether all groups may be impersonated.
	manyGroups = 5
	// reviewsAtOnce bounds the questions about the groups of one request that are asked at a time.
	reviewsAtOnce = 8
)

// viewerAccess lets people read what a replica remembers, if they may get that subresource of the IMApp. It is personal
// data: without an answer of the API server, no request is allowed.
//
// A client may act for a user as constrained impersonation of the API server (KEP-5284) would let it, by the same
// rights: impersonate-on:user-info:get of the subresource, and impersonate:user-info of the user and of each group.
type viewerAccess struct {
	*reviews
	limit *rate.Limiter
}

func newViewerAccess(r *reviews) *viewerAccess {
	return &viewerAccess{reviews: r, limit: rate.NewLimiter(viewerRate, viewerBurst)}
}

// denial is an answer to a client that may not read, as a sentence for people.
type denial struct {
	status int
	text   string
}

// Error implements error.
func (d *denial) Error() string { return d.text }

func deny(status int, format string, args ...any) error {
	return &denial{status, fmt.Sprintf(format, args...)}
}

// filter passes the requests on that are allowed.
func (v *viewerAccess) filter(log logr.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := v.decide(r)
		if err == nil {
			next.ServeHTTP(w, r)
			return
		}
		denied, ok := errors.AsType[*denial](err)
		if !ok {
			log.Error(err, "Access to refusals and joins cannot be decided")
			denied = &denial{http.StatusServiceUnavailable,
				"The API server did not say whether you may read this: try again."}
		}
		if denied.status == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "1")
		}
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, denied.text, denied.status)
	})
}

// decide returns nil if the request is allowed.
func (v *viewerAccess) decide(r *http.Request) error {
	if r.PathValue("name") == "" {
		return deny(http.StatusNotFound, "There is nothing here.")
	}
	if !v.limit.Allow() {
		return deny(http.StatusTooManyRequests, "There are too many requests: try again in a second.")
	}
	token := bearerToken(r)
	if token == "" {
		return deny(http.StatusUnauthorized, "Send one header Authorization with a bearer token.")
	}
	wanted, err := impersonated(r.Header)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), reviewTimeout)
	defer cancel()
	user, err := v.viewer(ctx, token)
	if err != nil {
		return err
	}
	target := authorizationv1.ResourceAttributes{
		Verb: "get", Group: v1alpha1.GroupVersion.Group, Version: v1alpha1.GroupVersion.Version, Resource: "imapps",
		Subresource: path.Base(r.URL.Path), Namespace: r.PathValue("namespace"), Name: r.PathValue("name"),
	}
	if wanted != nil {
		if err := v.mayImpersonate(ctx, user, wanted, target); err != nil {
			return err
		}
		user = wanted
	}
	return v.require(ctx, user, target)
}

// viewer returns whose token it is. That of a page has an audience of its own, so that it is of no use elsewhere; a
// person has one of the API server.
func (v *viewerAccess) viewer(ctx context.Context, token string) (*authenticationv1.UserInfo, error) {
	for _, audience := range []string{refusals.Audience, ""} {
		if user, err := v.user(ctx, token, audience); user != nil || err != nil {
			return user, err
		}
	}
	return nil, deny(http.StatusUnauthorized, "The API server does not know the bearer token, or it has expired.")
}

// require returns nil if a user may do this.
func (v *viewerAccess) require(
	ctx context.Context, user *authenticationv1.UserInfo, what authorizationv1.ResourceAttributes,
) error {
	allowed, err := v.allowed(ctx, user, authorizationv1.SubjectAccessReviewSpec{ResourceAttributes: &what})
	if err != nil || allowed {
		return err
	}
	resource := what.Resource
	if what.Subresource != "" {
		resource += "/" + what.Subresource
	}
	object := what.Name
	if what.Namespace != "" {
		object = what.Namespace + "/" + object
	}
	return deny(http.StatusForbidden, "User %q has no right to %s %s %q in the API group %s.",
		user.Username, what.Verb, resource, object, what.Group)
}

// mayImpersonate returns nil if a client may do something as another user.
func (v *viewerAccess) mayImpersonate(
	ctx context.Context, client, wanted *authenticationv1.UserInfo, target authorizationv1.ResourceAttributes,
) error {
	target.Verb = "impersonate-on:user-info:" + target.Verb
	if err := v.require(ctx, client, target); err != nil {
		return err
	}
	identity := authorizationv1.ResourceAttributes{
		Verb: "impersonate:user-info", Group: authenticationv1.GroupName, Version: "v1",
		Resource: "users", Name: wanted.Username,
	}
	if err := v.require(ctx, client, identity); err != nil {
		return err
	}
	groups := slices.DeleteFunc(slices.Clone(wanted.Groups), func(group string) bool { return group == authenticated })
	identity.Resource = "groups"
	if len(groups) >= manyGroups {
		identity.Name = "*"
		if v.require(ctx, client, identity) == nil {
			return nil
		}
	}
	asked, ctx := errgroup.WithContext(ctx)
	asked.SetLimit(reviewsAtOnce)
	for _, group := range groups {
		one := identity
		one.Name = group
		asked.Go(func() error { return v.require(ctx, client, one) })
	}
	return asked.Wait()
}

// authenticated is the group of everybody who is.
const authenticated = "system:authenticated"

// impersonated returns the user that the headers name, nil if they name none.
func impersonated(headers http.Header) (*authenticationv1.UserInfo, error) {
	var users, groups []string
	for name, values := range headers {
		switch {
		case !strings.HasPrefix(name, "Impersonate-"):
		case name == authenticationv1.ImpersonateUserHeader:
			users = values
		case name == authenticationv1.ImpersonateGroupHeader:
			groups = values
		default:
			return nil, deny(http.StatusBadRequest, "Header %s is not supported: name a user and groups only.", name)
		}
	}
	if len(users) == 0 && len(groups) == 0 {
		return nil, nil
	}
	if len(users) != 1 {
		return nil, deny(http.StatusBadRequest, "Name one user to impersonate, not %d.", len(users))
	}
	if len(groups) > maxGroups {
		return nil, deny(http.StatusBadRequest, "%d groups are more than the %d that a user may have here.",
			len(groups), maxGroups)
	}
	for _, name := range slices.Concat(users, groups) {
		switch {
		case name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.TrimSpace(name) != name:
			return nil, deny(http.StatusBadRequest, "Names of users and groups have 1 to %d bytes of UTF-8, "+
				"and no blank at either end.", maxName)
		case strings.HasPrefix(name, "system:"):
			return nil, deny(http.StatusForbidden, "%q is of the system, and cannot be impersonated here.", name)
		}
	}
	slices.Sort(groups)
	return &authenticationv1.UserInfo{
		Username: users[0], Groups: append(slices.Compact(slices.Clone(groups)), authenticated),
	}, nil
}
