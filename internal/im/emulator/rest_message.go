package emulator

import (
	"context"
	"net/http"
	"time"
)

const (
	maxMessageBytes = 12 << 10        // of the whole body (page 34959)
	messageEcho     = 5 * time.Minute // messages with one Random within this time are one message (page 34959)
	maxMessages     = 200             // that a group keeps for the control API
)

// Message is a message of send_group_msg, as members see it.
type Message struct {
	From   string    `json:"from"`
	SentAt time.Time `json:"sentAt"` // by the emulator's clock
	Text   string    `json:"text"`
	Random uint32    `json:"random"`
}

// sendMessage is send_group_msg (page 34959), for texts.
func (e *Emulator) sendMessage(_ context.Context, c *call) (any, *failure) {
	from := c.identifier
	if given := c.text("From_Account"); given != "" {
		from = given
	}
	if !c.has("Random") {
		c.complain("Random is missing")
	}
	random := uint32(c.number("Random", 0)) //nolint:gosec // G115: number reads 32 bits
	message := Message{From: from, SentAt: c.now.UTC(), Random: random}
	body := c.objects("MsgBody")
	if len(body) == 0 {
		c.complain("MsgBody is missing or empty")
	}
	for _, element := range body {
		if kind := element.required("MsgType"); kind != "TIMTextElem" {
			c.complain("MsgType %q is not emulated: use TIMTextElem", kind)
			continue
		}
		if content := element.object("MsgContent"); content == nil || content.text("Text") == "" {
			c.complain("MsgContent.Text is missing or empty")
		} else {
			message.Text += content.text("Text")
		}
	}
	if c.bad != nil {
		return nil, c.bad
	}
	if len(message.Text) > maxMessageBytes {
		return nil, fail(codeMessageTooLong, "the message is larger than %d bytes", maxMessageBytes)
	}
	g, f := c.namedGroup()
	if f != nil {
		return nil, f
	}
	defer g.mu.Unlock()
	return struct {
		MsgTime int64 `json:"MsgTime"`
		MsgSeq  int   `json:"MsgSeq"`
	}{c.now.Unix(), g.take(message)}, nil
}

// take adds a message to the group unless it repeats one, and returns the number of the messages so far. The caller
// holds the lock.
func (g *group) take(message Message) int {
	for _, before := range g.sent {
		if before.Random == message.Random && message.SentAt.Sub(before.SentAt) < messageEcho {
			return g.messages
		}
	}
	if len(g.sent) == maxMessages {
		g.sent = g.sent[1:]
	}
	g.sent = append(g.sent, message)
	g.messages++
	g.lastMessage = message.SentAt.Unix()
	if m := g.roster.find(message.From); m != nil && g.kind != typeAVChatRoom {
		m.spoke = seconds(message.SentAt)
	}
	return g.messages
}

// listMessages is GET /groups/{group}/messages.
func (e *Emulator) listMessages(r *http.Request) (any, error) {
	g, err := e.groupOf(r)
	if err != nil {
		return nil, err
	}
	defer g.mu.Unlock()
	return map[string][]Message{"messages": append([]Message{}, g.sent...)}, nil
}
