package main

import (
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/pflag"
)

// loggingOptions are the flags that both commands have.
type loggingOptions struct {
	level  logLevel
	format logFormat
}

func (o *loggingOptions) addFlags(f *pflag.FlagSet) {
	o.format = "json"
	f.Var(&o.level, "log-level", "error, info or debug (one line per decision, with account ids)")
	f.Var(&o.format, "log-format", "json or console")
}

func (o *loggingOptions) logger(w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.Level(o.level), ReplaceAttr: shorten}
	if o.format == "console" {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// shorten writes times as the decision log does, so that lines of both sort together, prints logr's V(1) and above as
// DEBUG, where slog would print DEBUG+3, and leaves out the ID that controller-runtime gives to every reconciliation,
// since the line names the object.
func shorten(groups []string, a slog.Attr) slog.Attr {
	switch {
	case len(groups) > 0:
	case a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime:
		a.Value = slog.StringValue(a.Value.Time().UTC().Format("2006-01-02T15:04:05.000Z07:00"))
	case a.Key == slog.LevelKey:
		if level, ok := a.Value.Any().(slog.Level); ok && level < slog.LevelInfo {
			a.Value = slog.StringValue("DEBUG")
		}
	case a.Key == "reconcileID":
		return slog.Attr{}
	}
	return a
}

// logLevel is the value of --log-level; zero is info.
type logLevel slog.Level

func (l *logLevel) Set(s string) error {
	switch s {
	case "error":
		*l = logLevel(slog.LevelError)
	case "info":
		*l = logLevel(slog.LevelInfo)
	case "debug":
		*l = logLevel(slog.LevelDebug)
	default:
		return fmt.Errorf("%q is no level: use error, info or debug", s)
	}
	return nil
}

func (l *logLevel) Type() string { return "level" }

func (l *logLevel) String() string { return strings.ToLower(slog.Level(*l).String()) }

// logFormat is the value of --log-format.
type logFormat string

func (f *logFormat) Set(s string) error {
	if s != "json" && s != "console" {
		return fmt.Errorf("%q is no format: use json or console", s)
	}
	*f = logFormat(s)
	return nil
}

func (f *logFormat) Type() string   { return "format" }
func (f *logFormat) String() string { return string(*f) }
