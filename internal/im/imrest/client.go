package imrest

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	// attemptTimeout is above the 3 s after which the vendor's own backend gives up (page 34620), so that its response
	// arrives.
	attemptTimeout = 5 * time.Second
	maxAttempts    = 5
	minBackOff     = 200 * time.Millisecond
	maxBackOff     = 10 * time.Second

	userSigLife = time.Hour

	defaultRequestsPerSecond = 20
	maxRequestsPerSecond     = 200 // what the vendor allows an app for each API by default
)

// Config configures a Client. No way of printing it shows SecretKey.
type Config struct {
	// Endpoint is the base URL of the REST API, from Endpoint or ParseEndpoint.
	Endpoint string
	SDKAppID uint64
	// AdminAccount is the admin account of the app that calls are made as.
	AdminAccount string
	// SecretKey is the key that UserSigs are made with.
	SecretKey string
	// RequestsPerSecond bounds all calls together, 1 to 200; 0 is 20.
	RequestsPerSecond int
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Sleep waits for d or until ctx ends, then with the cause; nil is a timer. Tests pass one that moves Now.
	Sleep func(ctx context.Context, d time.Duration) error
	// HTTPClient carries the calls; nil is a default one. Its CheckRedirect is replaced: redirects are not followed.
	HTTPClient *http.Client
	// Observe, if set, is called after every request with its API, its result (ok, canceled, or the Class in lower case
	// with underscores) and its duration.
	Observe func(api, result string, d time.Duration)
}

// Format implements fmt.Formatter, so that no verb shows SecretKey.
func (c Config) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "{Endpoint:%s SDKAppID:%d AdminAccount:%s SecretKey:REDACTED RequestsPerSecond:%d}",
		c.Endpoint, c.SDKAppID, c.AdminAccount, c.RequestsPerSecond)
}

// LogValue implements slog.LogValuer.
func (c Config) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(c)) }

// withDefaults returns the config with its defaults, or what is wrong with it.
func (c Config) withDefaults() (Config, error) {
	endpoint, err := ParseEndpoint(c.Endpoint)
	switch {
	case err != nil:
		return c, fmt.Errorf("endpoint: %w", err)
	case c.SDKAppID == 0:
		return c, errors.New("no SDKAppID: set the number that the vendor's console shows")
	case c.AdminAccount == "":
		return c, errors.New("no admin account: set one that the vendor's console lists as admin")
	case c.SecretKey == "":
		return c, errors.New("no secret key: set the key that the vendor's console shows")
	case c.RequestsPerSecond < 0 || c.RequestsPerSecond > maxRequestsPerSecond:
		return c, fmt.Errorf("%d requests per second: use 1 to %d", c.RequestsPerSecond, maxRequestsPerSecond)
	}
	c.Endpoint = endpoint
	c.RequestsPerSecond = cmp.Or(c.RequestsPerSecond, defaultRequestsPerSecond)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Sleep == nil {
		c.Sleep = sleep
	}
	if c.Observe == nil {
		c.Observe = func(string, string, time.Duration) {}
	}
	own := http.Client{Transport: newTransport()}
	if c.HTTPClient != nil {
		own = *c.HTTPClient
	}
	// A redirect would carry the UserSig, which is in the URL, to another host.
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.HTTPClient = &own
	return c, nil
}

func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: attemptTimeout}).DialContext,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   attemptTimeout,
		ResponseHeaderTimeout: attemptTimeout,
		MaxIdleConnsPerHost:   8,
		IdleConnTimeout:       90 * time.Second,
		ForceAttemptHTTP2:     true,
	}
}

// Client calls the REST API of one app (page 34620). It is safe for concurrent use.
//
// All its calls share one limiter and one pause. Of those that wait, calls with a notAfter and Urgent ones go first,
// but at most 3 in a row, then all others in order of arrival, and last those of the sweep (Groups and AppGroups),
// which together get at most a quarter of the rate.
//
// A call makes up to 5 attempts while the vendor fails or finds it too frequent, 200 ms to 10 s apart and doubling,
// with jitter; each takes at most 5 s. A frequency limit delays the other calls for as long, and so does an outage: the
// vendor cannot be reached, answers something that is not JSON, or reports that its backend fails (60008 and the like).
// In an outage one attempt at a time is made, and the longer it lasts the rarer, down to one in 15 s.
//
// A pause of more than 10 s, such as the minute that the vendor demands after too many failed verifications (70050), or
// that of a long outage, is not waited out: every call during it fails at once with what it is for.
type Client struct {
	limiter *limiter

	mu     sync.Mutex
	config Config
	sig    signature
	health Health
}

// NewClient returns a client, or what is wrong with the config.
func NewClient(config Config) (*Client, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("REST client: %w", err)
	}
	return &Client{config: config, limiter: newLimiter(config.Now, config.Sleep, config.RequestsPerSecond)}, nil
}

