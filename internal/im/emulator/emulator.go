package emulator

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config configures an Emulator.
type Config struct {
	// Apps are the apps to serve; at least one.
	Apps []App
	// CallbackURL receives the callbacks of every app, as set in the vendor's console. Empty: none are sent. Settings
	// can change it later.
	CallbackURL string
	// CallbackTLS configures TLS for CallbackURL. Nil: Go's defaults, with the machine's trusted certificates.
	CallbackTLS *tls.Config
	// Log receives a warning for each failed callback, and every call at debug level. Nil: nothing is logged.
	Log *slog.Logger
	// Now is the time before the control API shifts it. Nil: time.Now.
	Now func() time.Time
	// OnMemberCall, if set, is called for every REST call that reads, removes or adds named members. The group is
	// locked during the call, so OnMemberCall must not wait for the emulator.
	OnMemberCall func(MemberCall)
}

// Validate reports the first setting that New cannot use.
func (c Config) Validate() error {
	if len(c.Apps) == 0 {
		return errors.New("no app to emulate: give at least one as sdkAppID:secretKey:callbackToken")
	}
	var ids []uint64
	for _, a := range c.Apps {
		if a.SDKAppID == 0 || a.SecretKey == "" {
			return errors.New("an app needs an SDKAppID and a secret key")
		}
		if slices.Contains(ids, a.SDKAppID) {
			return fmt.Errorf("app %d is given twice: give each app once", a.SDKAppID)
		}
		ids = append(ids, a.SDKAppID)
	}
	return checkCallbackURL(c.CallbackURL)
}

// ValidateBindAddress rejects addresses that other machines can reach: the control API has no authentication.
func ValidateBindAddress(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT: use for example 127.0.0.1:8090", address)
	}
	if ip, err := netip.ParseAddr(host); host == "localhost" || err == nil && ip.Unmap().IsLoopback() {
		return nil
	}
	return fmt.Errorf("%q is not a loopback address, and the control API has no password: use 127.0.0.1:8090", address)
}

// Emulator is an IM backend. It is an http.Handler and safe for concurrent use.
type Emulator struct {
	clock  clock
	log    *slog.Logger
	apps   map[uint64]*app // immutable after New
	first  *app
	faults faultList
	outbox *outbox
	http   *http.Client
	mux    *http.ServeMux

	onMemberCall func(MemberCall) // may be nil

	callbacks journal[CallbackRecord]
	calls     journal[CallRecord]
	tally     tally

	close   sync.Once
	closing chan struct{} // closed by Close; ends FaultHang
}

// maxAfterCallbacks bounds how many after-callbacks are sent at the same time.
const maxAfterCallbacks = 64

// New makes an emulator without any groups. It does not repeat Config.Validate: an app that is given twice is served
// once.
func New(c Config) *Emulator {
	e := &Emulator{
		log: c.Log, onMemberCall: c.OnMemberCall, apps: map[uint64]*app{}, outbox: newOutbox(maxAfterCallbacks),
		closing: make(chan struct{}),
		http: &http.Client{
			Transport: &http.Transport{
				TLSClientConfig: c.CallbackTLS, MaxIdleConnsPerHost: maxAfterCallbacks,
				IdleConnTimeout: 5 * time.Minute,
			},
			// A redirect is an answer other than 200, that is a failed callback.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	e.clock.base = c.Now
	if e.clock.base == nil {
		e.clock.base = time.Now
	}
	for _, a := range c.Apps {
		if e.apps[a.SDKAppID] == nil {
			e.apps[a.SDKAppID] = newApp(a, c.CallbackURL)
		}
		if e.first == nil {
			e.first = e.apps[a.SDKAppID]
		}
	}
	e.mux = e.controlMux()
	return e
}

// ServeHTTP implements http.Handler.
func (e *Emulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/v4/") {
		e.serveREST(w, r)
		return
	}
	e.serveControl(w, r)
}

// Close ends hanging calls, drops queued callbacks and waits for those being sent, which takes at most the 2 seconds of
// a callback. Requests are still served afterwards, but no callbacks are sent. Close can be called again.
func (e *Emulator) Close() error {
	e.close.Do(func() { close(e.closing) })
	e.outbox.close()
	e.http.CloseIdleConnections()
	return nil
}
