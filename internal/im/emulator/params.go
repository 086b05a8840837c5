package emulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"unicode/utf8"
)

// params are the members of a received JSON object. They are looked up by exact name: encoding/json would accept
// "groupid" for "GroupId", which the vendor does not. The first member that is missing or of the wrong type is stored
// in bad, so that a call can read all its parameters and check for an error once.
type params struct {
	members map[string]json.RawMessage
	bad     *failure
}

func parseParams(body []byte) (*params, error) {
	if !utf8.Valid(body) {
		return nil, errors.New("it is not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	p := &params{}
	if err := decoder.Decode(&p.members); err != nil {
		return nil, errors.New("it is not a JSON object")
	}
	if p.members == nil {
		return nil, errors.New("it is null, not a JSON object")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON object")
	}
	return p, nil
}

func (p *params) has(name string) bool {
	raw, ok := p.members[name]
	return ok && string(raw) != "null"
}

func (p *params) complain(format string, args ...any) {
	if p.bad == nil {
		p.bad = fail(codeBadParameter, format, args...)
	}
}

// text reads a string; absent is "".
func (p *params) text(name string) (s string) {
	if p.has(name) && json.Unmarshal(p.members[name], &s) != nil {
		p.complain("%s must be a string", name)
	}
	return s
}

// required reads a string that must not be absent or empty.
func (p *params) required(name string) string {
	s := p.text(name)
	if s == "" {
		p.complain("%s is missing or empty", name)
	}
	return s
}

// number reads a non-negative integer.
func (p *params) number(name string, absent int) int {
	if !p.has(name) {
		return absent
	}
	var n uint32
	if json.Unmarshal(p.members[name], &n) != nil {
		p.complain("%s must be an integer, 0 or more", name)
	}
	return int(n)
}

// texts reads a list of strings; absent is nil.
func (p *params) texts(name string) (list []string) {
	if p.has(name) && json.Unmarshal(p.members[name], &list) != nil {
		p.complain("%s must be a list of strings", name)
	}
	return list
}

// objects reads a list of objects; absent is nil.
func (p *params) objects(name string) (list []*params) {
	if !p.has(name) {
		return nil
	}
	var raw []json.RawMessage
	if json.Unmarshal(p.members[name], &raw) != nil {
		p.complain("%s must be a list of objects", name)
	}
	for _, item := range raw {
		o, err := parseParams(item)
		if err != nil {
			p.complain("%s must be a list of objects", name)
			return nil
		}
		list = append(list, o)
	}
	return list
}

// object reads an object; absent is nil.
func (p *params) object(name string) *params {
	if !p.has(name) {
		return nil
	}
	o, err := parseParams(p.members[name])
	if err != nil {
		p.complain("%s must be an object", name)
		return nil
	}
	return o
}

// accounts reads a list of UserIDs: strings, or objects with a Member_Account. It checks the vendor's limits and drops
// duplicates.
func (p *params) accounts(name string, limit int, asObjects bool) []string {
	var list []string
	if asObjects {
		for _, o := range p.objects(name) {
			list = append(list, o.required("Member_Account"))
			if o.bad != nil {
				p.complain("%s: %s", name, o.bad.info)
			}
		}
	} else {
		list = p.texts(name)
	}
	if len(list) == 0 {
		p.complain("%s is missing or empty", name)
	}
	if len(list) > limit && p.bad == nil {
		p.bad = fail(codeTooManyAccounts, "%s has %d accounts, more than %d", name, len(list), limit)
	}
	if slices.ContainsFunc(list, func(account string) bool { return !validAccount(account) }) {
		p.complain("%s: a UserID must have 1 to 32 bytes", name)
	}
	return distinct(list)
}
