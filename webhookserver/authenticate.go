package webhookserver

import (
	"strconv"
	"time"

	"github.com/groupgate/groupgate/internal/im/callback"
	"github.com/groupgate/groupgate/internal/policy"
)

// window is how far RequestTime may be from our clock, in both directions (page 32431). An intercepted signature is
// valid for that long.
const window = 60 * time.Second

// requestTimeDigits is the most that RequestTime may have. Ten digits are seconds until the year 2286; thirteen would
// be milliseconds, which the vendor does not send.
const requestTimeDigits = 12

// authFailure is why a request is not known to come from the vendor. The caller is never told which.
type authFailure uint8

const (
	authenticated authFailure = iota
	authNoToken               // the app asks for a token and its Secret has none
	authRepeated              // Sign or RequestTime given twice: it would be unclear which one was verified
	authMissing               // Sign or RequestTime absent or empty
	authMalformed             // RequestTime is no time in seconds
	authWrong                 // signed with none of the tokens
	authExpired               // signed rightly, but too long ago or too far ahead
	authFailures
)

// findApp returns the app that a query is about, nil if there is none here. SdkAppid is public and proves nothing; the
// vendor asks receivers to compare it all the same (page 34354).
func findApp(snapshot *policy.Snapshot, query *callback.Query) *policy.CompiledApp {
	if query.RepeatedSDKAppID {
		return nil
	}
	id, err := strconv.ParseUint(query.SDKAppID, 10, 64)
	if err != nil {
		return nil
	}
	return snapshot.App(id)
}

// authenticate decides whether a request comes from the vendor. For one that does, the metrics show the token that
// verified it, which tells when a rotation is over, and the difference of the clocks.
func (h *handler) authenticate(x *exchange, app *policy.CompiledApp, query *callback.Query) authFailure {
	if app.Authentication() == policy.AuthenticateNone {
		return authenticated
	}
	tokens := app.Tokens()
	switch {
	case len(tokens) == 0:
		return authNoToken
	case query.RepeatedSign || query.RepeatedRequestTime:
		return authRepeated
	case query.Sign == "" || query.RequestTime == "":
		x.app.health.Unsigned(x.started)
		return authMissing
	}
	requested, ok := parseRequestTime(query.RequestTime)
	if !ok {
		return authMalformed
	}
	token, ok := verifyingToken(tokens, query)
	if !ok {
		x.app.health.Wrong(x.started)
		return authWrong
	}
	// The window is checked after the signature, so that a wrong clock is not reported as a forged signature.
	skew := x.started.Sub(requested)
	if skew.Abs() > window {
		x.app.health.Skewed(x.started, skew)
		return authExpired
	}
	if x.unverified() {
		x.conn.verify(signature{app.SDKAppID(), requested.Unix()}, x.started)
	}
	x.app.health.Right(x.started)
	h.metrics.verified(token, skew)
	return authenticated
}

// check answers a probe of `groupgate check` by its signature alone; its body is not read. It is no callback of the
// vendor's: it counts for no app, neither as verified nor as refused, and its connection stays unverified.
func (h *handler) check(x *exchange, app *policy.CompiledApp, query *callback.Query) (result, *answer) {
	if app.Authentication() == policy.AuthenticateNone {
		return resultIgnored, continues
	}
	requested, ok := parseRequestTime(query.RequestTime)
	recent := ok && x.started.Sub(requested).Abs() <= window
	_, right := verifyingToken(app.Tokens(), query)
	if recent && right && !query.RepeatedSign && !query.RepeatedRequestTime {
		return resultIgnored, continues
	}
	return resultIgnored, unauthorized
}

// verifyingToken always tries all tokens, so that its duration does not reveal which one is in use.
func verifyingToken(tokens []policy.Token, query *callback.Query) (name policy.TokenName, ok bool) {
	for i := range tokens {
		if callback.VerifySign(tokens[i].Value.Reveal(), query.RequestTime, query.Sign) && !ok {
			name, ok = tokens[i].Name, true
		}
	}
	return name, ok
}

// parseRequestTime reads Unix seconds in plain decimal digits.
func parseRequestTime(text string) (time.Time, bool) {
	if len(text) > requestTimeDigits {
		return time.Time{}, false
	}
	seconds, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0), true
}
