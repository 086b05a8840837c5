package callback

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseQuery(t *testing.T) {
	cases := map[string]struct {
		raw  string
		want Query
	}{
		"as documented": {
			raw: "SdkAppid=1400000000&CallbackCommand=Group.CallbackAfterGroupFull&contenttype=json" +
				"&ClientIP=127.0.0.1&OptPlatform=iOS&Sign=ab&RequestTime=1669872112",
			want: Query{SDKAppID: "1400000000", CommandText: "Group.CallbackAfterGroupFull", OptPlatform: "iOS",
				Sign: "ab", RequestTime: "1669872112"},
		},
		"empty":                {},
		"neighbour's spelling": {raw: "SdkAppId=1", want: Query{SDKAppID: "1"}},
		"exact spelling wins":  {raw: "SDKAPPID=1&SdkAppid=1&sdkappid=1", want: Query{SDKAppID: "1"}},
		"exact wins over different": {raw: "SDKAPPID=2&SdkAppid=1", want: Query{SDKAppID: "1",
			RepeatedSDKAppID: true}},
		"different after exact": {raw: "SdkAppid=1&sdkappid=2", want: Query{SDKAppID: "1",
			RepeatedSDKAppID: true}},
		"different between two spellings": {raw: "SdkAppid=1&sdkappid=2&SdkAppid=1", want: Query{SDKAppID: "1",
			RepeatedSDKAppID: true}},
		"same id twice": {raw: "SdkAppid=1&SdkAppid=1", want: Query{SDKAppID: "1"}},
		"different ids": {raw: "SdkAppid=1&SdkAppid=2", want: Query{SDKAppID: "1",
			RepeatedSDKAppID: true}},
		"empty and other id": {raw: "SdkAppid=&SdkAppid=2", want: Query{RepeatedSDKAppID: true}},
		"repeated though " +
			"equal": {raw: "Sign=a&Sign=a&RequestTime=1&RequestTime=1&CallbackCommand=x&CallbackCommand=x",
			want: Query{Sign: "a", RequestTime: "1", CommandText: "x", RepeatedSign: true, RepeatedRequestTime: true,
				RepeatedCommand: true}},
		"repeated, first empty":       {raw: "Sign=&Sign=a", want: Query{RepeatedSign: true}},
		"repeated by an escaped name": {raw: "Sign=a&S%69gn=b", want: Query{Sign: "a", RepeatedSign: true}},
		"other case is another name":  {raw: "sign=a&requesttime=1&callbackcommand=x&optplatform=Web"},
		"first platform": {raw: "OptPlatform=RESTAPI&OptPlatform=Web",
			want: Query{OptPlatform: "RESTAPI"}},
		"escaped value": {raw: "CallbackCommand=Group%2ECallback+x",
			want: Query{CommandText: "Group.Callback x"}},
		"plus is a blank": {raw: "OptPlatform=a+b", want: Query{OptPlatform: "a b"}},
		"broken escape keeps its text": {raw: "Sign=%zz&RequestTime=1%", want: Query{Sign: "%zz",
			RequestTime: "1%"}},
		"semicolon does not separate": {raw: "SdkAppid=1;Sign=a", want: Query{SDKAppID: "1;Sign=a"}},
		"no value":                    {raw: "Sign&&=&RequestTime=", want: Query{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, ParseQuery(tc.raw)); diff != "" {
				t.Errorf("ParseQuery(%q): -want, +got:\n%s", tc.raw, diff)
			}
		})
	}
}

// FuzzParseQuery compares with net/url, which rejects pairs with a semicolon or an invalid escape. ParseQuery keeps
// their raw text, since it must not lose a parameter that another reader may see.
func FuzzParseQuery(f *testing.F) {
	f.Add("SdkAppid=1400000000&CallbackCommand=Group.CallbackAfterGroupFull&Sign=ab&RequestTime=1669872112")
	f.Add("sdkappid=%31&SdkAppid=2&Sign=a+b&Sign&OptPlatform=%")
	f.Add("OptPlatform=a+b&Si+gn=1")
	f.Add("a=1;Sign=x&S%69gn=%zz&Sign%=&=&&%53ign&Sign=;")
	f.Add("\u017fd\u212aAppid=1&SDKAPPID=2&SdkAppid")
	f.Fuzz(func(t *testing.T, raw string) {
		var want Query
		var ids, exactIDs []string
		given := url.Values{}
		for pair := range strings.SplitSeq(raw, "&") {
			key, value, _ := strings.Cut(pair, "=")
			if values, err := url.ParseQuery(pair); err == nil {
				for name, all := range values { // of which there is one, or none
					key, value = name, all[0]
				}
			} else {
				key, value = unescaped(key), unescaped(value)
			}
			given.Add(key, value)
			if strings.EqualFold(key, "SdkAppid") {
				ids = append(ids, value)
			}
			if key == "SdkAppid" {
				exactIDs = append(exactIDs, value)
			}
		}
		want.CommandText, want.RepeatedCommand = given.Get("CallbackCommand"), len(given["CallbackCommand"]) > 1
		want.Sign, want.RepeatedSign = given.Get("Sign"), len(given["Sign"]) > 1
		want.RequestTime, want.RepeatedRequestTime = given.Get("RequestTime"), len(given["RequestTime"]) > 1
		want.OptPlatform = given.Get("OptPlatform")
		for i, id := range ids {
			if i == 0 {
				want.SDKAppID = id
			}
			want.RepeatedSDKAppID = want.RepeatedSDKAppID || id != ids[0]
		}
		if len(exactIDs) > 0 {
			want.SDKAppID = exactIDs[0]
		}
		if diff := cmp.Diff(want, ParseQuery(raw)); diff != "" {
			t.Errorf("ParseQuery(%q): net/url reads -want, +got:\n%s", raw, diff)
		}
	})
}

