package policy

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog" //nolint:depguard // The test shows what slog prints; the core itself logs nothing.
	"strings"
	"testing"
)

func TestSecretIsNeverPrinted(t *testing.T) {
	const text = "s3cr3t-token"
	secret := Secret(text)
	app := prodApp()
	app.Tokens = []Token{{Name: TokenCurrent, Value: secret}}
	snapshot := Compile(Input{Apps: []App{app}})
	values := map[string]any{
		"secret": secret, "pointer": &secret, "token": app.Tokens[0], "tokens": app.Tokens, "app": app,
		"pointer to app": &app,
		"map":            map[string]Secret{"a": secret}, "interface": []any{secret}, "input": Input{Apps: []App{app}},
		"compiled app": snapshot.App(appID), "compiled app by value": *snapshot.App(appID), "snapshot": snapshot,
		"snapshot by value": *snapshot,
		"error":             fmt.Errorf("token %v: %w", secret, errors.New("bad")),
	}
	hidden := []string{text, fmt.Sprintf("%x", text), fmt.Sprintf("%X", text), fmt.Sprintf("%v", []byte(text))}
	check := func(how, printed string) {
		t.Helper()
		for _, h := range hidden {
			if strings.Contains(printed, h) {
				t.Errorf("%s prints the secret: %s", how, printed)
			}
		}
	}
	for name, value := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%10s", "%T"} {
			check(name+" with "+verb, fmt.Sprintf(verb, value))
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "value", value)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "value", value)
		check(name+" in a log", log.String())
		if encoded, err := json.Marshal(value); err == nil {
			check(name+" as JSON", string(encoded))
		}
		if encoded, err := xml.Marshal(value); err == nil {
			check(name+" as XML", string(encoded))
		}
	}
	if got := fmt.Sprintf("%v %+v %#v %s %q %d", secret, secret, secret, secret, secret,
		secret); got != strings.TrimSpace(strings.Repeat("REDACTED ", 6)) {
		t.Errorf("printed as %q", got)
	}
	if got := secret.String() + secret.GoString() + secret.LogValue().String(); got != "REDACTEDREDACTEDREDACTED" {
		t.Errorf("said %q", got)
	}
	if got, _ := json.Marshal(app.Tokens[0]); string(got) != `{"Name":"current","Value":"REDACTED"}` {
		t.Errorf("JSON %s", got)
	}
	if secret.Reveal() != text {
		t.Error("Reveal does not reveal")
	}
}
