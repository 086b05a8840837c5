package emulator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/groupgate/groupgate/internal/im/callback"
)

// The commands of the group callbacks that the emulator sends (page 34355) beside those that package im names.
const (
	commandBeforeCreate    callback.Command = "Group.CallbackBeforeCreateGroup"
	commandAfterCreate     callback.Command = "Group.CallbackAfterCreateGroup"
	commandAfterJoin       callback.Command = "Group.CallbackAfterNewMemberJoin"
	commandAfterExit       callback.Command = "Group.CallbackAfterMemberExit"
	commandAfterDestroyed  callback.Command = "Group.CallbackAfterGroupDestroyed"
	commandAfterInfoChange callback.Command = "Group.CallbackAfterGroupInfoChanged"
)

// callbackTimeout is what the vendor gives an app backend, connecting and TLS included; it cannot be adjusted (page 34354).
const callbackTimeout = 2 * time.Second

// maxCallbackAnswer bounds what is read of an answer; the vendor documents no limit.
const maxCallbackAnswer = 1 << 20

// origin is who causes something, and from where.
type origin struct {
	account  string
	platform string // OptPlatform
	ip       string // ClientIP
}

// outgoing is one callback to be sent.
type outgoing struct {
	command callback.Command
	group   string
	from    origin
	body    []byte
}

// memberRef is how callbacks and calls name an account in a list.
type memberRef struct {
	Account string `json:"Member_Account"`
}

func memberRefs(accounts []string) []memberRef {
	refs := make([]memberRef, len(accounts))
	for i, account := range accounts {
		refs[i].Account = account
	}
	return refs
}

// callbackBody is the body of every group callback. Each command uses some of the members, in the order of the vendor's pages.
type callbackBody struct {
	Command     callback.Command `json:"CallbackCommand"`
	GroupID     string           `json:"GroupId,omitempty"`
	Type        string           `json:"Type,omitempty"`
	JoinType    string           `json:"JoinType,omitempty"`
	ExitType    string           `json:"ExitType,omitempty"`
	Requestor   string           `json:"Requestor_Account,omitempty"`
	Operator    string           `json:"Operator_Account,omitempty"`
	Owner       string           `json:"Owner_Account,omitempty"`
	Name        string           `json:"Name,omitempty"`
	Intro       string           `json:"Introduction,omitempty"`
	Notice      string           `json:"Notification,omitempty"`
	FaceURL     string           `json:"FaceUrl,omitempty"`
	CreateCount *int             `json:"CreateGroupNum,omitempty"`
	Invited     []memberRef      `json:"DestinationMembers,omitempty"`
	Joined      []memberRef      `json:"NewMemberList,omitempty"`
	Left        []memberRef      `json:"ExitMemberList,omitempty"`
	Members     []memberRef      `json:"MemberList,omitempty"`
	ApplyMsg    string           `json:"ApplyMsg,omitempty"`
	EventTime   any              `json:"EventTime,omitempty"` // milliseconds
}

// compose makes the callback, or nothing if the app's settings do not want it.
func (e *Emulator) compose(a *app, from origin, body callbackBody) (outgoing, bool) {
	settings, _, _ := a.console()
	if settings.CallbackURL == "" || slices.Contains(settings.DisabledCallbacks, string(body.Command)) {
		return outgoing{}, false
	}
	switch millis := e.clock.now().UnixMilli(); settings.EventTime {
	case EventTimeNumber:
		body.EventTime = millis
	case EventTimeString:
		body.EventTime = strconv.FormatInt(millis, 10)
	}
	raw, err := json.Marshal(body)
	if err != nil { // strings and numbers only
		e.log.Error("Cannot compose callback", "command", body.Command, "error", err)
		return outgoing{}, false
	}
	return outgoing{command: body.Command, group: body.GroupID, from: from, body: raw}, true
}

// tell queues an after-callback. It may be called while the group is locked: nothing is sent here.
func (e *Emulator) tell(ctx context.Context, a *app, from origin, body callbackBody) {
	cb, wanted := e.compose(a, from, body)
	if !wanted {
		return
	}
	// What has happened is told even when the one who did it does not wait for it.
	ctx = context.WithoutCancel(ctx)
	e.outbox.put(strconv.FormatUint(a.id, 10)+"/"+cb.group, func() {
		d := e.deliver(ctx, a, cb)
		outcome := OutcomeDelivered
		if d.failure != "" {
			outcome = OutcomeFailed
			e.log.Warn("Callback failed", "app", a.id, "command", cb.command, "failure", d.failure)
		}
		e.file(a, cb, d, outcome)
	})
}

