package callback

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/groupgate/groupgate/internal/im"
)

// maxText is how many bytes an id or a word of a callback may have. The vendor's own ids end at 96; more room only means
// that an odd one is decided like any other account that is on no list.
const maxText = 255

// maxDepth is how deep the values of a callback may nest.
const maxDepth = 64

// ErrUnreadable is in every error of Parse.
var ErrUnreadable = errors.New("unreadable callback body")

// ErrNoCommand says that the body is a JSON object without a CallbackCommand; it is an ErrUnreadable too.
var ErrNoCommand = fmt.Errorf("%w: no CallbackCommand", ErrUnreadable)

// Callback is the part of a callback's body that Groupgate reads.
type Callback struct {
	Command Command
	// GroupID is set for the three commands that Groupgate acts on.
	GroupID string
	// GroupType is the vendor's word for the type, "" where it is absent. It is set for the before-join commands.
	GroupType string
	// Requestor is who applied, for CommandBeforeApplyJoin.
	Requestor string
	// Operator is who invites, or the admin account that adds members over REST, for CommandBeforeInviteJoin; "" where it cannot be
	// told.
	Operator string
	// Members are who was invited, for CommandBeforeInviteJoin: every account once, in the order of the request.
	Members []string
}

// Parse reads the JSON body of a callback (pages 34370, 34371, 34376).
//
// It is strict about the members that the command reads (CallbackCommand; GroupId for the three commands Groupgate acts on;
// Type, which may be absent, for the two before a join; Requestor_Account for an application; DestinationMembers with its
// Member_Account for an invitation): one that is missing, repeated, of another JSON type, not UTF-8, with NUL, empty or over
// 255 bytes makes the body unreadable, because two readers could then see two accounts. All else is skipped by its
// JSON structure, whatever its strings hold, so that nobody is turned away for the text of their application.
//
// Operator_Account of an invitation is read as strictly, but where it cannot be, there is no operator instead of no callback: all
// that an operator can bring about is an exemption, so that without one nobody gets in who would not, and older payloads, which may
// lack it, stay readable.
//
// With an error only Command is set, if the body named one before it became unreadable. Where it named several, one that is
// before a join wins: its refusal must be an answer, since an HTTP error would let the user in.
//
// What it returns shares no memory with the body, and has all of its ids in one string of its own.
func Parse(body []byte) (Callback, error) {
	var found members
	err := found.scan(body)
	callback := Callback{Command: found.command}
	if err == nil {
		err = callback.read(body, &found)
	}
	if err != nil {
		return Callback{Command: found.command}, err
	}
	return callback, nil
}

// members are where a body holds the values that some command reads. Which of them count is known only at its end, since
// CallbackCommand may come last.
type members struct {
	command Command
	at      [memberCount]span
	seen    [memberCount]uint8 // saturates at 2
}

// member is one of those that some command reads.
type member uint8

const (
	memberCommand member = iota
	memberGroup
	memberType
	memberRequestor
	memberDestinations
	memberOperator
	memberCount
)

var memberNames = [memberCount]string{
	memberCommand:      "CallbackCommand",
	memberGroup:        "GroupId",
	memberType:         "Type",
	memberRequestor:    "Requestor_Account",
	memberDestinations: "DestinationMembers",
	memberOperator:     "Operator_Account",
}

// memberOf finds a member by its key; memberCount is any other.
func memberOf(key []byte) member {
	switch string(key) {
	case "CallbackCommand":
		return memberCommand
	case "GroupId":
		return memberGroup
	case "Type":
		return memberType
	case "Requestor_Account":
		return memberRequestor
	case "DestinationMembers":
		return memberDestinations
	case "Operator_Account":
		return memberOperator
	}
	return memberCount
}

