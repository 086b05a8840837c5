package webhookserver

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/semaphore"

	"github.com/groupgate/groupgate/internal/callbackhealth"
	"github.com/groupgate/groupgate/internal/decisionlog"
	"github.com/groupgate/groupgate/internal/im/callback"
	"github.com/groupgate/groupgate/internal/policy"
)

// Path is where the callbacks of all apps are answered: the app is found by SdkAppid.
const Path = "/callback"

// handler answers one request at a time from one snapshot each.
type handler struct {
	snapshots  Snapshots
	fullGroups FullGroups
	now        func() time.Time
	log        logr.Logger
	metrics    *Metrics
	leaks      Leaks
	decisions  *decisionlog.Log
	draining   *atomic.Bool
	// largeBodies is the budget of bodies of callbacks that are signed, unsignedBodies that of apps without a token.
	largeBodies, unsignedBodies *semaphore.Weighted
}

func (s *Server) handler() *handler {
	h := &handler{
		snapshots:  s.Snapshots,
		fullGroups: s.FullGroups,
		now:        s.Now,
		log:        s.Log,
		metrics:    s.Metrics,
		leaks:      s.Leaks,
		decisions:  s.Decisions,
		draining:   &s.draining,

		largeBodies:    semaphore.NewWeighted(maxLargeBodies),
		unsignedBodies: semaphore.NewWeighted(maxUnsignedBodies),
	}
	if h.now == nil {
		h.now = time.Now
	}
	if h.metrics == nil {
		h.metrics = NewMetrics(nil)
	}
	h.metrics.apps.serve(s.Snapshots, cmp.Or(s.Health, new(callbackhealth.Recorder)))
	return h
}

// ServeHTTP answers one request. A ServeMux would answer a path like //callback with a redirect, which admits.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := beginExchange(h.now(), h.metrics.apps.none, connOf(r))
	defer h.rescue(x, w)

	outcome, reply := h.handle(x, r)
	h.send(x, w, outcome, reply)
	x.end()
}

// send counts first and answers then: a client that has read the answer can read the counter.
func (h *handler) send(x *exchange, w http.ResponseWriter, outcome result, reply *answer) {
	h.metrics.answered(x.app, x.command, outcome, h.now().Sub(x.started))
	x.answered = true
	reply.write(w, x.unverified() || h.draining.Load())
}

// rescue keeps a panic from opening a gate: net/http would close the connection, and a callback without an answer
// admits. A join is refused, and so is a request that failed before its command was known. Other callbacks decide
// nothing here, and get an error that the vendor shows.
//
// The exchange is not reused, since its state is unknown.
func (h *handler) rescue(x *exchange, w http.ResponseWriter) {
	failure := recover()
	if failure == nil {
		return
	}
	x.release()
	h.report(x, failure)
	switch {
	case x.answered:
	case x.command.BeforeJoin() || !x.command.Known():
		h.send(x, w, resultFailed, rejected)
	default:
		h.send(x, w, resultFailed, internalError)
	}
}

// report logs a panic. If the logger panics too, nothing is logged: the answer matters more.
func (h *handler) report(x *exchange, failure any) {
	defer func() { _ = recover() }()
	h.log.Error(fmt.Errorf("panic: %v", failure), "Panic while answering a callback; a join is refused",
		"command", commandOf(x.command).String(), "stack", string(debug.Stack()))
}

