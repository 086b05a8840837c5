package replicaclient

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/groupgate/groupgate/internal/refusals"
)

const (
	// appsAtOnce bounds how many apps AboutEach asks about at a time.
	appsAtOnce = 8
	// defaultPatience is that of Options.Patience.
	defaultPatience = 3 * time.Second
	// maxAnswer bounds what is read of an answer: more than 10,000 refusals of the greatest ids.
	maxAnswer = 32 << 20
	// maxReason bounds what is read of a refusal to answer.
	maxReason = 1 << 10
)

// Options say where the replicas are, and who asks them.
type Options struct {
	// URLs are those of the metrics endpoints, such as https://groupgate-replicas.groupgate-system.svc:8080. Each host
	// is resolved to all of its addresses. Without any, the Pods of the manager are reached through the API server.
	URLs []string
	// CAFile has the certificates that verify those of the URLs, and is read for each question.
	CAFile string
	// Namespace is that of the Pods, for a port-forward.
	Namespace string
	// Config reaches the API server as the one who asks. It may be nil where URLs and Token are set.
	Config *rest.Config
	// Token, if set, is presented instead of the identity of Config.
	Token func() (string, error)
	// Patience is how long all replicas together may take; 0 is 3 s.
	Patience time.Duration
}

// TokenFile reads a token that is renewed in a file, as a projected volume does.
func TokenFile(path string) func() (string, error) {
	return func() (string, error) {
		text, err := os.ReadFile(path) //nolint:gosec // a flag names the file
		return strings.TrimSpace(string(text)), err
	}
}

// Client asks all replicas. It is safe for concurrent use.
type Client struct {
	options Options
	urls    []*url.URL
	user    string
	groups  []string
}

// New returns a client. An error says which option is wrong.
func New(o Options) (*Client, error) {
	o.Patience = cmp.Or(o.Patience, defaultPatience)
	c := &Client{options: o}
	for _, text := range o.URLs {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" || u.User != nil ||
			strings.Trim(u.Path, "/") != "" {
			return nil, fmt.Errorf("%q is no address of replicas: use https://HOST:PORT", text)
		}
		c.urls = append(c.urls, u)
	}
	if len(c.urls) > 0 && o.CAFile == "" && o.Token == nil {
		return nil, errors.New("a CA file is needed to verify the replicas: the token of a kubeconfig must not go to " +
			"a stranger")
	}
	if o.Config == nil && (len(c.urls) == 0 || o.Token == nil) {
		return nil, errors.New("a connection to the API server is needed")
	}
	return c, nil
}

// As returns a client that asks on behalf of a user, whom the one who asks has to be allowed to impersonate.
func (c *Client) As(user string, groups []string) *Client {
	as := *c
	as.user, as.groups = user, slices.Compact(slices.Sorted(slices.Values(groups)))
	return &as
}

// Answer is what all replicas said: one T for each that answered, and a Problem for each that did not. Where nothing is
// to be missed, there must be no Problem: a replica that did not answer may have refused somebody.
type Answer[T any] struct {
	Replicas []T       `json:"replicas"`
	Problems []Problem `json:"problems,omitempty"`
}

// Problem says what is missing in an Answer.
type Problem struct {
	// Replica is the Pod or the address that did not answer; empty if no replica could be asked.
	Replica string `json:"replica,omitempty"`
	// Message is one sentence or more that say why, and what to do.
	Message string `json:"message"`
}

// problem is an error whose text is the message of a Problem.
func problem(format string, args ...any) error { return fmt.Errorf(format, args...) }

// Refusals asks for the refusals of an app. Merge of package refusals joins them.
func (c *Client) Refusals(
	ctx context.Context, app types.NamespacedName, f refusals.Filter,
) Answer[refusals.Refusals] {
	return ask(ctx, c, app, "refusals", f.Query(), func(r *refusals.Refusals) identity {
		return identity{r.Replica, r.Since.UnixNano()}
	})
}

// Activity asks for the joins of an app.
func (c *Client) Activity(ctx context.Context, app types.NamespacedName) Answer[refusals.Activity] {
	return ask(ctx, c, app, "activity", nil, func(r *refusals.Activity) identity {
		return identity{r.Replica, r.Since.UnixNano()}
	})
}

// AboutEach asks about several apps, a few at a time.
func AboutEach[T any](
	apps []types.NamespacedName, ask func(types.NamespacedName) Answer[T],
) map[types.NamespacedName]Answer[T] {
	var (
		asking  sync.WaitGroup
		places  = make(chan struct{}, appsAtOnce)
		mu      sync.Mutex
		answers = make(map[types.NamespacedName]Answer[T], len(apps))
	)
	for _, app := range apps {
		places <- struct{}{}
		asking.Go(func() { // ends with the question
			defer func() { <-places }()
			answer := ask(app)
			mu.Lock()
			defer mu.Unlock()
			answers[app] = answer
		})
	}
	asking.Wait()
	return answers
}

// identity is that of a process: two of them may have one name, and one may have several addresses.
type identity struct {
	name  string
	since int64
}

// endpoint is where one replica answers.
type endpoint struct {
	name      string
	url       string
	transport http.RoundTripper
	close     func()
}

