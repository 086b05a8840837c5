package imrest

import (
	"context"
	"errors"
	"time"
)

// Message is a text that SendGroupMessage sends.
type Message struct {
	GroupID string
	// Text is what members read, at most 12 KB.
	Text string
	// Random tells messages apart: of two with the same one within five minutes the vendor drops the second.
	Random uint32
}

type messageRequest struct {
	GroupID string           `json:"GroupId"`
	Random  uint32           `json:"Random"`
	Body    []messageElement `json:"MsgBody"`
}

type messageElement struct {
	Type    string         `json:"MsgType"`
	Content messageContent `json:"MsgContent"`
}

type messageContent struct {
	Text string `json:"Text"`
}

// SendGroupMessage sends a message into a group, as the admin account (send_group_msg, page 34959). It lets all calls
// of runs go first, as Groups does. No attempt starts after notAfter, or once ctx has ended; one that has started goes
// on to its end, and is not repeated if it may have taken effect. See HadNoEffect.
func (c *Client) SendGroupMessage(ctx context.Context, m Message, notAfter time.Time) error {
	return c.do(ctx, call{
		api: apiSendMessage, notAfter: notAfter, once: true, sweep: true, finishes: true,
		body: messageRequest{
			GroupID: m.GroupID, Random: m.Random,
			Body: []messageElement{{Type: "TIMTextElem", Content: messageContent{Text: m.Text}}},
		},
		decode: func(r response) error { return r.read(&status{}) },
	})
}

// HadNoEffect reports whether a SendGroupMessage that failed is known to have had no effect: it was not sent, as are
// those without an *Error, or the vendor itself refused it.
func HadNoEffect(err error) bool {
	failed, attempted := errors.AsType[*Error](err)
	return !attempted || failed.clear() || failed.unbegun
}
