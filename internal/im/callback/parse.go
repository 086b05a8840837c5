package callback

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/groupgate/groupgate/internal/im"
)

// maxText is how many bytes an id may have. The vendor's own end at 96; a longer one is decided like any account that
// is on no list.
const maxText = 255

// maxDepth is how deep the values of a callback may nest.
const maxDepth = 64

// ErrUnreadable is wrapped by every error of Parse.
var ErrUnreadable = errors.New("unreadable callback body")

// ErrNoCommand says that the body is a JSON object without a CallbackCommand. It wraps ErrUnreadable.
var ErrNoCommand = fmt.Errorf("%w: no CallbackCommand", ErrUnreadable)

// Callback is the part of a callback's body that Groupgate reads.
type Callback struct {
	Command Command
	// GroupID is set for the commands that Groupgate acts on.
	GroupID string
	// GroupType is the type in the vendor's spelling, "" if absent. It is set for the commands about members.
	GroupType string
	// Requestor is the account that applied, for CommandBeforeApplyJoin.
	Requestor string
	// Operator is the account that invites, or the admin account that adds members over REST, for
	// CommandBeforeInviteJoin and CommandAfterJoin; "" if it cannot be read.
	Operator string
	// JoinType says how the new members of CommandAfterJoin came in, in the vendor's spelling: [JoinTypeApply],
	// [JoinTypeInvited], or a word that is not documented; "" if it cannot be read.
	JoinType string
	// Owner is the owner of a new group, for CommandAfterCreate; "" if it cannot be read.
	Owner string
	// Members are the invited accounts of CommandBeforeInviteJoin, the new members of CommandAfterJoin, or those that
	// CommandAfterCreate names: each once, in the order of the request.
	Members []string
}

// How new members came in, as CommandAfterJoin says it (page 34372).
const (
	JoinTypeApply   = "Apply"
	JoinTypeInvited = "Invited" // also over REST
)

// Parse reads the JSON body of a callback (pages 34369 to 34372, 34376).
//
// It is strict about the fields that the command needs: CallbackCommand; GroupId for the commands that Groupgate acts
// on; Type, which may be absent, for those about members; Requestor_Account for an application; DestinationMembers for
// an invitation, NewMemberList for new members, and MemberList, which may be absent or empty, for a new group, each
// with its Member_Account. One that is missing, repeated, of another JSON type, not UTF-8, with NUL, empty or over 255
// bytes makes the body unreadable, because two readers could see two different accounts in it. All other fields are
// skipped by their JSON structure, whatever their strings hold, so that no user is refused for the text of an
// application.
//
// Operator_Account, JoinType and Owner_Account are read as strictly, but an unreadable one counts as absent: an
// operator or owner can only bring about an exemption, so that its absence admits no one, and older payloads, which may
// lack it, stay readable.
//
// With an error only Command is set, if the body named one before it became unreadable. Among several, one that is
// before a join wins: its refusal must be an answer, since an HTTP error would let the user in.
//
// The result shares no memory with the body, and holds all of its ids in one string.
func Parse(body []byte) (Callback, error) {
	var found fields
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

// fields are the positions of the values that some command needs. Which command it is may be known only at the end of
// the body, since CallbackCommand may come last.
type fields struct {
	command Command
	at      [fieldCount]span
	seen    [fieldCount]uint8 // saturates at 2
}

// field is a key of a body that some command needs.
type field uint8

const (
	fieldCommand field = iota
	fieldGroup
	fieldType
	fieldRequestor
	fieldDestinations
	fieldOperator
	fieldNewMembers
	fieldJoinType
	fieldMembers
	fieldOwner
	fieldCount
)

var fieldNames = [fieldCount]string{
	fieldCommand:      "CallbackCommand",
	fieldGroup:        "GroupId",
	fieldType:         "Type",
	fieldRequestor:    "Requestor_Account",
	fieldDestinations: "DestinationMembers",
	fieldOperator:     "Operator_Account",
	fieldNewMembers:   "NewMemberList",
	fieldJoinType:     "JoinType",
	fieldMembers:      "MemberList",
	fieldOwner:        "Owner_Account",
}

// fieldOf finds a field by its key; fieldCount stands for all others.
func fieldOf(key []byte) field {
	switch string(key) {
	case "CallbackCommand":
		return fieldCommand
	case "GroupId":
		return fieldGroup
	case "Type":
		return fieldType
	case "Requestor_Account":
		return fieldRequestor
	case "DestinationMembers":
		return fieldDestinations
	case "Operator_Account":
		return fieldOperator
	case "NewMemberList":
		return fieldNewMembers
	case "JoinType":
		return fieldJoinType
	case "MemberList":
		return fieldMembers
	case "Owner_Account":
		return fieldOwner
	}
	return fieldCount
}

// scan checks the structure of the whole body and records where the fields are.
func (f *fields) scan(body []byte) error {
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
		if m := fieldOf(keyText(body[key.start:key.end], key.escaped)); m < fieldCount {
			f.set(m, body, value)
		}
	}
	if err != nil {
		return err
	}
	return s.end()
}

func (f *fields) set(m field, body []byte, value span) {
	if f.seen[m] == 0 {
		f.at[m] = value
	}
	f.seen[m] = min(f.seen[m]+1, 2)
	if m == fieldCommand {
		f.setCommand(body[value.start:value.end], value.escaped)
	}
}

// setCommand takes the first readable command, or a later one that is before a join.
func (f *fields) setCommand(raw []byte, escaped bool) {
	switch {
	case f.command == "":
		f.command = readCommand(raw, escaped)
	case !f.command.BeforeJoin():
		if later := readCommand(raw, escaped); later.BeforeJoin() {
			f.command = later
		}
	}
}

