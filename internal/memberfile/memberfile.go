package memberfile

import (
	"bytes"
	"encoding/csv"
	encodingjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/im/imrest"
	"github.com/groupgate/groupgate/internal/policy"
)

// Stdin is the path that stands for the standard input.
const Stdin = "-"

// The columns of members; only the account is required.
const (
	columnAccount = "account"
	// columnRole is Owner, Admin or Member. Default: Member.
	columnRole = "role"
	// Times are in RFC 3339, dates, or durations such as 90d from the time of the case: back for joined and lastSpoke,
	// ahead for muteUntil. A member without joined is of unknown activity, one without lastSpoke never spoke, and one
	// without muteUntil may speak.
	columnJoined    = "joined"
	columnLastSpoke = "lastSpoke"
	columnMuteUntil = "muteUntil"
)

// Columns are the names of all columns.
var Columns = []string{columnAccount, columnRole, columnJoined, columnLastSpoke, columnMuteUntil}

// List names the members of a group: in a file, or one by one. It is the form in which JSON has either of them.
type List struct {
	File string
	rows []row
}

// row is a member by its columns, and where it stands.
type row struct {
	columns map[string]string
	where   string
}

// IsZero reports whether nothing was given; an empty list of members is something.
func (l *List) IsZero() bool { return l.File == "" && l.rows == nil }

// UnmarshalJSON reads a path, or a list of members.
func (l *List) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return nil
	}
	if len(text) > 0 && text[0] == '"' {
		_, err := json.UnmarshalStrict(text, &l.File)
		return err
	}
	var err error
	l.rows, err = listed(text, "members")
	return err
}

// Read returns the members as they are at a time, from which durations count. A file is found by resolve.
func (l *List) Read(resolve func(path string) string, at time.Time) ([]policy.Member, error) {
	if l.File != "" {
		members, _, err := Read(resolve(l.File), nil, at)
		return members, err
	}
	return membersOf(l.rows, at)
}

func listed(text []byte, where string) ([]row, error) {
	var list []map[string]string
	problems, err := json.UnmarshalStrict(text, &list)
	if err := errors.Join(append(problems, err)...); err != nil {
		return nil, fmt.Errorf("%s: list members as {account: anna, joined: 400d, lastSpoke: 70d}: %w", where, err)
	}
	rows := []row{}
	for i, columns := range list {
		rows = append(rows, row{columns, fmt.Sprintf("%s[%d]", where, i)})
	}
	return rows, nil
}

func membersOf(rows []row, at time.Time) ([]policy.Member, error) {
	members := make([]policy.Member, 0, len(rows))
	for _, r := range rows {
		member, err := r.member(at)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.where, err)
		}
		members = append(members, member)
	}
	return members, nil
}

// Read reads a file, or in for the path [Stdin], with the members as they are at a time: CSV whose first line names the
// columns, a list in YAML or JSON, or the vendor's answers of get_group_member_info, one after the other if the list
// has several pages. note, if not empty, says that the list is not complete.
func Read(path string, in io.Reader, at time.Time) (members []policy.Member, note string, err error) {
	var text []byte
	if path == Stdin && in != nil {
		text, err = io.ReadAll(in)
	} else {
		text, err = os.ReadFile(path) //nolint:gosec // the user names the files to read
	}
	if err != nil {
		return nil, "", err
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	begin := bytes.TrimLeft(text, " \t\r\n")
	switch {
	case bytes.HasPrefix(begin, []byte("{")):
		return answers(text, path)
	case bytes.HasPrefix(begin, []byte("[")),
		slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)):
		asJSON, err := yaml.YAMLToJSONStrict(text)
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", path, err)
		}
		rows, err := listed(asJSON, path)
		if err != nil {
			return nil, "", err
		}
		members, err = membersOf(rows, at)
		return members, "", err
	}
	rows, err := table(text, path)
	if err != nil {
		return nil, "", err
	}
	members, err = membersOf(rows, at)
	return members, "", err
}

