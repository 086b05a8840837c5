package im

import (
	"net/url"
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

// FuzzParseQuery compares with net/url wherever that reads the query without an error.
func FuzzParseQuery(f *testing.F) {
	f.Add("SdkAppid=1400000000&CallbackCommand=Group.CallbackAfterGroupFull&Sign=ab&RequestTime=1669872112")
	f.Add("sdkappid=%31&SdkAppid=2&Sign=a+b&Sign&OptPlatform=%")
	f.Fuzz(func(t *testing.T, raw string) {
		got := ParseQuery(raw)
		values, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		for name, tc := range map[string]struct {
			got      string
			repeated bool
		}{
			"CallbackCommand": {got.CommandText, got.RepeatedCommand},
			"Sign":            {got.Sign, got.RepeatedSign},
			"RequestTime":     {got.RequestTime, got.RepeatedRequestTime},
			"OptPlatform":     {got.OptPlatform, len(values["OptPlatform"]) > 1},
		} {
			if want := values.Get(name); tc.got != want || tc.repeated != (len(values[name]) > 1) {
				t.Errorf("%q: %s is %q, repeated %t; net/url reads %q", raw, name, tc.got, tc.repeated, values[name])
			}
		}
		if want, ok := values["SdkAppid"]; ok && got.SDKAppID != want[0] {
			t.Errorf("%q: SDKAppID is %q, want %q", raw, got.SDKAppID, want[0])
		}
	})
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