// Update changes the config; calls under way may still use the old one. Limiter and pause stay, so that an edit does
// not let calls through that the vendor would refuse, but a new identity (endpoint, app, admin account or key) ends a
// pause and resets the health. Now, Sleep and, unless it is given, HTTPClient do not change.
func (c *Client) Update(config Config) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	config.Now, config.Sleep = c.config.Now, c.config.Sleep
	if config.HTTPClient == nil {
		config.HTTPClient = c.config.HTTPClient
	}
	config, err := config.withDefaults()
	if err != nil {
		return fmt.Errorf("REST client: %w", err)
	}
	if config.identity() != c.config.identity() {
		c.sig, c.health = signature{}, Health{}
		c.limiter.resume()
	}
	c.config = config
	c.limiter.setRate(config.RequestsPerSecond)
	return nil
}

type identity struct {
	endpoint, admin, key string
	sdkAppID             uint64
}

func (c Config) identity() identity {
	return identity{endpoint: c.Endpoint, admin: c.AdminAccount, key: c.SecretKey, sdkAppID: c.SDKAppID}
}

// Close closes idle connections. Calls still work afterwards.
func (c *Client) Close() { c.settings().HTTPClient.CloseIdleConnections() }

// Format implements fmt.Formatter, so that no verb shows the secrets of the client.
func (c *Client) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "imrest.Client%v", c.settings()) }

// Health returns whether calls succeed.
func (c *Client) Health() Health {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.health
}

func (c *Client) settings() Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.config
}

// call is one call of the REST API, in one or more attempts.
type call struct {
	api      string
	body     any
	notAfter time.Time // zero: no limit
	once     bool      // an attempt that may have taken effect is not repeated
	sweep    bool      // no run waits for it
	urgent   bool      // a person waits for it
	finishes bool      // an attempt that has begun goes on when the context ends
	// decode reads a response. An *Error is a failure that the vendor reports; any other error says that the response
	// is not as documented, which counts as transient.
	decode func(response) error
}

func (c call) lane() lane {
	switch {
	case c.sweep:
		return laneSweep
	case !c.notAfter.IsZero(), c.urgent:
		return laneUrgent
	}
	return laneNormal
}

type (
	urgentKey struct{}
	sweepKey  struct{}
)

// Urgent makes the calls that are made with the context go before those of other runs.
func Urgent(ctx context.Context) context.Context { return context.WithValue(ctx, urgentKey{}, true) }

// Sweep makes all other calls go before those that are made with the context, as they go before Groups and AppGroups.
func Sweep(ctx context.Context) context.Context { return context.WithValue(ctx, sweepKey{}, true) }

// do makes a call. The error is an *Error, ErrTooLate, or the cause of a context that ended.
func (c *Client) do(ctx context.Context, call call) error {
	delays := backoff.ExponentialBackOff{
		InitialInterval:     minBackOff,
		RandomizationFactor: 0.5,
		Multiplier:          2,
		MaxInterval:         maxBackOff,
	}
	call.urgent = ctx.Value(urgentKey{}) != nil
	call.sweep = call.sweep || ctx.Value(sweepKey{}) != nil
	var notBefore time.Time
	signedAnew := false
	var failed *Error
	for attempt := 1; ; attempt++ {
		err := c.limiter.admit(ctx, call, notBefore)
		switch {
		case failed != nil && errors.Is(err, ErrTooLate):
			// The failure counts for the health, but does not class the error: a later attempt might have worked.
			c.ended(failed)
			return fmt.Errorf("call %s: %w after a failure: %s", call.api, err, failed.Error())
		case err != nil:
			return fmt.Errorf("call %s: %w", call.api, err)
		}
		attempting := ctx
		if call.finishes {
			attempting = context.WithoutCancel(ctx) // attemptTimeout bounds it
		}
		failed, err = c.attempt(attempting, call)
		if longOutage := c.limiter.ended(ctx, failed, err == nil); longOutage {
			c.ended(failed) // for the calls that fail without an attempt
		}
		switch {
		case err != nil:
			return fmt.Errorf("call %s: %w", call.api, err)
		case failed == nil:
			c.ended(nil)
			return nil
		}
		if needsNewSig(failed.Code) && !signedAnew {
			signedAnew = true
			attempt--
			c.forgetSignature()
			continue
		}
		delay := max(delays.NextBackOff(), pauseOfCode(failed.Code))
		if failed.Class == ClassThrottled {
			c.limiter.pause(delay, *failed)
			failed.RetryAfter = delay
		}
		retryable := failed.Class == ClassTransient && !call.once ||
			failed.Class == ClassThrottled && delay <= longestWait
		if !retryable || attempt >= maxAttempts {
			c.ended(failed)
			return failed
		}
		notBefore = c.limiter.now().Add(delay)
	}
}

func (c *Client) ended(failed *Error) {
	health := healthAfter(failed)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.health = health
}
