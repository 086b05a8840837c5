package imrest

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// vectors were computed with the vendor's own libraries.
type vectors struct {
	UserSig []struct {
		SecretKey, Identifier, Sig string
		SDKAppID                   uint64
		Time, Expire               int64
	}
}

func readVectors(t *testing.T) vectors {
	t.Helper()
	raw, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.UserSig) == 0 {
		t.Fatal("testdata/vectors.json holds no vectors")
	}
	return v
}

// Compressors differ, so tokens are compared by what they hold.
func TestUserSigVectors(t *testing.T) {
	for _, v := range readVectors(t).UserSig {
		token, err := NewUserSig(v.SecretKey, v.SDKAppID, v.Identifier, time.Unix(v.Time, 0),
			time.Duration(v.Expire)*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]any{
			"TLS.ver": "2.0", "TLS.identifier": v.Identifier, "TLS.sdkappid": float64(v.SDKAppID),
			"TLS.time": float64(v.Time), "TLS.expire": float64(v.Expire), "TLS.sig": v.Sig,
		}
		if diff := cmp.Diff(want, inflate(t, token)); diff != "" {
			t.Errorf("UserSig of %s: -want, +got:\n%s", v.Identifier, diff)
		}
		if err := VerifyUserSig(token, v.SecretKey, v.SDKAppID, v.Identifier, time.Unix(v.Time, 0)); err != nil {
			t.Errorf("VerifyUserSig: %v", err)
		}
	}
}

func inflate(t *testing.T, token string) map[string]any {
	t.Helper()
	if strings.ContainsAny(token, "+/=") {
		t.Errorf("token %s is not in the vendor's alphabet", token)
	}
	packed, err := base64.StdEncoding.DecodeString(strings.NewReplacer("*", "+", "-", "/", "_", "=").Replace(token))
	if err != nil {
		t.Fatal(err)
	}
	r, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(plain, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

// pack makes a token of any bytes.
func pack(plain []byte, level int) string {
	var packed bytes.Buffer
	w, err := zlib.NewWriterLevel(&packed, level)
	if err != nil {
		return ""
	}
	_, _ = w.Write(plain)
	_ = w.Close()
	return toUserSigAlphabet.Replace(base64.StdEncoding.EncodeToString(packed.Bytes()))
}

func TestVerifyUserSig(t *testing.T) {
	const key, app, admin = "key", 1400000000, "administrator"
	made := time.Unix(1700000000, 0)
	good, err := NewUserSig(key, app, admin, made, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	withBuf := userSig{Version: "2.0", Identifier: admin, SDKAppID: app, Expire: 3600, Time: made.Unix(),
		UserBuf: "YWJj"}
	withBuf.Sig = withBuf.mac(key)
	marshal := func(u userSig) []byte {
		text, err := json.Marshal(u)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	longer := withBuf
	longer.Expire *= 2

	cases := map[string]struct {
		sig, key, account string
		app               uint64
		at                time.Time
		want              int
	}{
		"good":                   {sig: good},
		"stored, not compressed": {sig: pack(marshal(withBuf), zlib.NoCompression)},
		"with a userbuf":         {sig: pack(marshal(withBuf), zlib.DefaultCompression)},
		"in its last second":     {sig: good, at: made.Add(time.Hour)},
		"made in the future":     {sig: good, at: made.Add(-time.Hour)},
		"expired":                {sig: good, at: made.Add(time.Hour + time.Second), want: 70001},
		"empty":                  {sig: "", want: 70002},
		"not base64":             {sig: "!" + good, want: 70003},
		"cut":                    {sig: good[:len(good)/8*4], want: 70003},
		"not zlib":               {sig: "YWJjZGVm", want: 70003},
		"not JSON":               {sig: pack([]byte("{"), 6), want: 70003},
		"JSON of something else": {sig: pack([]byte("{}"), 6), want: 70003},
		"too long":               {sig: strings.Repeat("A", maxUserSig+4), want: 70003},
		"inflates to too much":   {sig: pack(make([]byte, 4<<20), 9), want: 70003},
		"inflates just too far": {sig: pack(append(marshal(withBuf), bytes.Repeat([]byte(" "), maxUserSigPlain)...),
			9), want: 70003},
		"other key":        {sig: good, key: "other", want: 70009},
		"life made longer": {sig: pack(marshal(longer), 6), want: 70009},
		"other account":    {sig: good, account: "mallory", want: 70013},
		"other app":        {sig: good, app: 1400000001, want: 70014},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.key == "" {
				tc.key = key
			}
			if tc.account == "" {
				tc.account = admin
			}
			if tc.app == 0 {
				tc.app = app
			}
			if tc.at.IsZero() {
				tc.at = made
			}
			err := VerifyUserSig(tc.sig, tc.key, tc.app, tc.account, tc.at)
			got := 0
			if refused, ok := errors.AsType[*UserSigError](err); ok {
				got = refused.Code
			} else if err != nil {
				t.Errorf("error %v is no UserSigError", err)
			}
			if got != tc.want {
				t.Errorf("code %d (%v), want %d", got, err, tc.want)
			}
		})
	}
	if refused, ok := errors.AsType[*UserSigError](VerifyUserSig(good, "", app, admin, made)); !ok ||
		refused.Code != 70016 {
		t.Errorf("an app without a key: %v, want code 70016", refused)
	}
}

func TestNewUserSigRefuses(t *testing.T) {
	at := time.Unix(1700000000, 0)
	for name, tc := range map[string]struct {
		key, account string
		life         time.Duration
	}{
		"no key":             {"", "a", time.Hour},
		"no account":         {"k", "", time.Hour},
		"account with lines": {"k", "a\nTLS.sdkappid:1", time.Hour},
		"no life":            {"k", "a", time.Second - 1},
	} {
		if sig, err := NewUserSig(tc.key, 1, tc.account, at, tc.life); err == nil {
			t.Errorf("%s: made %s", name, sig)
		}
	}
}

// FuzzParseUserSig uses the fuzzer's bytes as they are, and packed, so that they get past base64 and zlib.
func FuzzParseUserSig(f *testing.F) {
	f.Add([]byte(`{"TLS.ver":"2.0","TLS.identifier":"a","TLS.sdkappid":1,"TLS.expire":1,"TLS.time":1,` +
		`"TLS.sig":"YQ=="}`))
	f.Add([]byte(`{"TLS.ver":"2.0","TLS.time":-1,"TLS.expire":9223372036854775807}`))
	f.Add([]byte("eJw_"))
	f.Fuzz(func(t *testing.T, plain []byte) {
		for _, sig := range []string{string(plain), pack(plain, 6)} {
			token, err := parseUserSig(sig)
			if err != nil {
				continue
			}
			if token.Version != "2.0" || token.Identifier == "" || token.Time < 0 || token.Expire < 0 {
				t.Errorf("accepted %+v", token)
			}
			// Without the key a token gets no further than this.
			err = VerifyUserSig(sig, "a key that nobody knows", token.SDKAppID, token.Identifier, time.Unix(0, 0))
			if refused, ok := errors.AsType[*UserSigError](err); !ok || refused.Code != 70009 {
				t.Errorf("forged token: %v, want code 70009", err)
			}
		}
	})
}
