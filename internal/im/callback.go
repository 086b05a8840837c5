package im

import (
	"errors"
	"fmt"
	"slices"
)

// maxText is how many bytes an id or a word of a callback may have. The vendor's own ids end at 96; more room only means
// that an odd one is decided like any other account that is on no list.
const maxText = 255

// maxDepth is how deep the values of a callback may nest.
const maxDepth = 64

// ErrUnreadable is in every error of ParseCallback.
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

// ParseCallback reads the JSON body of a callback (pages 34370, 34371, 34376).
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
func ParseCallback(body []byte) (Callback, error) {
	found, err := scanCallback(body)
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

const (
	memberCommand = iota
	memberGroup
	memberType
	memberRequestor
	memberDestinations
	memberOperator
	memberCount
)

var memberNames = [memberCount]string{"CallbackCommand", "GroupId", "Type", "Requestor_Account", "DestinationMembers", "Operator_Account"}

// scanCallback goes once through the whole body, checks its structure and notes where the members are.
func scanCallback(body []byte) (members, error) {
	var found members
	s := scanner{text: body}
	err := s.object(func(key span) error {
		value, err := s.skipValue()
		if err != nil {
			return err
		}
		text := keyText(body[key.start:key.end])
		for m, name := range memberNames {
			if string(text) != name {
				continue
			}
			found.seen[m] = min(found.seen[m]+1, 2)
			if found.seen[m] == 1 {
				found.at[m] = value
			}
			if m == memberCommand {
				found.noteCommand(body[value.start:value.end])
			}
			break
		}
		return nil
	})
	if err == nil {
		err = s.end()
	}
	return found, err
}

// noteCommand takes the first command that can be read, or a later one that is before a join.
func (f *members) noteCommand(raw []byte) {
	text, err := unquote(raw)
	if err != nil {
		return
	}
	if f.command == "" || !f.command.BeforeJoin() && Command(text).BeforeJoin() {
		f.command = internCommand(text)
	}
}

// internCommand avoids a copy for the commands that Groupgate acts on.
func internCommand(text []byte) Command {
	switch string(text) {
	case string(CommandBeforeApplyJoin):
		return CommandBeforeApplyJoin
	case string(CommandBeforeInviteJoin):
		return CommandBeforeInviteJoin
	case string(CommandAfterGroupFull):
		return CommandAfterGroupFull
	}
	return Command(text)
}

// read takes the members that the command reads, strictly.
func (c *Callback) read(body []byte, found *members) error {
	if found.seen[memberCommand] == 0 {
		return ErrNoCommand
	}
	if _, err := found.raw(body, memberCommand); err != nil {
		return err
	}
	if c.Command == "" {
		return fmt.Errorf("%w: CallbackCommand is not a usable string", ErrUnreadable)
	}
	var err error
	switch c.Command {
	case CommandBeforeApplyJoin:
		if c.Requestor, err = found.text(body, memberRequestor); err != nil {
			return err
		}
	case CommandBeforeInviteJoin:
		raw, err := found.raw(body, memberDestinations)
		if err != nil {
			return err
		}
		if c.Members, err = readDestinations(raw); err != nil {
			return err
		}
		if operator, err := found.text(body, memberOperator); err == nil {
			c.Operator = operator
		}
	case CommandAfterGroupFull:
		c.GroupID, err = found.text(body, memberGroup)
		return err
	default:
		return nil
	}
	if c.GroupID, err = found.text(body, memberGroup); err != nil {
		return err
	}
	if found.seen[memberType] > 0 {
		c.GroupType, err = found.text(body, memberType)
	}
	return err
}

// raw returns the JSON of a member that must be there exactly once.
func (f *members) raw(body []byte, m int) ([]byte, error) {
	switch f.seen[m] {
	case 0:
		return nil, fmt.Errorf("%w: no %s", ErrUnreadable, memberNames[m])
	case 1:
		return body[f.at[m].start:f.at[m].end], nil
	default:
		return nil, fmt.Errorf("%w: %s is given more than once", ErrUnreadable, memberNames[m])
	}
}

func (f *members) text(body []byte, m int) (string, error) {
	raw, err := f.raw(body, m)
	if err != nil {
		return "", err
	}
	text, err := unquote(raw)
	if err != nil {
		return "", fmt.Errorf("%w: %s %w", ErrUnreadable, memberNames[m], err)
	}
	return string(text), nil
}

// readDestinations reads [{"Member_Account": "..."}, ...], which is known to be well-formed.
func readDestinations(raw []byte) ([]string, error) {
	s := scanner{text: raw}
	var accounts destinations
	err := s.array(func() error {
		account, seen := "", false
		err := s.object(func(key span) error {
			value, err := s.skipValue()
			if err != nil || string(keyText(raw[key.start:key.end])) != "Member_Account" {
				return err
			}
			if seen {
				return fmt.Errorf("%w: Member_Account is given more than once", ErrUnreadable)
			}
			text, err := unquote(raw[value.start:value.end])
			if err != nil {
				return fmt.Errorf("%w: Member_Account %w", ErrUnreadable, err)
			}
			account, seen = string(text), true
			return nil
		})
		if err == nil && !seen {
			err = fmt.Errorf("%w: an item of DestinationMembers has no Member_Account", ErrUnreadable)
		}
		if err != nil {
			return err
		}
		accounts.add(account)
		return nil
	})
	if err == nil && len(accounts.list) == 0 {
		err = fmt.Errorf("%w: DestinationMembers is empty", ErrUnreadable)
	}
	return accounts.list, err
}

// destinations keeps every account once, in order.
type destinations struct {
	list  []string
	known map[string]struct{} // only for long lists: a short one is searched faster than hashed
}

const searchedList = 16

func (d *destinations) add(account string) {
	if d.known == nil && len(d.list) >= searchedList {
		d.known = make(map[string]struct{}, 4*searchedList)
		for _, known := range d.list {
			d.known[known] = struct{}{}
		}
	}
	if d.known != nil {
		if _, ok := d.known[account]; ok {
			return
		}
		d.known[account] = struct{}{}
	} else if slices.Contains(d.list, account) {
		return
	}
	d.list = append(d.list, account)
}