// verdict is what a before-callback has decided. The zero value lets everybody in.
type verdict struct {
	refusal *failure        // of the whole request, as the client will see it
	refused map[string]bool // accounts of an invitation
}

// ask sends a before-callback and waits for the verdict. No usable answer within 2 seconds means go ahead: the vendor fails open, and
// never tries again. The caller must not hold a lock.
func (e *Emulator) ask(ctx context.Context, a *app, from origin, body callbackBody) verdict {
	cb, wanted := e.compose(a, from, body)
	if !wanted || !e.outbox.begin() {
		return verdict{}
	}
	defer e.outbox.done(1)
	// The vendor finishes what it has begun when the client is gone.
	d := e.deliver(context.WithoutCancel(ctx), a, cb)
	if d.failure != "" {
		settings, _, _ := a.console()
		outcome, v := OutcomeFailedOpen, verdict{}
		if settings.OnCallbackFailure == OnFailureRefuse {
			outcome, v = OutcomeFailedClosed, verdict{refusal: fail(codeRefused, "the app backend did not answer the callback")}
		}
		e.log.Warn("Callback failed", "app", a.id, "command", cb.command, "failure", d.failure, "outcome", outcome)
		e.file(a, cb, d, outcome)
		return v
	}
	v, outcome := d.reply.verdict()
	e.file(a, cb, d, outcome)
	return v
}

// reply is a usable answer to a callback.
type reply struct {
	code    int
	info    string
	refused []string
}

// verdict reads the codes of a before-callback (pages 34370 and 34371). What a code outside of 0, 1 and 10100 to 10200 does is not
// documented; it is taken as no refusal, which is the worst that could happen to an app backend that uses one. For the same reason the
// status FAIL alone refuses nobody.
func (r reply) verdict() (verdict, string) {
	switch {
	case r.code == 1:
		return verdict{refusal: fail(codeRefused, "refused by the app backend")}, OutcomeRefused
	case r.code >= codeFirstOwn && r.code <= codeLastOwn:
		return verdict{refusal: &failure{code: r.code, info: r.info}}, OutcomeRefused
	case r.code == 0 && len(r.refused) > 0:
		v := verdict{refused: make(map[string]bool, len(r.refused))}
		for _, account := range r.refused {
			v.refused[account] = true
		}
		return v, OutcomePartlyRefused
	default:
		return verdict{}, OutcomeAllowed
	}
}

// parseReply is as strict as the pages are: an object with the three fields, each of its type. Everything else is a failed callback.
func parseReply(answer []byte) (reply, error) {
	p, err := parseParams(answer)
	if err != nil {
		return reply{}, fmt.Errorf("the answer cannot be parsed: %w", err)
	}
	for _, name := range []string{"ActionStatus", "ErrorCode", "ErrorInfo"} {
		if !p.has(name) {
			return reply{}, fmt.Errorf("the answer has no %s", name)
		}
	}
	p.text("ActionStatus")
	r := reply{code: p.number("ErrorCode", 0), info: p.text("ErrorInfo"), refused: p.texts("RefusedMembers_Account")}
	if p.bad != nil {
		return reply{}, errors.New("the answer cannot be parsed: " + p.bad.info)
	}
	return r, nil
}

// delivery is what came of sending a callback. Either failure or reply is set.
type delivery struct {
	query   string // without the signature
	sentAt  time.Time
	took    time.Duration
	status  int
	answer  []byte
	reply   reply
	failure string
	fault   string
}

// deliver sends a callback, unless a fault is in the way.
func (e *Emulator) deliver(ctx context.Context, a *app, cb outgoing) (d delivery) {
	d.sentAt = e.clock.now()
	start := time.Now()
	defer func() { d.took = time.Since(start) }()
	ctx, cancel := context.WithTimeout(ctx, callbackTimeout)
	defer cancel()

	t := e.faults.forCallback(string(cb.command), cb.group)
	d.fault = t.name()
	d.query = blotted(a, cb)
	if err := wait(ctx, t.latency, nil); err != nil {
		d.failure = explain(err)
		return d
	}
	if t.fault == nil || t.fault.AfterEffect || t.is(FaultRepeat) {
		e.post(ctx, a, cb, &d)
	}
	if t.fault != nil {
		e.spoilDelivery(ctx, a, cb, t, &d)
	}
	return d
}