func unescaped(text string) string {
	if text, err := url.QueryUnescape(text); err == nil {
		return text
	}
	return text
}

const documentedQuery = "SdkAppid=1400000000&CallbackCommand=Group.CallbackBeforeApplyJoinGroup" +
	"&contenttype=json&ClientIP=127.0.0.1&OptPlatform=iOS" +
	"&Sign=c27a4ea4e3fcbb0e5b2d8b2f6ea8b9b1ddd2b1aef1ec5ec7b0cbb0d2b6d32c30&RequestTime=1669872112"

func TestParseQueryAllocations(t *testing.T) {
	if got := testing.AllocsPerRun(100, func() { _ = ParseQuery(documentedQuery) }); got > 0 {
		t.Errorf("%v allocations for a query as documented, want none", got)
	}
}

func BenchmarkParseQuery(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(documentedQuery)))
	for b.Loop() {
		if q := ParseQuery(documentedQuery); q.RequestTime == "" {
			b.Fatal("no RequestTime")
		}
	}
}

// vectors were computed with the vendor's own libraries.
type vectors struct {
	Sign []struct{ Token, RequestTime, Sign string }
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
	if len(v.Sign) == 0 {
		t.Fatal("testdata/vectors.json holds no vectors")
	}
	return v
}

func TestSignVectors(t *testing.T) {
	for _, v := range readVectors(t).Sign {
		if got := Sign(v.Token, v.RequestTime); got != v.Sign {
			t.Errorf("Sign(%q, %q) = %s, want %s", v.Token, v.RequestTime, got, v.Sign)
		}
		for _, sign := range []string{v.Sign, strings.ToUpper(v.Sign)} {
			if !VerifySign(v.Token, v.RequestTime, sign) {
				t.Errorf("VerifySign(%q, %q, %s) is false", v.Token, v.RequestTime, sign)
			}
		}
	}
}

func TestVerifySignRefuses(t *testing.T) {
	const token, at = "s3cr3t-token", "1700000000"
	good := Sign(token, at)
	cases := map[string]struct{ token, requestTime, sign string }{
		"empty token":       {"", at, Sign("", at)},
		"empty time":        {token, "", Sign(token, "")},
		"other token":       {"s3cr3t-tokeN", at, good},
		"other time":        {token, "1700000001", good},
		"no sign":           {token, at, ""},
		"one digit less":    {token, at, good[:63]},
		"one digit more":    {token, at, good + "0"},
		"not hex":           {token, at, "x" + good[1:]},
		"last digit":        {token, at, good[:63] + strings.TrimLeft("01", good[63:])[:1]},
		"blank before":      {token, at, " " + good[1:]},
		"time with a blank": {token, at + " ", good},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.sign == good && tc.token == token && tc.requestTime == at {
				t.Fatal("the case changes nothing")
			}
			if VerifySign(tc.token, tc.requestTime, tc.sign) {
				t.Errorf("VerifySign(%q, %q, %q) is true", tc.token, tc.requestTime, tc.sign)
			}
		})
	}
}

func TestVerifySignAllocatesNothing(t *testing.T) {
	sign := Sign("s3cr3t-token", "1700000000")
	if got := testing.AllocsPerRun(100, func() { VerifySign("s3cr3t-token", "1700000000", sign) }); got != 0 {
		t.Errorf("%v allocations, want 0", got)
	}
}

func FuzzVerifySign(f *testing.F) {
	f.Add("xxxxyyyy", "1669872112", Sign("xxxxyyyy", "1669872112"))
	f.Add("", "1669872112", Sign("", "1669872112"))
	f.Add("a", "1", "A")
	f.Fuzz(func(t *testing.T, token, requestTime, sign string) {
		sum := sha256.Sum256([]byte(token + requestTime))
		want := token != "" && requestTime != "" && strings.ToLower(sign) == hex.EncodeToString(sum[:]) &&
			len(sign) == 64
		if got := VerifySign(token, requestTime, sign); got != want {
			t.Errorf("VerifySign(%q, %q, %q) = %t, want %t", token, requestTime, sign, got, want)
		}
		if got := VerifySign(token, requestTime, Sign(token, requestTime)); got != (token != "" && requestTime != "") {
			t.Errorf("a signature of its own verifies: %t", got)
		}
	})
}