func table(text []byte, path string) ([]row, error) {
	reader := csv.NewReader(bytes.NewReader(text))
	header, err := reader.Read()
	switch {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%s is empty: the first line names the columns, such as account,role,joined", path)
	case err != nil:
		return nil, fmt.Errorf("%s: read the line with the names of the columns: %w", path, err)
	}
	for _, name := range header {
		if err := known(name); err != nil {
			return nil, fmt.Errorf("%s:1: %w", path, err)
		}
	}
	var rows []row
	for {
		line, err := reader.Read()
		switch {
		case errors.Is(err, io.EOF):
			return rows, nil
		case err != nil:
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		n, _ := reader.FieldPos(0)
		r := row{map[string]string{}, fmt.Sprintf("%s:%d", path, n)}
		for i, name := range header {
			r.columns[name] = line[i]
		}
		rows = append(rows, r)
	}
}

// answers reads the vendor's. Pages may overlap, so that members are counted by their accounts.
func answers(text []byte, path string) (members []policy.Member, note string, err error) {
	decoder := encodingjson.NewDecoder(bytes.NewReader(text))
	listed, total, more := map[string]bool{}, 0, false
	for n := 1; ; n++ {
		var one encodingjson.RawMessage
		switch err := decoder.Decode(&one); {
		case errors.Is(err, io.EOF):
			if len(listed) < total {
				note = fmt.Sprintf("%s has %d of the %d members of the group", path, len(listed), total)
			} else if more {
				note = fmt.Sprintf("the last answer of %s says that more members follow", path)
			}
			return members, note, nil
		case err != nil:
			return nil, "", fmt.Errorf("%s: answer %d is not JSON: %w", path, n, err)
		}
		page, err := imrest.DecodeMembers(one)
		if err != nil {
			return nil, "", fmt.Errorf("%s: answer %d of get_group_member_info: %w", path, n, err)
		}
		for _, m := range page.Members {
			listed[m.Account] = true
			members = append(members, memberOf(m))
		}
		total, more = page.Total, page.More
	}
}

func memberOf(m imrest.Member) policy.Member {
	roles := map[string]policy.Role{
		"Owner": policy.RoleOwner, "Admin": policy.RoleAdmin, "Member": policy.RoleMember,
	}
	return policy.Member{
		Account: m.Account, Role: roles[m.Role], Joined: m.Joined, LastSpoke: m.LastSpoke,
		ActivityKnown: m.ActivityKnown, MuteUntil: m.MuteUntil,
	}
}

func known(column string) error {
	if !slices.Contains(Columns, column) {
		return fmt.Errorf("column %q is not known: use %s", column, strings.Join(Columns, ", "))
	}
	return nil
}

func (r *row) member(at time.Time) (policy.Member, error) {
	for name := range r.columns {
		if err := known(name); err != nil {
			return policy.Member{}, err
		}
	}
	m := policy.Member{Account: r.columns[columnAccount], ActivityKnown: true}
	if m.Account == "" {
		return m, errors.New("the account is missing")
	}
	switch role := r.columns[columnRole]; role {
	case "", "Member":
		m.Role = policy.RoleMember
	case "Admin":
		m.Role = policy.RoleAdmin
	case "Owner":
		m.Role = policy.RoleOwner
	default:
		return m, fmt.Errorf("role is %q: use Owner, Admin or Member", role)
	}
	for _, column := range []struct {
		name  string
		time  *time.Time
		ahead bool
	}{{columnJoined, &m.Joined, false}, {columnLastSpoke, &m.LastSpoke, false}, {columnMuteUntil, &m.MuteUntil, true}} {
		var err error
		if *column.time, err = moment(r.columns[column.name], at, column.ahead); err != nil {
			return m, fmt.Errorf("%s: %w", column.name, err)
		}
	}
	return m, nil
}

// moment reads a time, or how far it is from the other one; empty is no time.
func moment(text string, from time.Time, ahead bool) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	distance, err := convert.ParseDuration(text)
	if err != nil {
		return time.Time{}, fmt.Errorf(
			"%q is no time: use RFC 3339, a date such as 2026-11-21, or a duration such as 90d", text)
	}
	if !ahead {
		distance = -distance
	}
	return from.Add(distance), nil
}

// Each yields the members, as plans take them.
func Each(members []policy.Member) iter.Seq2[policy.Member, error] {
	return func(yield func(policy.Member, error) bool) {
		for _, m := range members {
			if !yield(m, nil) {
				return
			}
		}
	}
}
