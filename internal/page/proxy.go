package page

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

const (
	// maxName is the length of the name of a user or a group, in bytes, and maxGroups the number of groups. A provider
	// that sends more would have the page leave out some, and with them rights.
	maxName, maxGroups = 512, 500
	// viewerLife is how long it is remembered whether a viewer can be impersonated. An upgrade of the cluster takes
	// effect after it.
	viewerLife = time.Minute
)

// Proxy is the identity that an authenticating proxy names in headers. Every call to the API server impersonates it.
// The server must listen where the proxy alone can connect.
type Proxy struct {
	// Clients have the identity of the page.
	Clients *Clients
	// Namespace is the one whose objects are shown; empty for all.
	Namespace string
	// UserHeader has the name of the user, and GroupsHeader those of the groups, separated by commas.
	UserHeader, GroupsHeader string
	// UserPrefix and GroupsPrefix come before the names, as those of kube-apiserver's flags for OIDC.
	UserPrefix, GroupsPrefix string
	// Now is the clock.
	Now func() time.Time

	mu      sync.Mutex
	viewers bounded[remembered]
}

// remembered is a viewer who could, or could not, be impersonated until some time.
type remembered struct {
	viewer *Viewer
	until  time.Time
}

// Validate says what is wrong with the names of headers and the prefixes.
func (p *Proxy) Validate() error {
	for flag, header := range map[string]string{"user-header": p.UserHeader, "groups-header": p.GroupsHeader} {
		if header == "" || strings.ContainsFunc(header, func(r rune) bool {
			return r != '-' && (r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r))
		}) {
			return fmt.Errorf("--%s is %q: use letters, digits and hyphens, as in X-Forwarded-User", flag, header)
		}
	}
	if sameHeader(p.UserHeader, p.GroupsHeader) {
		return errors.New("--user-header and --groups-header name the same header")
	}
	for flag, prefix := range map[string]string{"user-prefix": p.UserPrefix, "groups-prefix": p.GroupsPrefix} {
		if strings.HasPrefix(prefix, "system:") {
			return fmt.Errorf("--%s is %q: names that begin with system: belong to Kubernetes", flag, prefix)
		}
	}
	return nil
}

// Viewer implements Identity.
func (p *Proxy) Viewer(r *http.Request) (*Viewer, error) {
	name, groups, err := p.identify(r.Header)
	if err != nil {
		return nil, err
	}
	key := strings.Join(append([]string{name}, groups...), "\x00")
	p.mu.Lock()
	known, ok := p.viewers.get(key)
	p.mu.Unlock()
	if !ok || !p.Now().Before(known.until) {
		viewer, err := p.try(r.Context(), name, groups)
		if err != nil {
			return nil, err
		}
		known = remembered{viewer, p.Now().Add(viewerLife)}
		p.mu.Lock()
		p.viewers.n = maxViewers
		p.viewers.put(key, known)
		p.mu.Unlock()
	}
	viewer := *known.viewer
	return &viewer, nil
}

// try finds out whether the API server lets the page impersonate a viewer, by a request that every page makes: the
// version of the API server does not say it, since a feature gate may be off.
func (p *Proxy) try(ctx context.Context, name string, groups []string) (*Viewer, error) {
	viewer, err := p.Clients.impersonating(name, groups)
	if err != nil {
		return nil, err
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("PruneRunList"))
	err = viewer.Client.List(ctx, list, client.InNamespace(p.Namespace), client.Limit(1))
	switch {
	case isUnconstrained(err):
		// Nothing can be done as the viewer on this cluster, whoever it is. What the page shows is what its own
		// ServiceAccount may read, to everybody whom the proxy lets in.
		if viewer, err = p.Clients.reading(name, groups); err != nil {
			return nil, err
		}
		viewer.ReadOnly = say("This cluster does not offer constrained impersonation (Kubernetes 1.36 or newer), so " +
			"that the page cannot act for you. You see what the page itself may read. Decide with kubectl groupgate.")
		return viewer, nil
	case mayNotImpersonate(err):
		return nil, err
	case err != nil && !apierrors.IsForbidden(err):
		return nil, fmt.Errorf("find out whether the viewer can be impersonated: %w", err)
	}
	return viewer, nil // without a right to list, the viewer may have others
}

// isUnconstrained reports whether an API server refused to impersonate by the rules before constrained impersonation:
// for the resource users of no API group. A newer API server names users.authentication.k8s.io in the same place, which
// no text of the viewer gets into.
func isUnconstrained(err error) bool {
	var refused apierrors.APIStatus
	if !errors.As(err, &refused) || !apierrors.IsForbidden(err) {
		return false
	}
	details := refused.Status().Details
	return details != nil && details.Group == "" && slices.Contains([]string{"users", "groups"}, details.Kind)
}

// mayNotImpersonate reports whether an API server refused to impersonate, and not the request of the viewer.
func mayNotImpersonate(err error) bool {
	var refused apierrors.APIStatus
	if !errors.As(err, &refused) || !apierrors.IsForbidden(err) {
		return false
	}
	details := refused.Status().Details
	return details != nil && details.Group == "authentication.k8s.io" ||
		strings.Contains(refused.Status().Message, " cannot impersonate-on:user-info:")
}

// identify reads the headers of the proxy.
func (p *Proxy) identify(header http.Header) (name string, groups []string, err error) {
	for sent := range header {
		// A program between client and proxy that takes _ for - would let the client name itself.
		if strings.Contains(sent, "_") && (sameHeader(sent, p.UserHeader) || sameHeader(sent, p.GroupsHeader)) {
			return "", nil, unidentified()
		}
	}
	users := header.Values(p.UserHeader)
	if len(users) != 1 {
		return "", nil, unidentified()
	}
	if name, err = qualify(p.UserPrefix, users[0]); err != nil {
		return "", nil, err
	}
	lists := header.Values(p.GroupsHeader)
	if len(lists) == 0 || len(lists) == 1 && lists[0] == "" {
		return name, nil, nil
	}
	if len(lists) > 1 || strings.Count(lists[0], ",") >= maxGroups {
		return "", nil, unidentified()
	}
	for group := range strings.SplitSeq(lists[0], ",") {
		if group, err = qualify(p.GroupsPrefix, strings.TrimSpace(group)); err != nil {
			return "", nil, err
		}
		groups = append(groups, group)
	}
	return name, groups, nil
}

// qualify is the name of a user or group for the API server.
func qualify(prefix, name string) (string, error) {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) ||
		strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "", unidentified()
	}
	if strings.HasPrefix(name, "system:") || strings.HasPrefix(prefix+name, "system:") {
		return "", &Refusal{
			Status: http.StatusForbidden,
			Text: "Names of users and groups that begin with system: belong to Kubernetes: the page does not " +
				"take them.",
			Advice: "Sign in as another user, or have the group renamed.",
		}
	}
	return prefix + name, nil
}

func sameHeader(a, b string) bool {
	return textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(a, "_", "-")) ==
		textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(b, "_", "-"))
}

func unidentified() error {
	return &Refusal{
		Status: http.StatusUnauthorized, Text: "The page does not know who you are.",
		Advice: "Sign in again. If that does not help, the headers of the proxy are not as the page expects them.",
	}
}
