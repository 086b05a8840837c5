package callbackhealth

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// ID identifies one IMApp. An app that is deleted and created again under the same name is another one.
type ID struct{ Namespace, Name, UID string }

// Seen is what the callbacks of an app looked like. A zero time means: never, since this process started or since the
// app was accepted.
type Seen struct {
	// Right is when a callback was last verified, Wrong when one last carried a Sign of none of the app's tokens, and
	// Unsigned when one last lacked Sign or RequestTime. Anybody who knows the SDKAppID can cause the last two.
	Right    time.Time `json:"right,omitzero"`
	Wrong    time.Time `json:"wrong,omitzero"`
	Unsigned time.Time `json:"unsigned,omitzero"`
	// Skewed is when a callback with a right Sign was last refused because its RequestTime was too far from this
	// process's clock, and Skew is by how much: this clock minus RequestTime.
	Skewed time.Time     `json:"skewed,omitzero"`
	Skew   time.Duration `json:"skew,omitzero"`
}

// App is the record of one app. All times are read to the second: a busy app writes once a second.
type App struct{ right, wrong, unsigned, skewed, skew atomic.Int64 }

// Right records a callback that was verified.
func (a *App) Right(now time.Time) { note(&a.right, now) }

// Wrong records a callback with a Sign of none of the app's tokens.
func (a *App) Wrong(now time.Time) { note(&a.wrong, now) }

// Unsigned records a callback without Sign or RequestTime.
func (a *App) Unsigned(now time.Time) { note(&a.unsigned, now) }

// Skewed records a callback with a right Sign and a RequestTime outside the window.
func (a *App) Skewed(now time.Time, skew time.Duration) {
	a.skew.Store(int64(skew))
	note(&a.skewed, now)
}

// note stores the second only when it is another one, so that the processors do not compete for the memory.
func note(second *atomic.Int64, now time.Time) {
	if unix := now.Unix(); second.Load() != unix {
		second.Store(unix)
	}
}

// Seen returns what was recorded.
func (a *App) Seen() Seen {
	return Seen{
		Right: at(&a.right), Wrong: at(&a.wrong), Unsigned: at(&a.unsigned),
		Skewed: at(&a.skewed), Skew: time.Duration(a.skew.Load()),
	}
}

func at(second *atomic.Int64) time.Time {
	if unix := second.Load(); unix != 0 {
		return time.Unix(unix, 0)
	}
	return time.Time{}
}

// Recorder holds the records of the accepted apps. Its zero value is ready, and it is safe for concurrent use.
type Recorder struct {
	mu   sync.Mutex
	apps map[ID]*App
}

// App returns the record of an app, and adds it where there is none.
func (r *Recorder) App(id ID) *App {
	r.mu.Lock()
	defer r.mu.Unlock()
	if app, ok := r.apps[id]; ok {
		return app
	}
	if r.apps == nil {
		r.apps = map[ID]*App{}
	}
	app := new(App)
	r.apps[id] = app
	return app
}

// Retain forgets the apps that are not accepted any more.
func (r *Recorder) Retain(accepted func(ID) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.apps, func(id ID, _ *App) bool { return !accepted(id) })
}

// Seen returns what the callbacks of an app looked like; nothing for one without a record.
func (r *Recorder) Seen(id ID) Seen {
	r.mu.Lock()
	app := r.apps[id]
	r.mu.Unlock()
	if app == nil {
		return Seen{}
	}
	return app.Seen()
}
