package emulator

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/time/rate"
)

// App identifies one app to serve.
type App struct {
	// SDKAppID is the number of the app, for example 1400000000.
	SDKAppID uint64
	// SecretKey signs and verifies UserSigs. It is used as text, as the vendor does.
	SecretKey string
	// CallbackToken signs callbacks. Empty: callback authentication is off and callbacks carry no Sign.
	CallbackToken string
}

// ParseApp parses the command-line form sdkAppID:secretKey:callbackToken. It splits at the first two colons, so the
// token may contain colons; an empty token turns callback authentication off.
func ParseApp(text string) (App, error) {
	const form = "write sdkAppID:secretKey:callbackToken, for example 1400000000:5bd2850f:s3cr3t"
	parts := strings.SplitN(text, ":", 3)
	if len(parts) != 3 {
		// The text may contain a secret, so the message does not quote it.
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

// Settings are the settings of an app in the vendor's console that the emulator supports.
type Settings struct {
	SDKAppID uint64 `json:"sdkAppID"`
	// CallbackURL receives the callbacks; empty: none are sent. As in the vendor's console, it must not have a query
	// string.
	CallbackURL string `json:"callbackURL"`
	// SignedCallbacks reports whether there is a callback token; read-only.
	SignedCallbacks bool `json:"signedCallbacks"`
	// AdminAccounts may call the REST API. Default: administrator, admin.
	AdminAccounts []string `json:"adminAccounts"`
	// EventTime is how that field is written in callbacks: Number (default), String or None. The vendor's pages
	// disagree about it.
	EventTime string `json:"eventTime"`
	// OnCallbackFailure is the verdict when a before-callback is not answered in time or not with HTTP 200: Allow (the
	// default, as at the vendor) or Refuse.
	OnCallbackFailure string `json:"onCallbackFailure"`
	// CallbackCapacity is how many callbacks of the app can await an answer at the same time, 0 (the default) for any
	// number. Beyond it a before-callback counts as not answered, and an after-callback is lost: an overloaded IM
	// backend fails open.
	CallbackCapacity int `json:"callbackCapacity"`
	// DisabledCallbacks are the commands that are not sent.
	DisabledCallbacks []string `json:"disabledCallbacks,omitempty"`
	// MissingAccounts do not exist: adding them fails.
	MissingAccounts []string `json:"missingAccounts,omitempty"`
	// AskedAccounts have to confirm an invitation, so adding or inviting them leaves them outside the group.
	AskedAccounts []string `json:"askedAccounts,omitempty"`
	// CrowdedAccounts are in as many groups as an account may be: they cannot join another one.
	CrowdedAccounts []string `json:"crowdedAccounts,omitempty"`
	// FrequencyLimits enforces the vendor's limits: 200 calls a second of each API, 1 a second of get_appid_group_list.
	// Default: off.
	FrequencyLimits bool `json:"frequencyLimits"`

	// SecretKey and CallbackToken replace those of the app; write-only.
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
	case s.CallbackCapacity < 0:
		return errors.New("callbackCapacity must not be negative: use 0 for any number of callbacks")
	case s.SecretKey != nil && *s.SecretKey == "":
		return errors.New("secretKey is empty: give a key, or leave it out to keep the current one")
	}
	return nil
}

func checkCallbackURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("the callback URL must be absolute: use http(s)://HOST:PORT/callback")
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.User != nil {
		return errors.New("the callback URL must have no query, fragment or user: the vendor appends its own query")
	}
	return nil
}

// app is a served app. Its lock is never held while a callback is sent, nor together with the lock of another app.
type app struct {
	id uint64

	mu       sync.RWMutex
	settings Settings
	key      string
	token    string
	groups   map[string]*group
	created  map[string]uint32 // when disbanded groups were created, by id
	order    []*group          // sorted by seq, for get_appid_group_list
	seq      int
	limiters map[string]*rate.Limiter
	awaiting int // callbacks without an answer yet
}

func newApp(a App, callbackURL string) *app {
	return &app{
		id: a.SDKAppID, key: a.SecretKey, token: a.CallbackToken,
		settings: Settings{
			SDKAppID: a.SDKAppID, CallbackURL: callbackURL, AdminAccounts: []string{"administrator", "admin"},
			EventTime: EventTimeNumber, OnCallbackFailure: OnFailureAllow,
		},
		groups:   map[string]*group{},
		created:  map[string]uint32{},
		limiters: map[string]*rate.Limiter{},
	}
}

// config returns the current settings, and the secrets apart from them.
func (a *app) config() (s Settings, key, token string) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	s = a.settings
	s.SignedCallbacks = a.token != ""
	return s, a.key, a.token
}

// configure applies change to a copy of the settings, validates it and replaces the settings by it.
func (a *app) configure(change func(*Settings) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.settings
	// change may decode JSON into the slices, which callers of config still read.
	for _, list := range []*[]string{
		&s.AdminAccounts, &s.DisabledCallbacks, &s.MissingAccounts, &s.AskedAccounts, &s.CrowdedAccounts,
	} {
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

// beginCallback reports whether there is capacity for another callback. If so, endCallback follows.
func (a *app) beginCallback() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if limit := a.settings.CallbackCapacity; limit > 0 && a.awaiting >= limit {
		return false
	}
	a.awaiting++
	return true
}

func (a *app) endCallback() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.awaiting--
}

// tooFrequent counts a call against the limit of its API (page 34419). Like the timeout of a callback, the limit is in
// real time.
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

// insert adds a group, and generates its id if it has none. If the id is taken, insert returns the group that has it.
func (a *app) insert(g *group) (taken *group) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if g.id == "" {
		g.id = a.generateID(g.kind)
	}
	if other := a.groups[g.id]; other != nil {
		return other
	}
	if former, known := a.created[g.id]; known && g.created <= former {
		g.created = former + 1 // two groups of the same id differ in CreateTime
	}
	a.seq++
	g.seq = a.seq
	a.groups[g.id] = g
	a.order = append(a.order, g)
	return nil
}

// generateID makes an id in the vendor's form. The caller holds the lock.
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
	a.created[g.id] = g.created
	i := a.indexOf(g.seq)
	a.order = slices.Delete(a.order, i, i+1)
}

func (a *app) indexOf(seq int) int {
	return sort.Search(len(a.order), func(i int) bool { return a.order[i].seq >= seq })
}

// groupsAfter returns up to limit matching groups created after the group numbered seq, and the number of all groups.
func (a *app) groupsAfter(seq int, limit int, match func(*group) bool) (page []*group, total int) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, g := range a.order[a.indexOf(seq+1):] {
		if len(page) == limit {
			break
		}
		if match(g) {
			page = append(page, g)
		}
	}
	return page, len(a.order)
}

func (a *app) allGroups() []*group {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return slices.Clone(a.order)
}

// countOwned counts the groups of a type that an account owns. It locks the groups one by one and not under the lock of
// the app: code that holds the lock of a group reads the settings of the app, so the opposite order would deadlock.
func (a *app) countOwned(t groupType, owner string) (n int) {
	for _, g := range a.allGroups() {
		if g.kind == t && g.ownedBy(owner) {
			n++
		}
	}
	return n
}
