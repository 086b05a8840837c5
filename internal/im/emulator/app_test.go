package emulator_test

import (
	"strings"
	"testing"

	"github.com/groupgate/groupgate/internal/im/emulator"
)

func TestParseApp(t *testing.T) {
	cases := map[string]struct {
		text string
		want emulator.App
		err  string
	}{
		"plain": {"14:key:token", emulator.App{SDKAppID: 14, SecretKey: "key", CallbackToken: "token"},
			""},
		"token with colons":    {"1:key:a:b:", emulator.App{SDKAppID: 1, SecretKey: "key", CallbackToken: "a:b:"}, ""},
		"no token":             {"1:key:", emulator.App{SDKAppID: 1, SecretKey: "key"}, ""},
		"two parts":            {"1:key", emulator.App{}, "2 of 3 parts"},
		"empty":                {"", emulator.App{}, "1 of 3 parts"},
		"SDKAppID not numeric": {"x:key:token", emulator.App{}, "a positive number"},
		"SDKAppID 0":           {"0:key:token", emulator.App{}, "a positive number"},
		"no key":               {"1::token", emulator.App{}, "secret key of app 1 is empty"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := emulator.ParseApp(tc.text)
			if got != tc.want || (err == nil) != (tc.err == "") ||
				err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%+v, %v", got, err)
			}
			if err != nil && strings.Contains(err.Error(), "token,") {
				t.Errorf("the message repeats the secret: %v", err)
			}
		})
	}
}

func TestValidateBindAddress(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:8090": true, "localhost:0": true, "[::1]:8090": true, "127.9.9.9:1": true,
		":8090": false, "0.0.0.0:8090": false, "[::]:8090": false, "192.0.2.1:8090": false,
		"example.org:80": false, "127.0.0.1": false,
	} {
		if err := emulator.ValidateBindAddress(address); (err == nil) != want {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	app := emulator.App{SDKAppID: 1, SecretKey: "key"}
	for name, tc := range map[string]struct {
		config emulator.Config
		want   string
	}{
		"valid":            {emulator.Config{Apps: []emulator.App{app}, CallbackURL: "https://gate/callback"}, ""},
		"no app":           {emulator.Config{}, "at least one"},
		"no key":           {emulator.Config{Apps: []emulator.App{{SDKAppID: 1}}}, "secret key"},
		"twice":            {emulator.Config{Apps: []emulator.App{app, app}}, "given twice"},
		"URL with a query": {emulator.Config{Apps: []emulator.App{app}, CallbackURL: "http://gate/?x=1"}, "no query"},
		"URL of no host":   {emulator.Config{Apps: []emulator.App{app}, CallbackURL: "gate"}, "must be absolute"},
	} {
		t.Run(name, func(t *testing.T) {
			err := tc.config.Validate()
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v", err)
			}
		})
	}
}