// handle takes the steps in their order; each may end it.
func (h *handler) handle(x *exchange, r *http.Request) (result, *answer) {
	if r.URL.Path != Path {
		return resultBadRequest, notFound
	}
	if r.Method != http.MethodPost {
		return resultBadRequest, methodNotAllowed
	}
	query := callback.ParseQuery(r.URL.RawQuery)
	x.command = callback.Command(query.CommandText)
	// A join is refused only once it is known to come from the vendor.
	if r.ContentLength > maxBody && !x.command.BeforeJoin() {
		return resultTooLarge, bodyTooLarge
	}

	// Loaded once and passed down: a second load could return another snapshot.
	snapshot := h.snapshots.Load()
	if snapshot == nil {
		return resultNotReady, noSnapshot
	}
	app := findApp(snapshot, &query)
	switch {
	case app == nil && query.SDKAppID == "":
		return resultMissingApp, foreignApp
	case app == nil:
		return resultUnknownApp, foreignApp
	}
	if x.command == callback.CommandCheck {
		return h.check(x, app, &query)
	}
	x.app, x.snapshot = h.metrics.apps.of(snapshot, app), snapshot.Hash()
	if failure := h.authenticate(x, app, &query); failure != authenticated {
		x.app.failures[failure].Inc()
		return resultUnauthorized, unauthorized
	}

	// From here on the client is the vendor, which takes an HTTP error for a failure and admits by default.
	if r.ContentLength > maxBody {
		return tooLarge(x.command)
	}
	free, budget := maxFreeBody, h.largeBodies
	if x.unverified() {
		free = firstRead // there may be thousands
	}
	if x.conn != nil && !x.conn.authenticated.Load() {
		x.conn.authenticated.Store(true)
	}
	if app.Authentication() == policy.AuthenticateNone {
		free, budget = firstRead, h.unsignedBodies
	}
	switch err := x.readBody(r.Body, r.ContentLength, free, budget); {
	case errors.Is(err, errBodyTooLarge):
		return tooLarge(x.command)
	case err != nil:
		return unreadable(x.command.BeforeJoin())
	}
	return h.dispatch(x, app, &query)
}

// tooLarge is the answer to a body that is not read. Where the query says that it is about a join, that is refused.
func tooLarge(command callback.Command) (result, *answer) {
	if command.BeforeJoin() {
		return resultTooLarge, joinTooLarge
	}
	return resultTooLarge, bodyTooLarge
}

// dispatch goes by the command of the body. Neither query nor body is signed, but the body is what is decided on.
func (h *handler) dispatch(x *exchange, app *policy.CompiledApp, query *callback.Query) (result, *answer) {
	c, err := callback.Parse(x.body)
	maybeJoin := c.Command.BeforeJoin() || x.command.BeforeJoin()
	if c.Command != "" {
		x.command = c.Command
	}
	switch {
	case err != nil && !isProbe(err, x.command):
		return unreadable(maybeJoin)
	case query.RepeatedCommand || h.contradicts(query, c.Command):
		if maybeJoin {
			return resultUnreadable, unreadableJoin
		}
		return resultBadRequest, wrongCommand
	}
	switch c.Command {
	case callback.CommandBeforeApplyJoin:
		return h.apply(x, app, &c)
	case callback.CommandBeforeInviteJoin:
		return h.invite(x, app, &c, query.OptPlatform)
	case callback.CommandAfterGroupFull:
		return h.groupFull(app, &c)
	case callback.CommandAfterJoin:
		return h.joined(x, app, &c, query.OptPlatform)
	case callback.CommandAfterCreate:
		return h.created(x, app, &c)
	default:
		return resultIgnored, continues
	}
}

// isProbe reports whether a body is readable JSON without a command, where the query names no command that is served
// either. The "verify" button of the vendor's console sends something undocumented to the URL, and expects a 200.
func isProbe(err error, claimed callback.Command) bool {
	return errors.Is(err, callback.ErrNoCommand) && commandOf(claimed) == commandOther
}

// unreadable is the answer to a body that cannot be parsed. Where body or query say that it is about a join, that is
// refused: an unreadable body must not admit.
func unreadable(maybeJoin bool) (result, *answer) {
	if maybeJoin {
		return resultUnreadable, unreadableJoin
	}
	return resultBadRequest, unreadableBody
}

// contradicts reports whether the query names another command than the body. A word that is no command does not count:
// the vendor's own pages misprint one.
func (h *handler) contradicts(query *callback.Query, named callback.Command) bool {
	claimed := callback.Command(query.CommandText)
	if claimed == "" || claimed == named {
		return false
	}
	if !claimed.Known() {
		h.metrics.unknownCommand.Inc()
		return false
	}
	return named != ""
}
