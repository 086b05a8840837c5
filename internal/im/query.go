package im

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

// ParseQuery reads a raw query. It never fails: a parameter that is missing is "", one that is wrongly escaped keeps its raw
// text, which then equals and verifies nothing.
func ParseQuery(raw string) Query {
	var q Query
	var exactID, anyID, command, sign, requestTime, platform bool
	for pair := range strings.SplitSeq(raw, "&") {
		key, value, _ := strings.Cut(pair, "=")
		key, value = unescapeQuery(key), unescapeQuery(value)
		switch {
		case strings.EqualFold(key, "SdkAppid"):
			exact := key == "SdkAppid"
			q.RepeatedSDKAppID = q.RepeatedSDKAppID || anyID && value != q.SDKAppID
			if !anyID || exact && !exactID {
				q.SDKAppID = value
			}
			anyID, exactID = true, exactID || exact
		case key == "CallbackCommand":
			take(&q.CommandText, value, &command, &q.RepeatedCommand)
		case key == "Sign":
			take(&q.Sign, value, &sign, &q.RepeatedSign)
		case key == "RequestTime":
			take(&q.RequestTime, value, &requestTime, &q.RepeatedRequestTime)
		case key == "OptPlatform" && !platform:
			q.OptPlatform, platform = value, true
		}
	}
	return q
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
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	if text, err := url.QueryUnescape(s); err == nil {
		return text
	}
	return s
}
