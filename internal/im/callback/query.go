package callback

import (
	"net/url"
	"strings"
)

// Query is what a callback's request line says (page 34354). Nothing in it is proof of anything until Sign is verified, and
// Sign covers RequestTime alone.
type Query struct {
	// SDKAppID is the text of SdkAppid, or of the first parameter that differs from it only in case where that exact
	// spelling is absent: neighbouring products of the vendor spell it SdkAppId.
	SDKAppID string
	// CommandText is CallbackCommand. The body's command decides; this one is compared with it.
	CommandText string
	// Sign is the hex SHA-256 of token and RequestTime.
	Sign string
	// RequestTime is Unix seconds as text, exactly as it was signed.
	RequestTime string
	// OptPlatform is where the event came from, RESTAPI for calls of the REST API.
	OptPlatform string

	// RepeatedSDKAppID says that SdkAppid, in whatever case, was given with different values.
	RepeatedSDKAppID bool
	// RepeatedCommand, RepeatedSign and RepeatedRequestTime say that the parameter was given more than once.
	RepeatedCommand     bool
	RepeatedSign        bool
	RepeatedRequestTime bool
}

// ParseQuery reads a raw query, from its beginning to its end, once. It never fails: a parameter that is missing is "", one that is
// wrongly escaped keeps its raw text, which then equals and verifies nothing. The texts are parts of raw unless they are escaped.
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

// seenParameters are those that a query has had so far; anyID is SdkAppid in whatever case.
type seenParameters struct{ exactID, anyID, command, sign, requestTime, platform bool }

// takeID prefers the exact spelling, and notes every value that differs from the one before.
func (q *Query) takeID(value string, exact bool, seen *seenParameters) {
	q.RepeatedSDKAppID = q.RepeatedSDKAppID || seen.anyID && value != q.SDKAppID
	if !seen.anyID || exact && !seen.exactID {
		q.SDKAppID = value
	}
	seen.anyID, seen.exactID = true, seen.exactID || exact
}

// take keeps the first value of a parameter and notes every further one.
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