// scan goes once through the whole body, checks its structure and notes where the members are.
func (f *members) scan(body []byte) error {
	s := scanner{text: body}
	more, err := s.open('{')
	for ; more && err == nil; more, err = s.more('}') {
		key, err := s.key()
		if err != nil {
			return err
		}
		value, err := s.skipValue()
		if err != nil {
			return err
		}
		if m := memberOf(keyText(body[key.start:key.end], key.escaped)); m < memberCount {
			f.note(m, body, value)
		}
	}
	if err != nil {
		return err
	}
	return s.end()
}

func (f *members) note(m member, body []byte, value span) {
	if f.seen[m] == 0 {
		f.at[m] = value
	}
	f.seen[m] = min(f.seen[m]+1, 2)
	if m == memberCommand {
		f.noteCommand(body[value.start:value.end], value.escaped)
	}
}

// noteCommand takes the first command that can be read, or a later one that is before a join.
func (f *members) noteCommand(raw []byte, escaped bool) {
	switch {
	case f.command == "":
		f.command = readCommand(raw, escaped)
	case !f.command.BeforeJoin():
		if later := readCommand(raw, escaped); later.BeforeJoin() {
			f.command = later
		}
	}
}

// readCommand reads a command, "" where it cannot be read. Those that Groupgate acts on need neither a check nor a copy.
func readCommand(raw []byte, escaped bool) Command {
	switch string(raw) {
	case `"` + string(CommandBeforeApplyJoin) + `"`:
		return CommandBeforeApplyJoin
	case `"` + string(CommandBeforeInviteJoin) + `"`:
		return CommandBeforeInviteJoin
	case `"` + string(CommandAfterGroupFull) + `"`:
		return CommandAfterGroupFull
	}
	text, err := unquote(raw, escaped)
	if err != nil {
		return ""
	}
	return Command(text)
}

// read takes the members that the command reads, strictly.
func (c *Callback) read(body []byte, found *members) error {
	if found.seen[memberCommand] == 0 {
		return ErrNoCommand
	}
	if err := found.once(memberCommand); err != nil {
		return err
	}
	switch c.Command {
	case "":
		return fmt.Errorf("%w: CallbackCommand is not a usable string", ErrUnreadable)
	case CommandBeforeApplyJoin:
		return c.readApplication(body, found)
	case CommandBeforeInviteJoin:
		return c.readInvitation(body, found)
	case CommandAfterGroupFull:
		group, err := found.text(body, memberGroup)
		c.GroupID = string(group)
		return err
	default:
		return nil
	}
}

func (c *Callback) readApplication(body []byte, found *members) error {
	requestor, err := found.text(body, memberRequestor)
	if err != nil {
		return err
	}
	group, err := found.text(body, memberGroup)
	if err != nil {
		return err
	}
	var kept texts
	kept.Grow(len(group) + len(requestor))
	c.GroupID, c.Requestor = kept.keep(group), kept.keep(requestor)
	return c.readType(body, found)
}

func (c *Callback) readInvitation(body []byte, found *members) error {
	if err := found.once(memberDestinations); err != nil {
		return err
	}
	group, err := found.text(body, memberGroup)
	if err != nil {
		return err
	}
	operator, err := found.text(body, memberOperator)
	if err != nil {
		operator = nil
	}
	var kept texts
	at := found.at[memberDestinations]
	// Every account has its own item. The most that they can take is known before they are read, the odd body excepted.
	items := bytes.Count(body[at.start:at.end], []byte("{"))
	kept.Grow(len(group) + len(operator) + max(0, at.end-at.start-items*len(`{"Member_Account":""}`)))
	c.GroupID, c.Operator = kept.keep(group), kept.keep(operator)
	invited := destinations{list: make([]string, 0, min(items, firstMembers))}
	if err := invited.read(scanner{text: body[:at.end], pos: at.start}, &kept); err != nil {
		return err
	}
	c.Members = invited.list
	return c.readType(body, found)
}

// readType reads Type, which may be absent.
func (c *Callback) readType(body []byte, found *members) error {
	if found.seen[memberType] == 0 {
		return nil
	}
	word, err := found.text(body, memberType)
	if err != nil {
		return err
	}
	if c.GroupType = documentedType(word); c.GroupType == "" {
		c.GroupType = string(word)
	}
	return nil
}

