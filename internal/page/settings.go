package page

import (
	"net/http"
	"time"
)

// settings are what a viewer can choose, kept in cookies.
type settings struct {
	// Language and Zone are what was chosen; empty for what the browser prefers, and for the zone of the page.
	Language, Zone string
	// Default is the zone of the page, and BadZone says that another one was typed which does not exist.
	Default string
	BadZone bool
	Zones   []string
}

// Name is that of a language in itself.
func (settings) Name(tag string) string {
	return map[string]string{"en": "English", "zh-Hans": "简体中文"}[tag]
}

// someZones are offered while a zone is typed; any other of the IANA database may be typed.
var someZones = []string{
	"UTC", "Asia/Shanghai", "Asia/Hong_Kong", "Asia/Taipei", "Asia/Singapore", "Asia/Tokyo", "Asia/Seoul",
	"Asia/Jakarta", "Asia/Kolkata", "Asia/Dubai", "Asia/Riyadh", "Australia/Sydney", "Europe/London", "Europe/Berlin",
	"Europe/Paris", "Europe/Moscow", "Africa/Lagos", "America/Sao_Paulo", "America/New_York", "America/Chicago",
	"America/Denver", "America/Los_Angeles",
}

// settings shows what the viewer has chosen, and who the viewer is.
func (s *server) settings(v *visit) (*view, error) {
	return v.settings(cookie(v.request, zoneCookie), false), nil
}

func (v *visit) settings(zone string, bad bool) *view {
	return &view{template: "settings.html", title: "Settings", data: &settings{
		Language: cookie(v.request, languageCookie), Zone: zone, BadZone: bad,
		Default: zoneName(v.server.Zone, v.now), Zones: someZones,
	}}
}

// zoneName is the name of a zone, for that of the machine its abbreviation: Go knows it as Local only.
func zoneName(zone *time.Location, now time.Time) string {
	if zone == time.Local {
		return now.In(zone).Format("MST")
	}
	return zone.String()
}

// choose keeps what the viewer has chosen.
func (s *server) saveSettings(v *visit) (*view, error) {
	form := v.request.PostForm
	tag, zone := form.Get("language"), form.Get("zone")
	if tag != "" && (settings{}).Name(tag) == "" {
		return nil, &Refusal{
			Status: http.StatusBadRequest, Text: "The page does not have this language.",
			Advice: "Choose one from the settings.",
		}
	}
	if !exists(zone) {
		shown := v.settings(zone, true)
		shown.status = http.StatusUnprocessableEntity
		return shown, nil
	}
	v.keep(languageCookie, tag)
	v.keep(zoneCookie, zone)
	http.Redirect(v.answer, v.request, "/settings", http.StatusSeeOther)
	return nil, nil
}

// exists reports whether there is a time zone of this name; the empty one is that of the page.
func exists(zone string) bool {
	_, err := time.LoadLocation(zone)
	return err == nil && zone != time.Local.String()
}

// keep sets a cookie for a year, or deletes it if the value is empty.
func (v *visit) keep(name, value string) {
	c := &http.Cookie{ //nolint:gosec // Secure wherever there is TLS
		Name: name, Value: value, Path: "/", MaxAge: 365 * 24 * 60 * 60, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: v.server.Origin != nil && v.server.Origin.Scheme == "https",
	}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(v.answer, c)
}
