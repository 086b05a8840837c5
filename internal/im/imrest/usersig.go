package imrest

import (
	"bytes"
	"compress/zlib"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

const (
	maxUserSig      = 4 << 10  // bytes of a UserSig; a usual one has 200 to 500
	maxUserSigPlain = 16 << 10 // bytes that it may inflate to, so that a small token cannot cost much memory
)

// userSig is the JSON inside a UserSig (TLSSigAPIv2, page 34385).
type userSig struct {
	Version    string `json:"TLS.ver"`
	Identifier string `json:"TLS.identifier"`
	SDKAppID   uint64 `json:"TLS.sdkappid"`
	Expire     int64  `json:"TLS.expire"` // seconds after Time, not a date
	Time       int64  `json:"TLS.time"`   // Unix seconds
	UserBuf    string `json:"TLS.userbuf,omitempty"`
	Sig        []byte `json:"TLS.sig"` // encoding/json writes it as standard base64, as the vendor does
}

// NewUserSig returns the token that authenticates a call of the REST API as identifier (page 34385). It is valid from
// at for life, which is cut to whole seconds and must be at least one.
func NewUserSig(
	secretKey string,
	sdkAppID uint64,
	identifier string,
	at time.Time,
	life time.Duration,
) (string, error) {
	switch {
	case secretKey == "":
		return "", errors.New("make a UserSig: the secret key is empty")
	case identifier == "":
		return "", errors.New("make a UserSig: the account to sign for is empty")
	case strings.ContainsAny(identifier, "\r\n"):
		// The signed text has one line for each claim: a line break would let an account add claims.
		return "", errors.New("make a UserSig: the account to sign for has a line break")
	case life < time.Second:
		return "", fmt.Errorf("make a UserSig: a life of %s is below one second", life)
	}
	token := userSig{
		Version:    "2.0",
		Identifier: identifier,
		SDKAppID:   sdkAppID,
		Expire:     int64(life / time.Second),
		Time:       at.Unix(),
	}
	token.Sig = token.mac(secretKey)
	plain, err := json.Marshal(token)
	if err != nil {
		return "", fmt.Errorf("make a UserSig: %w", err)
	}
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	if _, err := w.Write(plain); err != nil {
		return "", fmt.Errorf("make a UserSig: %w", err)
	}
	if err := w.Close(); err != nil {
		return "", fmt.Errorf("make a UserSig: %w", err)
	}
	return toUserSigAlphabet.Replace(base64.StdEncoding.EncodeToString(packed.Bytes())), nil
}

// The vendor's alphabet is neither of RFC 4648's: it replaces three characters, the padding among them.
var (
	toUserSigAlphabet   = strings.NewReplacer("+", "*", "/", "-", "=", "_")
	fromUserSigAlphabet = strings.NewReplacer("*", "+", "-", "/", "_", "=")
)

// mac is the HMAC-SHA256 of the claims, keyed with the text of the key: its hex digits are not decoded.
func (u userSig) mac(secretKey string) []byte {
	text := "TLS.identifier:" + u.Identifier + "\n" +
		"TLS.sdkappid:" + strconv.FormatUint(u.SDKAppID, 10) + "\n" +
		"TLS.time:" + strconv.FormatInt(u.Time, 10) + "\n" +
		"TLS.expire:" + strconv.FormatInt(u.Expire, 10) + "\n"
	if u.UserBuf != "" {
		text += "TLS.userbuf:" + u.UserBuf + "\n"
	}
	h := hmac.New(sha256.New, []byte(secretKey))
	h.Write([]byte(text))
	return h.Sum(nil)
}

// UserSigError says why a UserSig was refused, with the vendor's code for that (page 34348).
type UserSigError struct {
	Code   int
	Reason string
}

// Error implements error. It never holds the token.
func (e *UserSigError) Error() string {
	return fmt.Sprintf("UserSig refused: %s (%d)", e.Reason, e.Code)
}

// VerifyUserSig checks a UserSig as the vendor does: for the same app and account, made with the same key, and not
// expired at now. It has no notion of a token that is not valid yet. What it returns is nil or a *UserSigError.
func VerifyUserSig(sig, secretKey string, sdkAppID uint64, identifier string, now time.Time) error {
	if sig == "" {
		return &UserSigError{Code: 70002, Reason: "it is empty"}
	}
	token, err := parseUserSig(sig)
	switch {
	case err != nil:
		return &UserSigError{Code: 70003, Reason: err.Error()}
	case token.Identifier != identifier:
		return &UserSigError{Code: 70013, Reason: "it was made for another account"}
	case token.SDKAppID != sdkAppID:
		return &UserSigError{Code: 70014, Reason: "it was made for another app"}
	case secretKey == "":
		return &UserSigError{Code: 70016, Reason: "the app has no key"}
	case !hmac.Equal(token.Sig, token.mac(secretKey)):
		return &UserSigError{Code: 70009, Reason: "it was made with another key"}
	case now.Unix()-token.Time > token.Expire:
		return &UserSigError{Code: 70001, Reason: "it has expired"}
	}
	return nil
}

// parseUserSig unpacks a token without trusting it.
func parseUserSig(sig string) (userSig, error) {
	if len(sig) > maxUserSig {
		return userSig{}, fmt.Errorf("it is longer than %d bytes", maxUserSig)
	}
	packed, err := base64.StdEncoding.DecodeString(fromUserSigAlphabet.Replace(sig))
	if err != nil {
		return userSig{}, errors.New("it is not in the vendor's base64")
	}
	r, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		return userSig{}, errors.New("it is not a zlib stream")
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxUserSigPlain+1))
	switch {
	case err != nil:
		return userSig{}, errors.New("its zlib stream is broken")
	case len(plain) > maxUserSigPlain:
		return userSig{}, fmt.Errorf("it inflates to more than %d bytes", maxUserSigPlain)
	}
	var token userSig
	if err := json.Unmarshal(plain, &token); err != nil {
		return userSig{}, errors.New("it does not hold the JSON of a UserSig")
	}
	if token.Version != "2.0" || token.Identifier == "" || token.Time < 0 || token.Expire < 0 {
		return userSig{}, errors.New("a member of it is missing or out of range")
	}
	return token, nil
}
