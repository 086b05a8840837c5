package callback

import (
	"fmt"
	"slices"
)

// memberList collects every account of a list once, in order.
type memberList struct {
	name  string // of the field
	list  []string
	known map[string]struct{} // only for long lists: a short one is faster to search
}

const (
	searchedList = 16
	usualMembers = 64 // room at first; more than 20 are rare
)

// read reads [{"Member_Account": "..."}, ...]. That it is well-formed JSON has been checked.
func (d *memberList) read(s scanner, ids *arena) error {
	more, err := s.open('[')
	for ; more && err == nil; more, err = s.more(']') {
		account, err := readMember(&s, d.name)
		if err != nil {
			return err
		}
		d.add(account, ids)
	}
	return err
}

func readMember(s *scanner, list string) (account []byte, err error) {
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
		err = fmt.Errorf("%w: an item of %s has no Member_Account", ErrUnreadable, list)
	}
	return account, err
}

func (d *memberList) add(account []byte, ids *arena) {
	if d.known == nil && len(d.list) >= searchedList {
		d.known = make(map[string]struct{}, 4*searchedList)
		for _, known := range d.list {
			d.known[known] = struct{}{}
		}
	}
	if d.known == nil {
		if !slices.ContainsFunc(d.list, func(known string) bool { return known == string(account) }) {
			d.list = append(d.list, ids.copy(account))
		}
		return
	}
	if _, ok := d.known[string(account)]; !ok {
		text := ids.copy(account)
		d.known[text] = struct{}{}
		d.list = append(d.list, text)
	}
}