// spoilDelivery does to a callback what a fault wants.
func (e *Emulator) spoilDelivery(ctx context.Context, a *app, cb outgoing, t trouble, d *delivery) {
	if t.is(FaultRepeat) {
		e.post(ctx, a, cb, &delivery{})
		return
	}
	d.reply, d.failure = reply{}, ""
	switch t.fault.Kind {
	case FaultHTTP:
		d.status, d.answer, d.failure = t.fault.Status, nil, fmt.Sprintf("HTTP status %d", t.fault.Status)
	case FaultCode:
		d.status, d.reply = http.StatusOK, reply{code: t.fault.Code, info: t.fault.Info}
		d.answer = envelopeOf(&failure{t.fault.Code, t.fault.Info})
	case FaultTruncate:
		d.answer = d.answer[:len(d.answer)/2]
		d.failure = "the connection broke in the middle of the answer"
	case FaultHang:
		d.status, d.answer = 0, nil
		d.failure = explain(hang(ctx, nil))
	case FaultDrop:
		d.status, d.answer, d.failure = 0, nil, "the connection broke"
	}
}

// post makes the HTTP request and reads the answer (page 34354).
func (e *Emulator) post(ctx context.Context, a *app, cb outgoing, d *delivery) {
	settings, _, token := a.console()
	query := callbackQuery(a.id, cb)
	if token != "" {
		requestTime := strconv.FormatInt(d.requestTime(e.clock.now()).Unix(), 10)
		query += "&Sign=" + callback.Sign(token, requestTime) + "&RequestTime=" + requestTime
	}
	// No Content-Type is documented, so none is sent.
	//nolint:gosec // posting to the URL that was configured is what callbacks are
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, settings.CallbackURL+"?"+query, bytes.NewReader(cb.body))
	if err != nil {
		d.failure = "the callback URL cannot be used"
		return
	}
	response, err := e.http.Do(request) //nolint:gosec // likewise
	if err != nil {
		d.failure = explain(err)
		return
	}
	defer response.Body.Close()
	d.status = response.StatusCode
	d.answer, err = io.ReadAll(io.LimitReader(response.Body, maxCallbackAnswer))
	switch {
	case err != nil:
		d.failure = explain(err)
	case d.status != http.StatusOK:
		d.failure = fmt.Sprintf("HTTP status %d", d.status)
	default:
		if d.reply, err = parseReply(d.answer); err != nil {
			d.failure = err.Error()
		}
	}
}

func (d *delivery) requestTime(now time.Time) time.Time {
	if d.sentAt.IsZero() { // the second one of FaultRepeat
		return now
	}
	return d.sentAt
}

// callbackQuery is the query without the signature, in the order of the vendor's sample.
func callbackQuery(sdkAppID uint64, cb outgoing) string {
	return "SdkAppid=" + strconv.FormatUint(sdkAppID, 10) +
		"&CallbackCommand=" + url.QueryEscape(string(cb.command)) +
		"&contenttype=json" +
		"&ClientIP=" + url.QueryEscape(cb.from.ip) +
		"&OptPlatform=" + url.QueryEscape(cb.from.platform)
}

// blotted is the query for the record: who can read a signature can forge callbacks for a minute.
func blotted(a *app, cb outgoing) string {
	query := callbackQuery(a.id, cb)
	if settings, _, _ := a.console(); settings.SignedCallbacks {
		query += "&Sign=...&RequestTime=..."
	}
	return query
}

// explain says why there is no answer, without the URL: that holds the signature.
func explain(err error) string {
	var in *url.Error
	if errors.As(err, &in) {
		err = in.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer within " + callbackTimeout.String()
	}
	return err.Error()
}

func (e *Emulator) file(a *app, cb outgoing, d delivery, outcome string) {
	answer := string(d.answer[:min(len(d.answer), keptAnswer)])
	e.callbacks.add(func(id int) CallbackRecord {
		return CallbackRecord{
			ID: id, SDKAppID: a.id, Command: string(cb.command), Group: cb.group, SentAt: d.sentAt.UTC(), DurationMillis: d.took.Milliseconds(),
			Query: d.query, Body: cb.body, Status: d.status, Answer: strings.ToValidUTF8(answer, "?"),
			Outcome: outcome, Failure: d.failure, Fault: d.fault,
		}
	})
}