// readCommand returns "" for a command that cannot be read. Those that Groupgate acts on are not copied.
func readCommand(raw []byte, escaped bool) Command {
	switch string(raw) {
	case `"` + string(CommandBeforeApplyJoin) + `"`:
		return CommandBeforeApplyJoin
	case `"` + string(CommandBeforeInviteJoin) + `"`:
		return CommandBeforeInviteJoin
	case `"` + string(CommandAfterGroupFull) + `"`:
		return CommandAfterGroupFull
	case `"` + string(CommandAfterJoin) + `"`:
		return CommandAfterJoin
	case `"` + string(CommandAfterCreate) + `"`:
		return CommandAfterCreate
	}
	text, err := unquote(raw, escaped)
	if err != nil {
		return ""
	}
	return Command(text)
}

// read reads the fields that the command needs, strictly.
func (c *Callback) read(body []byte, found *fields) error {
	if found.seen[fieldCommand] == 0 {
		return ErrNoCommand
	}
	if err := found.once(fieldCommand); err != nil {
		return err
	}
	switch c.Command {
	case "":
		return fmt.Errorf("%w: CallbackCommand is not a usable string", ErrUnreadable)
	case CommandBeforeApplyJoin:
		return c.readApplication(body, found)
	case CommandBeforeInviteJoin:
		return c.readMembers(body, found, fieldDestinations)
	case CommandAfterJoin:
		c.JoinType = found.optional(body, fieldJoinType)
		return c.readMembers(body, found, fieldNewMembers)
	case CommandAfterCreate:
		c.Owner = found.optional(body, fieldOwner)
		return c.readMembers(body, found, fieldMembers)
	case CommandAfterGroupFull:
		group, err := found.text(body, fieldGroup)
		c.GroupID = string(group)
		return err
	default:
		return nil
	}
}

func (c *Callback) readApplication(body []byte, found *fields) error {
	requestor, err := found.text(body, fieldRequestor)
	if err != nil {
		return err
	}
	group, err := found.text(body, fieldGroup)
	if err != nil {
		return err
	}
	var ids arena
	ids.Grow(len(group) + len(requestor))
	c.GroupID, c.Requestor = ids.copy(group), ids.copy(requestor)
	return c.readType(body, found)
}

// readMembers reads the group and a list of accounts. Only the list of a new group may be absent or empty.
func (c *Callback) readMembers(body []byte, found *fields, list field) error {
	group, err := found.text(body, fieldGroup)
	if err != nil {
		return err
	}
	if list == fieldMembers && found.seen[list] == 0 {
		c.GroupID = string(group)
		return c.readType(body, found)
	}
	if err := found.once(list); err != nil {
		return err
	}
	operator, err := found.text(body, fieldOperator)
	if err != nil || list == fieldMembers {
		operator = nil
	}
	var ids arena
	at := found.at[list]
	// Every account has an item of its own, which bounds how much room they need, unless items nest.
	items := bytes.Count(body[at.start:at.end], []byte("{"))
	ids.Grow(len(group) + len(operator) + max(0, at.end-at.start-items*len(`{"Member_Account":""}`)))
	c.GroupID, c.Operator = ids.copy(group), ids.copy(operator)
	members := memberList{name: fieldNames[list], list: make([]string, 0, min(items, usualMembers))}
	if err := members.read(scanner{text: body[:at.end], pos: at.start}, &ids); err != nil {
		return err
	}
	if c.Members = members.list; len(c.Members) == 0 && list != fieldMembers {
		return fmt.Errorf("%w: %s is empty", ErrUnreadable, fieldNames[list])
	}
	return c.readType(body, found)
}

// readType reads Type, which may be absent.
func (c *Callback) readType(body []byte, found *fields) error {
	if found.seen[fieldType] == 0 {
		return nil
	}
	text, err := found.text(body, fieldType)
	if err != nil {
		return err
	}
	if c.GroupType = documentedType(text); c.GroupType == "" {
		c.GroupType = string(text)
	}
	return nil
}

// documentedType returns the type without a copy if the vendor documents it, old names included; "" otherwise.
func documentedType(text []byte) string {
	for _, known := range [...]string{
		im.TypePublic, im.TypeWork, im.TypeCommunity, im.TypeMeeting, im.TypeAVChatRoom,
		"Private", "ChatRoom", "Live", "BChatRoom",
	} {
		if string(text) == known {
			return known
		}
	}
	return ""
}

// once checks that a field is there exactly once.
func (f *fields) once(m field) error {
	switch f.seen[m] {
	case 0:
		return fmt.Errorf("%w: no %s", ErrUnreadable, fieldNames[m])
	case 1:
		return nil
	default:
		return fmt.Errorf("%w: %s is given more than once", ErrUnreadable, fieldNames[m])
	}
}

// text reads a field that must be there exactly once. The result may be a part of the body.
func (f *fields) text(body []byte, m field) ([]byte, error) {
	if err := f.once(m); err != nil {
		return nil, err
	}
	at := f.at[m]
	text, err := unquote(body[at.start:at.end], at.escaped)
	if err != nil {
		return nil, fmt.Errorf("%w: %s %w", ErrUnreadable, fieldNames[m], err)
	}
	return text, nil
}

// optional reads a field of which nothing unsafe depends; "" if it cannot be read.
func (f *fields) optional(body []byte, m field) string {
	text, err := f.text(body, m)
	if err != nil {
		return ""
	}
	return string(text)
}

// arena holds the strings of a result in one piece of memory.
type arena struct{ strings.Builder }

func (a *arena) copy(text []byte) string {
	start := a.Len()
	_, _ = a.Write(text) // never fails
	return a.String()[start:]
}
