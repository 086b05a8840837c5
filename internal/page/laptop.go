package page

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"net/http"
	"net/url"
	"sync"

	authenticationv1 "k8s.io/api/authentication/v1"
)

// Laptop is the identity of the kubeconfig: everyone who reaches the page is the user who started it. A Key keeps
// others away.
type Laptop struct{ viewer *Viewer }

// NewLaptop asks the API server who its client is.
func NewLaptop(ctx context.Context, clients *Clients) (*Laptop, error) {
	unnamed, err := clients.own("", nil)
	if err != nil {
		return nil, err
	}
	review := &authenticationv1.SelfSubjectReview{}
	if err := unnamed.Client.Create(ctx, review); err != nil {
		return nil, fmt.Errorf("ask the API server for the name of your user: %w", err)
	}
	viewer, err := clients.own(review.Status.UserInfo.Username, review.Status.UserInfo.Groups)
	return &Laptop{viewer}, err
}

// Name is that of the user, as the API server knows it.
func (l *Laptop) Name() string { return l.viewer.Name }

// Viewer implements Identity.
func (l *Laptop) Viewer(*http.Request) (*Viewer, error) {
	viewer := *l.viewer
	return &viewer, nil
}

// Key is what a browser must know before a page on loopback answers it, since all users of a machine reach its
// loopback. The key is part of the address that is opened first, and becomes a cookie, so that it does not stay in the
// address bar and in the history.
type Key struct {
	address    url.URL
	cookieName string
	cookie     string
	printed    string

	mu sync.Mutex
	// launched is the key in the address that a browser is started with, until it is used. Other users see the
	// arguments of processes, therefore it is worth nothing after the browser has used it.
	launched string
}

// NewKey returns the key of a page at address, such as http://127.0.0.1:8082. It ends with the process.
func NewKey(address *url.URL) *Key {
	return &Key{
		address: *address,
		// Cookies do not know ports: pages of several clusters would overwrite each other's.
		cookieName: "groupgate-" + address.Port(),
		cookie:     rand.Text(), printed: rand.Text(),
	}
}

// URL is the address for the user's own eyes. It can be used any number of times.
func (k *Key) URL() string { return k.with(k.printed) }

// LaunchURL is the address for the arguments of a browser. It can be used once; the one before cannot be used anymore.
func (k *Key) LaunchURL() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.launched = rand.Text()
	return k.with(k.launched)
}

func (k *Key) with(key string) string {
	address := k.address
	address.Path, address.RawQuery = "/", url.Values{"key": {key}}.Encode()
	return address.String()
}

// admit passes a request with the cookie. One with the key is redirected with the cookie, and answered by that; any
// other is refused.
func (k *Key) admit(w http.ResponseWriter, r *http.Request) (answered bool, err error) {
	known := k.knows(r)
	if r.URL.Path == "/" && r.URL.Query().Has("key") {
		if !known && !k.opens(r.URL.Query().Get("key")) {
			return false, &Refusal{
				Status: http.StatusForbidden, Text: "The key in this address is not, or no longer, that of the page.",
				Advice: "Open the address that groupgate page has printed in your terminal.",
			}
		}
		http.SetCookie(w, &http.Cookie{ //nolint:gosec // not Secure: loopback has no TLS
			Name: k.cookieName, Value: k.cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
		})
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return true, nil
	}
	if !known {
		return false, &Refusal{
			Status: http.StatusForbidden, Text: "The page does not know this browser.",
			Advice: "Open the address that groupgate page has printed in your terminal.",
		}
	}
	return false, nil
}

// knows reports whether a request has the cookie. Others on this machine can add cookies of that name.
func (k *Key) knows(r *http.Request) bool {
	for _, c := range r.CookiesNamed(k.cookieName) {
		if equal(c.Value, k.cookie) {
			return true
		}
	}
	return false
}

func (k *Key) opens(key string) bool {
	if equal(key, k.printed) {
		return true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.launched == "" || !equal(key, k.launched) {
		return false
	}
	k.launched = ""
	return true
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
