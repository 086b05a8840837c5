package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// The commands that tests send.
const (
	CommandApply     = "Group.CallbackBeforeApplyJoinGroup"
	CommandInvite    = "Group.CallbackBeforeInviteJoinGroup"
	CommandGroupFull = "Group.CallbackAfterGroupFull"
)

// Answer is a manager's answer to a callback.
type Answer struct {
	Status         int // of HTTP
	ActionStatus   string
	ErrorInfo      string
	ErrorCode      int
	RefusedMembers []string `json:"RefusedMembers_Account"`
}

// Query is the query of a callback of an app, not yet signed.
func Query(sdkAppID uint64, command string) string {
	return fmt.Sprintf("SdkAppid=%d&CallbackCommand=%s&contenttype=json&ClientIP=127.0.0.1&OptPlatform=iOS", sdkAppID,
		command)
}

// Sign adds RequestTime and Sign to a query. A signature is valid for a minute.
func Sign(query, token string, at time.Time) string {
	requestTime, sign := Signature(token, at)
	return query + "&RequestTime=" + requestTime + "&Sign=" + sign
}

// Signature is RequestTime and Sign.
func Signature(token string, at time.Time) (requestTime, sign string) {
	requestTime = strconv.FormatInt(at.Unix(), 10)
	digest := sha256.Sum256([]byte(token + requestTime))
	return requestTime, hex.EncodeToString(digest[:])
}

// Post sends a callback as it stands.
func Post(ctx context.Context, callbackURL, query string, body []byte) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, callbackURL+"?"+query, bytes.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	a := Answer{Status: resp.StatusCode}
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		return a, fmt.Errorf("HTTP %d without JSON: %w", resp.StatusCode, err)
	}
	return a, nil
}

// PostSigned sends a callback with CallbackToken. fields are those of the body besides CallbackCommand.
func PostSigned(
	ctx context.Context, callbackURL string, sdkAppID uint64, command string, fields map[string]any,
) (Answer, error) {
	fields["CallbackCommand"] = command
	body, err := json.Marshal(fields)
	if err != nil {
		return Answer{}, fmt.Errorf("write a callback: %w", err)
	}
	return Post(ctx, callbackURL, Sign(Query(sdkAppID, command), CallbackToken, time.Now()), body)
}