func ask[T any](
	ctx context.Context, c *Client, app types.NamespacedName, subresource string, query url.Values,
	identify func(*T) identity,
) Answer[T] {
	ctx, cancel := context.WithTimeout(ctx, c.options.Patience)
	defer cancel()
	answer := Answer[T]{Replicas: []T{}}
	headers, err := c.headers(ctx)
	if err != nil {
		answer.Problems = []Problem{{Message: err.Error()}}
		return answer
	}
	endpoints, problems := c.endpoints(ctx, headers)
	answer.Problems = problems
	if len(endpoints)+len(problems) == 0 {
		answer.Problems = []Problem{{Message: "No replica was found."}}
	}
	path := "/namespaces/" + url.PathEscape(app.Namespace) + "/imapps/" + url.PathEscape(app.Name) + "/" + subresource
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	answers, errs := make([]T, len(endpoints)), make([]error, len(endpoints))
	var asking sync.WaitGroup
	for i, e := range endpoints {
		asking.Go(func() {
			defer e.close()
			errs[i] = get(ctx, e, path, headers, &answers[i])
		})
	}
	asking.Wait()
	known := map[identity]bool{}
	for i, e := range endpoints {
		if errs[i] != nil {
			answer.Problems = append(answer.Problems, Problem{Replica: e.name, Message: c.sentence(errs[i])})
			continue
		}
		if id := identify(&answers[i]); !known[id] {
			known[id] = true
			answer.Replicas = append(answer.Replicas, answers[i])
		}
	}
	return answer
}

// get asks one replica. No redirect is followed, since the request has a token.
func get(ctx context.Context, e endpoint, path string, headers http.Header, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url+path, http.NoBody)
	if err != nil {
		return err
	}
	request.Header = headers.Clone()
	response, err := e.transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, maxReason))
		return &statusError{response.StatusCode, strings.TrimSpace(string(text))}
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(into); err != nil {
		return fmt.Errorf("its answer cannot be read: %w", err)
	}
	return nil
}

// statusError is an answer other than 200.
type statusError struct {
	status int
	text   string
}

// Error implements error.
func (e *statusError) Error() string {
	return fmt.Sprintf("it answers %d: %s", e.status, cmp.Or(e.text, http.StatusText(e.status)))
}

// sentence says what is wrong, and what to do.
func (c *Client) sentence(err error) string {
	if status, ok := errors.AsType[*statusError](err); ok {
		switch {
		case strings.HasPrefix(status.text, "404 page not found"):
			return "It does not serve this: it may be of an older version of Groupgate."
		case status.status == http.StatusForbidden:
			return status.text + " The ClusterRole groupgate-policy-viewer has the rights to read."
		case status.text != "":
			return status.text
		}
	}
	switch text := err.Error(); {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("It did not answer within %s.", c.options.Patience)
	case strings.Contains(text, "gave HTTP response to HTTPS client"):
		return "It does not serve TLS: refusals and joins are served only with --metrics-secure of the manager."
	default:
		return "It could not be asked: " + strings.TrimSuffix(text, ".") + "."
	}
}

// headers are those that say who asks.
func (c *Client) headers(ctx context.Context) (http.Header, error) {
	headers := http.Header{}
	if c.options.Token != nil {
		token, err := c.options.Token()
		if err != nil {
			return nil, problem("The token for the replicas cannot be read: %w.", err)
		}
		headers.Set("Authorization", "Bearer "+token)
	} else {
		var err error
		if headers, err = identityOf(ctx, c.options.Config); err != nil {
			return nil, err
		}
	}
	if c.user != "" {
		headers.Set(authenticationv1.ImpersonateUserHeader, c.user)
		headers[authenticationv1.ImpersonateGroupHeader] = c.groups
	}
	return headers, nil
}

// identityOf returns the headers by which the API server would recognise a client, with those of an impersonation.
func identityOf(ctx context.Context, config *rest.Config) (http.Header, error) {
	var sent http.Header
	wrapped, err := rest.HTTPWrappersForConfig(config, roundTripper(func(r *http.Request) (*http.Response, error) {
		sent = r.Header
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
	}))
	if err == nil {
		var request *http.Request
		if request, err = http.NewRequestWithContext(ctx, http.MethodGet, "https://replica", http.NoBody); err == nil {
			_, err = wrapped.RoundTrip(request) //nolint:bodyclose // there is none
		}
	}
	if err != nil {
		return nil, problem("The identity of the kubeconfig cannot be used: %w.", err)
	}
	if !strings.HasPrefix(sent.Get("Authorization"), "Bearer ") {
		return nil, problem("The kubeconfig has no bearer token, and replicas recognise nothing else: " +
			"use one with a token, which `kubectl config set-credentials USER " +
			"--token=\"$(kubectl create token SERVICEACCOUNT -n NAMESPACE)\"` gives it for an hour.")
	}
	headers := http.Header{}
	for name, values := range sent {
		if name == "Authorization" || strings.HasPrefix(name, "Impersonate-") {
			headers[name] = values
		}
	}
	return headers, nil
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
