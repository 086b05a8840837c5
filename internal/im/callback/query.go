package callback

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/url"
	"strings"
)

// Query is the query of a callback (page 34354). Nothing in it is trustworthy before Sign is verified, and Sign covers
// only RequestTime.
type Query struct {
	// SDKAppID is the text of SdkAppid. If that exact spelling is absent, the first parameter that differs in case
	// only: other products of the vendor spell it SdkAppId.
	SDKAppID string
	// CommandText is CallbackCommand. The body's command decides; this one is compared with it. Of several, it is one
	// that is about a join, if there is any, else the first.
	CommandText string
	// Sign is the hex SHA-256 of token and RequestTime.
	Sign string
	// RequestTime is Unix seconds as text, exactly as it was signed.
	RequestTime string
	// OptPlatform is where the event came from, RESTAPI for calls of the REST API.
	OptPlatform string

	// RepeatedSDKAppID says that SdkAppid, in any case, was given with different values.
	RepeatedSDKAppID bool
	// RepeatedCommand, RepeatedSign and RepeatedRequestTime say that the parameter was given more than once.
	RepeatedCommand     bool
	RepeatedSign        bool
	RepeatedRequestTime bool
}

// ParseQuery reads a raw query. It never fails: a missing parameter is "", and one with a wrong escape keeps its raw
// text, which then equals and verifies nothing. The texts are parts of raw unless they are escaped.
func ParseQuery(raw string) Query {
	var q Query
	var seen seenParameters
	escaped := strings.IndexByte(raw, '%') >= 0 || strings.IndexByte(raw, '+') >= 0
	for raw != "" {
		pair := raw
		if end := strings.IndexByte(raw, '&'); end >= 0 {
			pair, raw = raw[:end], raw[end+1:]
		} else {
			raw = ""
		}
		key, value := pair, ""
		if equals := strings.IndexByte(pair, '='); equals >= 0 {
			key, value = pair[:equals], pair[equals+1:]
		}
		if escaped {
			key, value = unescapeQuery(key), unescapeQuery(value)
		}
		switch key {
		case "SdkAppid":
			q.takeID(value, true, &seen)
		case "CallbackCommand":
			take(&q.CommandText, value, &seen.command, &q.RepeatedCommand)
			if q.RepeatedCommand && Command(value).BeforeJoin() {
				q.CommandText = value
			}
		case "Sign":
			take(&q.Sign, value, &seen.sign, &q.RepeatedSign)
		case "RequestTime":
			take(&q.RequestTime, value, &seen.requestTime, &q.RepeatedRequestTime)
		case "OptPlatform":
			if !seen.platform {
				q.OptPlatform, seen.platform = value, true
			}
		default:
			if strings.EqualFold(key, "SdkAppid") {
				q.takeID(value, false, &seen)
			}
		}
	}
	return q
}

// seenParameters are the parameters read so far; anyID is SdkAppid in any case.
type seenParameters struct{ exactID, anyID, command, sign, requestTime, platform bool }

// takeID prefers the exact spelling, and records whether values differ.
func (q *Query) takeID(value string, exact bool, seen *seenParameters) {
	q.RepeatedSDKAppID = q.RepeatedSDKAppID || seen.anyID && value != q.SDKAppID
	if !seen.anyID || exact && !seen.exactID {
		q.SDKAppID = value
	}
	seen.anyID, seen.exactID = true, seen.exactID || exact
}

// take sets the first value of a parameter and records whether there are more.
func take(field *string, value string, seen, repeated *bool) {
	if *seen {
		*repeated = true
		return
	}
	*field, *seen = value, true
}

func unescapeQuery(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s
	}
	if text, err := url.QueryUnescape(s); err == nil {
		return text
	}
	return s
}

// Sign returns the Sign parameter of a callback: the lower-case hex SHA-256 of the token followed by the text of
// RequestTime (page 34354). It covers neither the body nor any other parameter.
func Sign(token, requestTime string) string {
	sum := digest(token, requestTime)
	return hex.EncodeToString(sum[:])
}

// VerifySign reports whether sign, in hex of either case, is the signature of requestTime under token, in constant
// time. An empty token or requestTime never verifies. The caller checks whether requestTime is recent.
func VerifySign(token, requestTime, sign string) bool {
	if token == "" || requestTime == "" || len(sign) != hex.EncodedLen(sha256.Size) {
		return false
	}
	var given [sha256.Size]byte
	if _, err := hex.Decode(given[:], []byte(sign)); err != nil {
		return false
	}
	want := digest(token, requestTime)
	return subtle.ConstantTimeCompare(given[:], want[:]) == 1
}

func digest(token, requestTime string) [sha256.Size]byte {
	// Room for the longest documented token (128 bytes) and the 10 digits of a time keeps it on the stack.
	text := append(make([]byte, 0, 160), token...)
	return sha256.Sum256(append(text, requestTime...))
}
