package imrest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// maxResponse is well above the 1 MB to which the vendor limits itself (page 34617).
const maxResponse = 4 << 20

// response is an HTTP response with status 200.
type response struct {
	api  string
	body []byte
	// sentAt is when the request was about to be sent: what the response says may be as old as that.
	sentAt time.Time
	// serverTime is the Date header, zero if it is absent.
	serverTime time.Time
	// secrets must not appear in errors that quote the response.
	secrets []string
}

// attempt sends a call once. failed is how the call failed; err is the cause of a context that ended, a UserSig that
// cannot be made, or ErrTooLate.
func (c *Client) attempt(ctx context.Context, call call) (failed *Error, err error) {
	config, sig, err := c.sign()
	if err != nil {
		return nil, err
	}
	started := config.Now()
	failed = send(ctx, config, sig, call)
	result := "ok"
	switch {
	case failed == nil:
	case ctx.Err() != nil:
		result, err = "canceled", context.Cause(ctx)
	case errors.Is(failed, ErrTooLate):
		result, err = "canceled", ErrTooLate
	default:
		result = resultOf(failed.Class)
	}
	config.Observe(call.api, result, config.Now().Sub(started))
	return failed, err
}

// resultOf returns a class as a metric label.
func resultOf(class Class) string {
	if class == ClassGroupGone {
		return "group_gone"
	}
	return strings.ToLower(string(class))
}

func send(ctx context.Context, config Config, sig string, call call) *Error {
	got, failed := exchange(ctx, config, sig, call)
	if failed != nil {
		return failed
	}
	err := call.decode(got)
	if err == nil {
		return nil
	}
	if refused, ok := errors.AsType[*Error](err); ok {
		return refused
	}
	return &Error{
		API:        call.api,
		HTTPStatus: http.StatusOK,
		Class:      ClassTransient,
		Err:        fmt.Errorf("read the answer: %w", err),
	}
}

// exchange sends the request and reads the whole response.
func exchange(ctx context.Context, config Config, sig string, call call) (response, *Error) {
	body, err := json.Marshal(call.body)
	if err != nil {
		return response{}, &Error{API: call.api, Class: ClassPermanent, Err: fmt.Errorf("encode the request: %w", err)}
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	var begun atomic.Bool
	newBody := func() (io.ReadCloser, error) {
		sent := &timelyBody{
			content: bytes.NewReader(body), now: config.Now, notAfter: call.notAfter, anyBegun: &begun,
		}
		return io.NopCloser(sent), nil
	}
	first, _ := newBody()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, config.url(call.api, sig), first)
	if err != nil {
		return response{}, &Error{
			API:   call.api,
			Class: ClassPermanent,
			Err:   errors.New("the endpoint cannot be used in a URL"),
		}
	}
	request.GetBody, request.ContentLength = newBody, int64(len(body))
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	sentAt := config.Now()
	received, err := config.HTTPClient.Do(request)
	if err != nil {
		return response{}, &Error{
			API: call.api, Class: ClassTransient, Err: scrub(err, sig, config.SecretKey), unbegun: !begun.Load(),
		}
	}
	defer received.Body.Close()
	if received.StatusCode != http.StatusOK {
		// A short body is read so that the connection can be reused.
		_, _ = io.CopyN(io.Discard, received.Body, 4<<10)
		return response{}, &Error{
			API:        call.api,
			HTTPStatus: received.StatusCode,
			Class:      classOfStatus(received.StatusCode),
		}
	}
	text, err := io.ReadAll(io.LimitReader(received.Body, maxResponse+1))
	switch {
	case err != nil:
		failed := fmt.Errorf("read the answer: %w", scrub(err, sig, config.SecretKey))
		return response{}, &Error{API: call.api, HTTPStatus: http.StatusOK, Class: ClassTransient, Err: failed}
	case len(text) > maxResponse: // so that it is no answer of the API, but a page of something in between
		failed := fmt.Errorf("the answer is longer than %d bytes", maxResponse)
		return response{}, &Error{API: call.api, HTTPStatus: http.StatusOK, Class: ClassTransient, Err: failed}
	}
	got := response{
		api: call.api, body: text, sentAt: sentAt, secrets: []string{sig, url.QueryEscape(sig), config.SecretKey},
	}
	if date, err := http.ParseTime(received.Header.Get("Date")); err == nil {
		got.serverTime = date
	}
	return got, nil
}

// timelyBody is the body of a request. It is read from when there is a connection, which may take seconds, or longer if
// the machine is suspended meanwhile. An error of the first Read breaks the request off before it has an effect. Later
// ones might not, since the vendor may have the whole body by then.
type timelyBody struct {
	content  *bytes.Reader // not embedded: its WriteTo would go round Read
	now      func() time.Time
	notAfter time.Time
	begun    bool
	anyBegun *atomic.Bool // of the bodies of one attempt
}

