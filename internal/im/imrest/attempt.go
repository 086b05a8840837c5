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
	"time"
)

// maxAnswer is well above the 1 MB at which the vendor itself cuts (page 34617).
const maxAnswer = 4 << 20

// answer is a JSON answer with HTTP status 200.
type answer struct {
	api  string
	body []byte
	// serverTime is the Date header, zero if it is absent.
	serverTime time.Time
	// secrets are kept out of what errors repeat of the answer.
	secrets []string
}

// attempt sends a call once. failed is what became of it; err is the cause of a context that ended, or a signature that
// cannot be made.
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
	default:
		result = resultOf(failed.Class)
	}
	config.Observe(call.api, result, config.Now().Sub(started))
	return failed, err
}

// resultOf is a class as a metric label.
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
	return &Error{API: call.api, HTTPStatus: http.StatusOK, Class: ClassTransient, Err: fmt.Errorf("read the answer: %w", err)}
}

// exchange sends the request and reads the whole answer.
func exchange(ctx context.Context, config Config, sig string, call call) (answer, *Error) {
	body, err := json.Marshal(call.body)
	if err != nil {
		return answer{}, &Error{API: call.api, Class: ClassPermanent, Err: fmt.Errorf("encode the request: %w", err)}
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, config.url(call.api, sig), bytes.NewReader(body))
	if err != nil {
		return answer{}, &Error{API: call.api, Class: ClassPermanent, Err: errors.New("the endpoint cannot be used in a URL")}
	}
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	response, err := config.HTTPClient.Do(request)
	if err != nil {
		return answer{}, &Error{API: call.api, Class: ClassTransient, Err: scrub(err, sig, config.SecretKey)}
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		// What is left unread is not worth keeping the connection for, unless it is short.
		_, _ = io.CopyN(io.Discard, response.Body, 4<<10)
		return answer{}, &Error{API: call.api, HTTPStatus: response.StatusCode, Class: classOfStatus(response.StatusCode)}
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		failed := fmt.Errorf("read the answer: %w", scrub(err, sig, config.SecretKey))
		return answer{}, &Error{API: call.api, HTTPStatus: http.StatusOK, Class: ClassTransient, Err: failed}
	case len(text) > maxAnswer:
		failed := fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
		return answer{}, &Error{API: call.api, HTTPStatus: http.StatusOK, Class: ClassPermanent, Err: failed}
	}
	got := answer{api: call.api, body: text, secrets: []string{sig, url.QueryEscape(sig), config.SecretKey}}
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		got.serverTime = date
	}
	return got, nil
}

// url holds the UserSig, so it must go nowhere but to the vendor.
func (c Config) url(api, sig string) string {
	query := url.Values{
		"sdkappid":    {strconv.FormatUint(c.SDKAppID, 10)},
		"identifier":  {c.AdminAccount},
		"usersig":     {sig},
		"random":      {strconv.FormatUint(uint64(rand.Uint32()), 10)}, //nolint:gosec // G404: the vendor wants it to differ, not to be a secret
		"contenttype": {"json"},
	}
	return c.Endpoint + "/v4/" + serviceGroup + "/" + api + "?" + query.Encode()
}

// scrub drops the URL that net/http puts into its errors, and an error that names a secret all the same.
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

// classOfStatus sorts what is not 200. The vendor answers 200 even where it refuses, so any other status is of a network that
// is out of order, or of something in between that is not the vendor: neither says anything lasting about the call.
func classOfStatus(status int) Class {
	if status == http.StatusTooManyRequests {
		return ClassThrottled
	}
	return ClassTransient
}

// status is in every answer. The numbers are pointers because an absent one must not read as success.
type status struct {
	ActionStatus string `json:"ActionStatus"`
	ErrorCode    *int   `json:"ErrorCode"`
	ErrorInfo    string `json:"ErrorInfo"`
}

// check returns the failure that the vendor reports: an ErrorCode other than 0, whatever ActionStatus says, or an
// ActionStatus other than OK.
func (s status) check(a answer) error {
	switch {
	case s.ErrorCode == nil:
		return errors.New("it has no ErrorCode")
	case *s.ErrorCode != 0:
		return a.refused(*s.ErrorCode, s.ErrorInfo)
	case s.ActionStatus != "OK":
		return a.refused(0, "ActionStatus is not OK. "+s.ErrorInfo)
	}
	return nil
}

func (a answer) refused(code int, info string) *Error {
	return &Error{
		API: a.api, Code: code, Info: tidy(info, a.secrets...),
		HTTPStatus: http.StatusOK, Class: classOfCode(a.api, code),
	}
}

// decode reads the JSON of an answer. Members that are not asked for are ignored: the vendor adds some without notice.
func (a answer) decode(into any) error {
	if err := json.Unmarshal(a.body, into); err != nil {
		// The words of encoding/json are about types and positions; they repeat a literal at most.
		return fmt.Errorf("it is not the JSON that was expected: %s", tidy(err.Error(), a.secrets...))
	}
	return nil
}