// documentedType is the word itself, without a copy, if the vendor documents it, old names included; "" for any other.
func documentedType(word []byte) string {
	for _, known := range [...]string{
		im.TypePublic, im.TypeWork, im.TypeCommunity, im.TypeMeeting, im.TypeAVChatRoom, "Private", "ChatRoom", "Live", "BChatRoom",
	} {
		if string(word) == known {
			return known
		}
	}
	return ""
}

// once makes sure that a member is there exactly once.
func (f *members) once(m member) error {
	switch f.seen[m] {
	case 0:
		return fmt.Errorf("%w: no %s", ErrUnreadable, memberNames[m])
	case 1:
		return nil
	default:
		return fmt.Errorf("%w: %s is given more than once", ErrUnreadable, memberNames[m])
	}
}

// text reads a member that must be there exactly once. What it returns may be a part of the body.
func (f *members) text(body []byte, m member) ([]byte, error) {
	if err := f.once(m); err != nil {
		return nil, err
	}
	at := f.at[m]
	text, err := unquote(body[at.start:at.end], at.escaped)
	if err != nil {
		return nil, fmt.Errorf("%w: %s %w", ErrUnreadable, memberNames[m], err)
	}
	return text, nil
}

// texts are what is kept of a body, all in one piece of memory.
type texts struct{ strings.Builder }

func (t *texts) keep(text []byte) string {
	start := t.Len()
	_, _ = t.Write(text) // never fails
	return t.String()[start:]
}

// destinations keeps every account once, in order.
type destinations struct {
	list  []string
	known map[string]struct{} // only for long lists: a short one is searched faster than hashed
}

const (
	searchedList = 16
	firstMembers = 64 // for how many there is room at first; more than 20 are rare
)

// read reads [{"Member_Account": "..."}, ...], which is known to be well-formed JSON.
func (d *destinations) read(s scanner, kept *texts) error {
	more, err := s.open('[')
	for ; more && err == nil; more, err = s.more(']') {
		account, err := readDestination(&s)
		if err != nil {
			return err
		}
		d.add(account, kept)
	}
	if err == nil && len(d.list) == 0 {
		err = fmt.Errorf("%w: DestinationMembers is empty", ErrUnreadable)
	}
	return err
}

func readDestination(s *scanner) (account []byte, err error) {
	seen := false
	more, err := s.open('{')
	for ; more && err == nil; more, err = s.more('}') {
		key, err := s.key()
		if err != nil {
			return nil, err
		}
		value, err := s.skipValue()
		if err != nil {
			return nil, err
		}
		if string(keyText(s.text[key.start:key.end], key.escaped)) != "Member_Account" {
			continue
		}
		if seen {
			return nil, fmt.Errorf("%w: Member_Account is given more than once", ErrUnreadable)
		}
		seen = true
		if account, err = unquote(s.text[value.start:value.end], value.escaped); err != nil {
			return nil, fmt.Errorf("%w: Member_Account %w", ErrUnreadable, err)
		}
	}
	if err == nil && !seen {
		err = fmt.Errorf("%w: an item of DestinationMembers has no Member_Account", ErrUnreadable)
	}
	return account, err
}

func (d *destinations) add(account []byte, kept *texts) {
	if d.known == nil && len(d.list) >= searchedList {
		d.known = make(map[string]struct{}, 4*searchedList)
		for _, known := range d.list {
			d.known[known] = struct{}{}
		}
	}
	if d.known == nil {
		if !slices.ContainsFunc(d.list, func(known string) bool { return known == string(account) }) {
			d.list = append(d.list, kept.keep(account))
		}
		return
	}
	if _, ok := d.known[string(account)]; !ok {
		text := kept.keep(account)
		d.known[text] = struct{}{}
		d.list = append(d.list, text)
	}
}
