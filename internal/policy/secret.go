package policy

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a text that no log, error, event or document may show. Printed, logged or marshalled it is "REDACTED"; only
// [Secret.Reveal] returns the text. Go has two gaps: do not make it the key of a map that becomes JSON, and do not keep
// it in an unexported field of what may be printed.
type Secret string

const redacted = "REDACTED"

// Reveal returns the text itself, for the one place that needs it.
func (s Secret) Reveal() string { return string(s) }

// String implements [fmt.Stringer].
func (s Secret) String() string { return redacted }

// GoString implements [fmt.GoStringer].
func (s Secret) GoString() string { return redacted }

// Format implements [fmt.Formatter], so that no verb reaches the text.
func (s Secret) Format(f fmt.State, _ rune) { writeRedacted(f) }

// LogValue implements [slog.LogValuer].
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler].
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON implements [encoding/json.Marshaler].
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

func writeRedacted(w io.Writer) {
	// A formatter has nobody to report an error to.
	_, _ = io.WriteString(w, redacted)
}
