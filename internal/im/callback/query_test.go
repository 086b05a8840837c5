package callback

import (
	"net/url"
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
			raw:  "SdkAppid=1400000000&CallbackCommand=Group.CallbackAfterGroupFull&contenttype=json&ClientIP=127.0.0.1&OptPlatform=iOS&Sign=ab&RequestTime=1669872112",
			want: Query{SDKAppID: "1400000000", CommandText: "Group.CallbackAfterGroupFull", OptPlatform: "iOS", Sign: "ab", RequestTime: "1669872112"},
		},
		"empty":                           {},
		"neighbour's spelling":            {raw: "SdkAppId=1", want: Query{SDKAppID: "1"}},
		"exact spelling wins":             {raw: "SDKAPPID=1&SdkAppid=1&sdkappid=1", want: Query{SDKAppID: "1"}},
		"exact wins over different":       {raw: "SDKAPPID=2&SdkAppid=1", want: Query{SDKAppID: "1", RepeatedSDKAppID: true}},
		"different after exact":           {raw: "SdkAppid=1&sdkappid=2", want: Query{SDKAppID: "1", RepeatedSDKAppID: true}},
		"different between two spellings": {raw: "SdkAppid=1&sdkappid=2&SdkAppid=1", want: Query{SDKAppID: "1", RepeatedSDKAppID: true}},
		"same id twice":                   {raw: "SdkAppid=1&SdkAppid=1", want: Query{SDKAppID: "1"}},
		"different ids":                   {raw: "SdkAppid=1&SdkAppid=2", want: Query{SDKAppID: "1", RepeatedSDKAppID: true}},
		"empty and other id":              {raw: "SdkAppid=&SdkAppid=2", want: Query{RepeatedSDKAppID: true}},
		"repeated though equal":           {raw: "Sign=a&Sign=a&RequestTime=1&RequestTime=1&CallbackCommand=x&CallbackCommand=x", want: Query{Sign: "a", RequestTime: "1", CommandText: "x", RepeatedSign: true, RepeatedRequestTime: true, RepeatedCommand: true}},
		"repeated, first empty":           {raw: "Sign=&Sign=a", want: Query{RepeatedSign: true}},
		"repeated by an escaped name":     {raw: "Sign=a&S%69gn=b", want: Query{Sign: "a", RepeatedSign: true}},
		"other case is another name":      {raw: "sign=a&requesttime=1&callbackcommand=x&optplatform=Web"},
		"first platform":                  {raw: "OptPlatform=RESTAPI&OptPlatform=Web", want: Query{OptPlatform: "RESTAPI"}},
		"escaped value":                   {raw: "CallbackCommand=Group%2ECallback+x", want: Query{CommandText: "Group.Callback x"}},
		"plus is a blank":                 {raw: "OptPlatform=a+b", want: Query{OptPlatform: "a b"}},
		"broken escape keeps its text":    {raw: "Sign=%zz&RequestTime=1%", want: Query{Sign: "%zz", RequestTime: "1%"}},
		"semicolon does not separate":     {raw: "SdkAppid=1;Sign=a", want: Query{SDKAppID: "1;Sign=a"}},
		"no value":                        {raw: "Sign&&=&RequestTime=", want: Query{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, ParseQuery(tc.raw)); diff != "" {
				t.Errorf("ParseQuery(%q): -want, +got:\n%s", tc.raw, diff)
			}
		})
	}
}

// FuzzParseQuery compares with net/url, which differs in what it does not accept: a pair with a semicolon, or with an escape that is
// none. It leaves such a pair out, and tells of an error; ParseQuery, which must not lose a parameter that somebody else may see, takes
// what is escaped wrongly as it stands.
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

const documentedQuery = "SdkAppid=1400000000&CallbackCommand=Group.CallbackBeforeApplyJoinGroup&contenttype=json&ClientIP=127.0.0.1&OptPlatform=iOS" +
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
