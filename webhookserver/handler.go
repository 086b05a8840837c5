package webhookserver

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"

	"github.com/groupgate/groupgate/internal/im/callback"
	"github.com/groupgate/groupgate/internal/policy"
)

// Path is where callbacks are answered, those of every app: the app is found
// by SdkAppid.
const Path = "/callback"

// handler answers one request at a time from one snapshot each.
type handler struct {
	snapshots  Snapshots
	fullGroups FullGroups
	now        func() time.Time
	log        logr.Logger
	metrics    *Metrics
	draining   *atomic.Bool
}

func (s *Server) handler() *handler {
	h := &handler{
		snapshots:  s.Snapshots,
		fullGroups: s.FullGroups,
		now:        s.Now,
		log:        s.Log,
		metrics:    s.Metrics,
		draining:   &s.draining,
	}
	if h.now == nil {
		h.now = time.Now
	}
	if h.metrics == nil {
		h.metrics = NewMetrics(nil)
	}
	return h
}

// ServeHTTP answers one request. There is no ServeMux: it would answer a path
// like //callback with a redirect, which admits.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := beginExchange(h.now())
	defer h.rescue(x, w)

	became, reply := h.handle(x, r)
	h.send(x, w, became, reply)
	x.end()
}

// send counts, then answers: whoever has read the answer can read the counter.
func (h *handler) send(x *exchange, w http.ResponseWriter, became result, reply *answer) {
	h.metrics.answered(x.command, became, h.now().Sub(x.started))
	x.answered = true
	reply.write(w, h.draining.Load())
}

// rescue keeps a mistake of ours from opening a gate. net/http would hang up,
// and a callback without an answer admits; so a join is refused, and so is
// what failed before it could be told from a join. No other callback decides
// anything here: it gets an error that the vendor can see.
//
// The exchange is not used again: nothing is known about the state it is in.
func (h *handler) rescue(x *exchange, w http.ResponseWriter) {
	failure := recover()
	if failure == nil {
		return
	}
	h.report(x, failure)
	switch {
	case x.answered:
	case x.command.BeforeJoin() || !x.command.Known():
		h.send(x, w, resultFailed, rejected)
	default:
		h.send(x, w, resultFailed, internalError)
	}
}

// report tells of a mistake of ours. It may be the log that made it: then
// nothing is told, since the answer matters more.
func (h *handler) report(x *exchange, failure any) {
	defer func() { _ = recover() }()
	h.log.Error(fmt.Errorf("panic: %v", failure), "Answering a callback failed; a join is refused",
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
	if r.ContentLength > maxBody {
		return resultTooLarge, bodyTooLarge
	}

	// The one look at what is in force. Everything below is given it, since a
	// second look could see another world.
	snapshot := h.snapshots.Load()
	if snapshot == nil {
		return resultNotReady, noSnapshot
	}
	app := findApp(snapshot, &query)
	if app == nil {
		return resultUnknownApp, foreignApp
	}
	if failure := h.authenticate(app, &query, x.started); failure != authenticated {
		h.metrics.authFailures[failure].Inc()
		return resultUnauthorized, unauthorized
	}

	// From here on the vendor is asking, and an HTTP error admits.
	body, err := readBody(r.Body, x.body)
	x.body = body
	switch {
	case errors.Is(err, errBodyTooLarge):
		return resultTooLarge, bodyTooLarge
	case err != nil:
		return unreadable(x.command)
	}
	return h.dispatch(x, app, &query, body)
}

// dispatch goes by the command of the body: the query is not signed, but
// neither is the body, and the body is what is decided on.
func (h *handler) dispatch(x *exchange, app *policy.CompiledApp, query *callback.Query, body []byte) (result, *answer) {
	c, err := callback.Parse(body)
	if c.Command != "" {
		x.command = c.Command
	}
	if err != nil && !isProbe(err, x.command) {
		return unreadable(x.command)
	}
	if query.RepeatedCommand || h.contradicts(query, c.Command) {
		return resultBadRequest, wrongCommand
	}
	switch c.Command {
	case callback.CommandBeforeApplyJoin:
		return h.apply(x, app, &c)
	case callback.CommandBeforeInviteJoin:
		return h.invite(x, app, &c, query.OptPlatform)
	case callback.CommandAfterGroupFull:
		return h.groupFull(app, &c)
	default:
		return resultIgnored, continues
	}
}

// isProbe reports whether a body is readable JSON that names no command, where
// the query asks for nothing that we serve either. The console's "verify"
// button sends something to the URL that is documented nowhere, and wants a 200.
func isProbe(err error, claimed callback.Command) bool {
	return errors.Is(err, callback.ErrNoCommand) && commandOf(claimed) == commandOther
}

// unreadable is the answer to a body that cannot be made out. Where it may be
// about a join, that is refused: garbage must not be a way in.
func unreadable(command callback.Command) (result, *answer) {
	if command.BeforeJoin() {
		return resultUnreadable, unreadableJoin
	}
	return resultBadRequest, unreadableBody
}

// contradicts reports whether the query names another command than the body.
// A word that is no command at all does not count: the vendor's own pages
// misprint one.
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
