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

// The commands of the group callbacks (page 34355) that Groupgate does not handle, so that package im has no names for
// them.
const (
	commandBeforeCreate    callback.Command = "Group.CallbackBeforeCreateGroup"
	commandAfterExit       callback.Command = "Group.CallbackAfterMemberExit"
	commandAfterDestroyed  callback.Command = "Group.CallbackAfterGroupDestroyed"
	commandAfterInfoChange callback.Command = "Group.CallbackAfterGroupInfoChanged"
)

// callbackTimeout is the time for a callback, connecting and TLS included; at the vendor it is fixed (page 34354).
const callbackTimeout = 2 * time.Second

// maxCallbackAnswer bounds how much of an answer is read; the vendor documents no limit.
const maxCallbackAnswer = 1 << 20

// origin is the account that causes something, and from where.
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
	about   []string // the accounts that it names, but for its operator
	body    []byte
}

// memberRef is an account in a list of a callback or a call.
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

// callbackBody is the body of every group callback. Each command uses some of the fields; their order is that of the
// vendor's pages.
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
	Defined     json.RawMessage  `json:"UserDefinedDataList,omitempty"`
	ApplyMsg    string           `json:"ApplyMsg,omitempty"`
	EventTime   any              `json:"EventTime,omitempty"` // milliseconds
}

// accounts are the accounts that the callback is about.
func (b callbackBody) accounts() (accounts []string) {
	if b.Requestor != "" {
		accounts = append(accounts, b.Requestor)
	}
	for _, ref := range slices.Concat(b.Invited, b.Joined, b.Left, b.Members) {
		accounts = append(accounts, ref.Account)
	}
	return accounts
}

// compose makes the callback, and reports false if the app's settings disable it.
func (e *Emulator) compose(a *app, from origin, body callbackBody) (outgoing, bool) {
	settings, _, _ := a.config()
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
	return outgoing{
		command: body.Command, group: body.GroupID, from: from, about: body.accounts(), body: raw,
	}, true
}

// queueAfter queues an after-callback. It may be called while the group is locked, since it sends nothing itself.
func (e *Emulator) queueAfter(ctx context.Context, a *app, from origin, body callbackBody) {
	cb, wanted := e.compose(a, from, body)
	if !wanted {
		return
	}
	// The event has happened, so the callback is sent even if the request that caused it is cancelled.
	ctx = context.WithoutCancel(ctx)
	e.outbox.put(strconv.FormatUint(a.id, 10)+"/"+cb.group, func() {
		d := e.deliver(ctx, a, cb)
		outcome := OutcomeDelivered
		if d.failure != "" {
			outcome = OutcomeFailed
			e.log.Warn("Callback failed", "app", a.id, "command", cb.command, "failure", d.failure)
		}
		e.recordCallback(a, cb, d, outcome)
	})
}

// verdict is the decision of a before-callback. The zero value admits all accounts.
type verdict struct {
	refusal *failure        // of the whole request, as the client sees it
	refused map[string]bool // refused accounts of an invitation
}

// sendBefore sends a before-callback and waits for the verdict. Without a usable answer within 2 seconds the action
// goes ahead: the vendor fails open and does not retry. The caller must not hold a lock.
func (e *Emulator) sendBefore(ctx context.Context, a *app, from origin, body callbackBody) verdict {
	cb, wanted := e.compose(a, from, body)
	if !wanted || !e.outbox.begin() {
		return verdict{}
	}
	defer e.outbox.done()
	// The vendor completes a callback even if the client disconnects.
	d := e.deliver(context.WithoutCancel(ctx), a, cb)
	if d.failure != "" {
		settings, _, _ := a.config()
		outcome, v := OutcomeFailedOpen, verdict{}
		if settings.OnCallbackFailure == OnFailureRefuse {
			outcome = OutcomeFailedClosed
			v.refusal = fail(codeRefused, "the app backend did not answer the callback")
		}
		e.log.Warn("Callback failed", "app", a.id, "command", cb.command, "failure", d.failure, "outcome", outcome)
		e.recordCallback(a, cb, d, outcome)
		return v
	}
	v, outcome := d.reply.verdict()
	e.recordCallback(a, cb, d, outcome)
	return v
}

// reply is a usable answer to a callback.
type reply struct {
	code    int
	info    string
	refused []string
}

// verdict interprets the codes of a before-callback (pages 34370 and 34371). The effect of a code other than 0, 1 and
// 10100 to 10200 is not documented; it is taken as no refusal, which is the worst case for an app backend that uses
// one. For the same reason the status FAIL alone is no refusal.
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

// parseReply requires what the pages document: an object with the three fields, each of its type. Everything else is a
// failed callback.
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

// delivery is the result of sending a callback. Either failure or reply is set.
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

