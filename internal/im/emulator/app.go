package emulator

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/time/rate"
)

// App is an app that the emulator serves.
type App struct {
	// SDKAppID is the number of the app, for example 1400000000.
	SDKAppID uint64
	// SecretKey makes and verifies UserSigs. It is used as text, as the vendor does.
	SecretKey string
	// CallbackToken signs callbacks. Empty: callback authentication is off and callbacks carry no Sign.
	CallbackToken string
}

// ParseApp reads the form of the command line, sdkAppID:secretKey:callbackToken. It is split at the first two colons, so the token may
// contain some; an empty token switches callback authentication off.
func ParseApp(text string) (App, error) {
	const form = "write sdkAppID:secretKey:callbackToken, for example 1400000000:5bd2850f:s3cr3t"
	parts := strings.SplitN(text, ":", 3)
	if len(parts) != 3 {
		// The text may hold a secret, so it is not repeated.
		return App{}, fmt.Errorf("%d of 3 parts given: %s (end with a colon for no token)", len(parts), form)
	}
	id, err := strconv.ParseUint(parts[0], 10, 64)
	if err != nil || id == 0 {
		return App{}, fmt.Errorf("the part before the first colon must be the SDKAppID, a positive number: %s", form)
	}
	if parts[1] == "" {
		return App{}, fmt.Errorf("the secret key of app %d is empty: %s", id, form)
	}
	return App{SDKAppID: id, SecretKey: parts[1], CallbackToken: parts[2]}, nil
}

// Settings are what an app's owner sets in the vendor's console, as far as the emulator knows it.
type Settings struct {
	SDKAppID uint64 `json:"sdkAppID"`
	// CallbackURL gets the callbacks; empty: none are sent. It must not have a query string, as in the vendor's console.
	CallbackURL string `json:"callbackURL"`
	// SignedCallbacks reports whether there is a callback token; read-only.
	SignedCallbacks bool `json:"signedCallbacks"`
	// AdminAccounts may call the REST API. Default: administrator, admin.
	AdminAccounts []string `json:"adminAccounts"`
	// EventTime is the form of that field in callbacks, since the vendor's pages disagree: Number (default), String or None.
	EventTime string `json:"eventTime"`
	// OnCallbackFailure is what happens when a before-callback is not answered in time or not with HTTP 200: Allow (default, as the
	// vendor's) or Refuse.
	OnCallbackFailure string `json:"onCallbackFailure"`
	// DisabledCallbacks are commands switched off in the console; they are not sent.
	DisabledCallbacks []string `json:"disabledCallbacks,omitempty"`
	// MissingAccounts do not exist as users: adding them over REST fails.
	MissingAccounts []string `json:"missingAccounts,omitempty"`
	// AskedAccounts want to be asked before somebody brings them into a group: they stay outside.
	AskedAccounts []string `json:"askedAccounts,omitempty"`
	// CrowdedAccounts are in as many groups as an account may be: they get into no other.
	CrowdedAccounts []string `json:"crowdedAccounts,omitempty"`
	// FrequencyLimits turns the vendor's limits on: 200 calls a second of each API, 1 a second of get_appid_group_list. Default: off.
	FrequencyLimits bool `json:"frequencyLimits"`

	// SecretKey and CallbackToken replace the app's; never reported.
	SecretKey     *string `json:"secretKey,omitempty"`
	CallbackToken *string `json:"callbackToken,omitempty"`
}

// The values of Settings.EventTime and Settings.OnCallbackFailure.
const (
	EventTimeNumber = "Number"
	EventTimeString = "String"
	EventTimeNone   = "None"

	OnFailureAllow  = "Allow"
	OnFailureRefuse = "Refuse"
)

func (s *Settings) validate() error {
	if err := checkCallbackURL(s.CallbackURL); err != nil {
		return err
	}
	switch {
	case s.EventTime != EventTimeNumber && s.EventTime != EventTimeString && s.EventTime != EventTimeNone:
		return fmt.Errorf("eventTime %q is unknown: use Number, String or None", s.EventTime)
	case s.OnCallbackFailure != OnFailureAllow && s.OnCallbackFailure != OnFailureRefuse:
		return fmt.Errorf("onCallbackFailure %q is unknown: use Allow or Refuse", s.OnCallbackFailure)
	case s.SecretKey != nil && *s.SecretKey == "":
		return errors.New("secretKey is empty: give a key or leave it out to keep the present one")
	}
	return nil
}

func checkCallbackURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("the callback URL must be absolute: use http://HOST:PORT/callback or https://HOST:PORT/callback")
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.User != nil {
		return errors.New("the callback URL must have no query, fragment or user: the vendor appends a query of its own")
	}
	return nil
}

// app is one app being served. Its lock is never held while something is sent, nor together with another app's.
type app struct {
	id uint64

	mu       sync.RWMutex
	settings Settings
	key      string
	token    string
	groups   map[string]*group
	order    []*group // by seq, for paging through the list
	seq      int
	limiters map[string]*rate.Limiter
}

func newApp(a App, callbackURL string) *app {
	return &app{
		id: a.SDKAppID, key: a.SecretKey, token: a.CallbackToken,
		settings: Settings{
			SDKAppID: a.SDKAppID, CallbackURL: callbackURL, AdminAccounts: []string{"administrator", "admin"},
			EventTime: EventTimeNumber, OnCallbackFailure: OnFailureAllow,
		},
		groups:   map[string]*group{},
		limiters: map[string]*rate.Limiter{},
	}
}

// console returns the present settings with the secrets beside them.
func (a *app) console() (s Settings, key, token string) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	s = a.settings
	s.SignedCallbacks = a.token != ""
	return s, a.key, a.token
}

// configure replaces the settings by what change makes of them.
func (a *app) configure(change func(*Settings) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.settings
	// change may decode JSON into the slices, and readers hold the old ones.
	for _, list := range []*[]string{&s.AdminAccounts, &s.DisabledCallbacks, &s.MissingAccounts, &s.AskedAccounts, &s.CrowdedAccounts} {
		*list = slices.Clone(*list)
	}
	if err := change(&s); err != nil {
		return err
	}
	if err := s.validate(); err != nil {
		return err
	}
	if s.SecretKey != nil {
		a.key = *s.SecretKey
	}
	if s.CallbackToken != nil {
		a.token = *s.CallbackToken
	}
	s.SecretKey, s.CallbackToken, s.SDKAppID, s.SignedCallbacks = nil, nil, a.id, false
	a.settings = s
	return nil
}

// tooFrequent counts a call against the limit of its API (page 34419). Like the 2 seconds of a callback this goes by real time.
func (a *app) tooFrequent(api string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.settings.FrequencyLimits {
		return false
	}
	limiter := a.limiters[api]
	if limiter == nil {
		limiter = rate.NewLimiter(200, 200)
		if api == "get_appid_group_list" {
			limiter = rate.NewLimiter(1, 1)
		}
		a.limiters[api] = limiter
	}
	return !limiter.Allow()
}

func (a *app) group(id string) *group {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.groups[id]
}

// insert makes a group known. A taken id is reported with the group that has it.
func (a *app) insert(g *group) (taken *group) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if g.id == "" {
		g.id = a.generateID(g.kind)
	}
	if other := a.groups[g.id]; other != nil {
		return other
	}
	a.seq++
	g.seq = a.seq
	a.groups[g.id] = g
	a.order = append(a.order, g)
	return nil
}

// generateID makes an id as the vendor's look. The caller holds the lock.
func (a *app) generateID(t groupType) string {
	prefix := "@TGS#2"
	if t == typeCommunity {
		prefix = "@TGS#_@TGS#c"
	}
	for n := a.seq + 1; ; n++ {
		id := prefix + strings.ToUpper(strconv.FormatInt(int64(n), 36)) + "EMU"
		if a.groups[id] == nil {
			return id
		}
	}
}

func (a *app) forget(g *group) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.groups[g.id] != g {
		return
	}
	delete(a.groups, g.id)
	i := a.placeOf(g.seq)
	a.order = slices.Delete(a.order, i, i+1)
}

func (a *app) placeOf(seq int) int {
	return sort.Search(len(a.order), func(i int) bool { return a.order[i].seq >= seq })
}

// groupsAfter returns up to limit groups behind a place in the order of creation, and how many groups there are.
func (a *app) groupsAfter(seq int, limit int, match func(*group) bool) (page []*group, total int) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, g := range a.order[a.placeOf(seq+1):] {
		if len(page) == limit {
			break
		}
		if match(g) {
			page = append(page, g)
		}
	}
	return page, len(a.order)
}

// countOwned counts the groups of a type that an account owns. Groups are locked one by one, and never under the lock of the app: who
// holds a group asks the app for its settings.
func (a *app) countOwned(t groupType, owner string) (n int) {
	groups, _ := a.groupsAfter(0, math.MaxInt, func(g *group) bool { return g.kind == t })
	for _, g := range groups {
		if g.ownedBy(owner) {
			n++
		}
	}
	return n
}