// Read implements io.Reader.
func (b *timelyBody) Read(p []byte) (int, error) {
	if !b.begun && Late(b.now(), b.notAfter) {
		return 0, ErrTooLate
	}
	b.begun = true
	b.anyBegun.Store(true)
	return b.content.Read(p)
}

// signature is the UserSig of the calls of a client.
type signature struct {
	text string
	at   time.Time
}

// sign returns the config and a UserSig for it, which is renewed after half of its life.
func (c *Client) sign() (Config, string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.config.Now()
	// After the clock was set back, the signature lies in the future, and the vendor might not accept it.
	if age := now.Sub(c.sig.at); c.sig.text == "" || age < 0 || age >= userSigLife/2 {
		text, err := NewUserSig(c.config.SecretKey, c.config.SDKAppID, c.config.AdminAccount, now, userSigLife)
		if err != nil {
			return Config{}, "", err
		}
		c.sig = signature{text: text, at: now}
	}
	return c.config, c.sig.text, nil
}

// forgetSignature makes the next attempt use a new UserSig.
func (c *Client) forgetSignature() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sig = signature{}
}

// url returns a URL with the UserSig in it, which must only be sent to the vendor.
func (c Config) url(api, sig string) string {
	random := rand.Uint32() //nolint:gosec // the vendor requires that it differs between requests; it is no secret
	query := url.Values{
		"sdkappid":    {strconv.FormatUint(c.SDKAppID, 10)},
		"identifier":  {c.AdminAccount},
		"usersig":     {sig},
		"random":      {strconv.FormatUint(uint64(random), 10)},
		"contenttype": {"json"},
	}
	return c.Endpoint + "/v4/" + serviceGroup + "/" + api + "?" + query.Encode()
}

// scrub removes the URL that net/http puts into its errors, and replaces an error that still holds a secret.
func scrub(err error, sig, secretKey string) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err
	}
	for _, secret := range [...]string{sig, url.QueryEscape(sig), secretKey} {
		if strings.Contains(err.Error(), secret) {
			return errors.New("the request failed; its error named a secret and is left out")
		}
	}
	return err
}

// classOfStatus classes a status other than 200. The vendor answers 200 even where it refuses, so any other status
// comes from a failing network or from a proxy, and says nothing lasting about the call.
func classOfStatus(status int) Class {
	if status == http.StatusTooManyRequests {
		return ClassThrottled
	}
	return ClassTransient
}

// status is in every response. ErrorCode is a pointer because an absent one must not read as success.
type status struct {
	ActionStatus string `json:"ActionStatus"`
	ErrorCode    *int   `json:"ErrorCode"`
	ErrorInfo    string `json:"ErrorInfo"`
}

// check returns the failure that the vendor reports: an ErrorCode other than 0, whatever ActionStatus says, or an
// ActionStatus other than OK. A response without either of them says nothing.
func (s status) check(r response) error {
	switch {
	case s.ErrorCode == nil:
		return errors.New("it has no ErrorCode")
	case *s.ErrorCode != 0:
		return r.refused(*s.ErrorCode, s.ErrorInfo)
	case s.ActionStatus == "":
		return errors.New("it has no ActionStatus")
	case s.ActionStatus != "OK":
		return r.refused(0, "ActionStatus is not OK. "+s.ErrorInfo)
	}
	return nil
}

// lacks is for a response without a list.
func (s status) lacks() string { return "" }

func (r response) refused(code int, info string) *Error {
	return &Error{
		API: r.api, Code: code, Info: tidy(info, r.secrets...),
		HTTPStatus: http.StatusOK, Class: classOfCode(code),
	}
}

// answer is what a response is decoded into.
type answer interface {
	check(r response) error
	// lacks names the list that was asked for, if the response has none; otherwise it is "".
	lacks() string
}

// read reads a response that reports success and holds the list that was asked for. An empty list says that there is
// nothing to list. A list that is left out says nothing: taken as empty, it would mean that members have left, or that
// a list of members ends.
func (r response) read(into answer) error {
	if err := r.decode(into); err != nil {
		return err
	}
	if err := into.check(r); err != nil {
		return err
	}
	if list := into.lacks(); list != "" {
		return fmt.Errorf("it has no %s", list)
	}
	return nil
}

// errNotJSON says that something else than the API answers: a proxy, a page of a gateway.
var errNotJSON = errors.New("it is not JSON")

// decode reads the JSON of a response. Unknown fields are ignored: the vendor adds some without notice.
func (r response) decode(into any) error {
	err := json.Unmarshal(r.body, into)
	if err == nil {
		return nil
	}
	// Errors of encoding/json name types and positions, and quote a literal at most.
	words := tidy(err.Error(), r.secrets...)
	if _, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("%w: %s", errNotJSON, words)
	}
	return fmt.Errorf("it is not the JSON that was expected: %s", words)
}