// deliver sends a callback, subject to the faults.
func (e *Emulator) deliver(ctx context.Context, a *app, cb outgoing) (d delivery) {
	d.sentAt = e.clock.now()
	start := time.Now()
	defer func() { d.took = time.Since(start) }()
	ctx, cancel := context.WithTimeout(ctx, callbackTimeout)
	defer cancel()

	d.query = redactedQuery(a, cb)
	if !a.beginCallback() {
		d.failure = "the IM backend is overloaded: callbackCapacity is used up"
		return d
	}
	defer a.endCallback()
	inj := e.faults.forCallback(string(cb.command), cb.group, cb.about)
	d.fault = inj.name()
	if err := wait(ctx, inj.latency, nil); err != nil {
		d.failure = failureText(err)
		return d
	}
	if inj.fault == nil || inj.fault.AfterEffect || inj.is(FaultRepeat) {
		e.post(ctx, a, cb, &d)
	}
	if inj.fault != nil {
		e.injectIntoDelivery(ctx, a, cb, inj, &d)
	}
	return d
}

// injectIntoDelivery applies a fault to a callback.
func (e *Emulator) injectIntoDelivery(ctx context.Context, a *app, cb outgoing, inj injected, d *delivery) {
	if inj.is(FaultRepeat) {
		e.post(ctx, a, cb, &delivery{sentAt: e.clock.now()})
		return
	}
	d.reply, d.failure = reply{}, ""
	switch inj.fault.Kind {
	case FaultHTTP:
		d.status, d.answer, d.failure = inj.fault.Status, nil, fmt.Sprintf("HTTP status %d", inj.fault.Status)
	case FaultCode:
		d.status, d.reply = http.StatusOK, reply{code: inj.fault.Code, info: inj.fault.Info}
		d.answer = envelopeOf(&failure{inj.fault.Code, inj.fault.Info})
	case FaultTruncate:
		d.answer = d.answer[:len(d.answer)/2]
		d.failure = "the connection broke in the middle of the answer"
	case FaultHang:
		d.status, d.answer = 0, nil
		d.failure = failureText(wait(ctx, forever, nil))
	case FaultDrop:
		d.status, d.answer, d.failure = 0, nil, "the connection broke"
	}
}

// post makes the HTTP request and reads the answer (page 34354).
func (e *Emulator) post(ctx context.Context, a *app, cb outgoing, d *delivery) {
	settings, _, token := a.config()
	query := callbackQuery(a.id, cb)
	if token != "" {
		requestTime := strconv.FormatInt(d.sentAt.Unix(), 10)
		query += "&Sign=" + callback.Sign(token, requestTime) + "&RequestTime=" + requestTime
	}
	// The vendor documents no Content-Type, so none is sent.
	address, body := settings.CallbackURL+"?"+query, bytes.NewReader(cb.body)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, body) //nolint:gosec // the configured URL
	if err != nil {
		d.failure = "the callback URL cannot be used"
		return
	}
	response, err := e.http.Do(request) //nolint:gosec // likewise
	if err != nil {
		d.failure = failureText(err)
		return
	}
	defer response.Body.Close()
	d.status = response.StatusCode
	d.answer, err = io.ReadAll(io.LimitReader(response.Body, maxCallbackAnswer))
	switch {
	case err != nil:
		d.failure = failureText(err)
	case d.status != http.StatusOK:
		d.failure = fmt.Sprintf("HTTP status %d", d.status)
	default:
		if d.reply, err = parseReply(d.answer); err != nil {
			d.failure = err.Error()
		}
	}
}

// callbackQuery is the query without the signature, with the parameters in the order of the vendor's sample.
func callbackQuery(sdkAppID uint64, cb outgoing) string {
	return "SdkAppid=" + strconv.FormatUint(sdkAppID, 10) +
		"&CallbackCommand=" + url.QueryEscape(string(cb.command)) +
		"&contenttype=json" +
		"&ClientIP=" + url.QueryEscape(cb.from.ip) +
		"&OptPlatform=" + url.QueryEscape(cb.from.platform)
}

// redactedQuery is the query for the record, without the signature: a signature is enough to forge callbacks for a
// minute.
func redactedQuery(a *app, cb outgoing) string {
	query := callbackQuery(a.id, cb)
	if settings, _, _ := a.config(); settings.SignedCallbacks {
		query += "&Sign=...&RequestTime=..."
	}
	return query
}

// failureText describes why there is no answer. It leaves out the URL, which contains the signature.
func failureText(err error) string {
	var in *url.Error
	if errors.As(err, &in) {
		err = in.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer within " + callbackTimeout.String()
	}
	return err.Error()
}

func (e *Emulator) recordCallback(a *app, cb outgoing, d delivery, outcome string) {
	answer := string(d.answer[:min(len(d.answer), maxRecordedAnswer)])
	e.callbacks.add(func(id int) CallbackRecord {
		return CallbackRecord{
			ID: id, SDKAppID: a.id, Command: string(cb.command), Group: cb.group,
			SentAt: d.sentAt.UTC(), DurationMillis: d.took.Milliseconds(), Query: d.query, Body: cb.body,
			Status: d.status, Answer: strings.ToValidUTF8(answer, "?"),
			Outcome: outcome, Failure: d.failure, Fault: d.fault,
		}
	})
}
