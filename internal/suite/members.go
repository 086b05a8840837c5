package suite

import (
	"encoding/csv"
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
	"github.com/groupgate/groupgate/internal/policy"
)

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

var columns = []string{columnAccount, columnRole, columnJoined, columnLastSpoke, columnMuteUntil}

// Members are those of a group: in a file, or listed in the case.
type Members struct {
	File string
	rows []row
}

// row is a member by its columns, and where it stands.
type row struct {
	columns map[string]string
	where   string
}

// UnmarshalJSON reads a path, or a list of members.
func (m *Members) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return nil
	}
	if len(text) > 0 && text[0] == '"' {
		_, err := json.UnmarshalStrict(text, &m.File)
		return err
	}
	var err error
	m.rows, err = listed(text, "members")
	return err
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

// read returns the members of a case in a file of tests.
func (m *Members) read(t *Test, at time.Time) ([]policy.Member, error) {
	rows := m.rows
	if m.File != "" {
		var err error
		if rows, err = rowsOf(t.resolve(m.File)); err != nil {
			return nil, err
		}
	}
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

func rowsOf(path string) ([]row, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the user names the files to read
	if err != nil {
		return nil, err
	}
	if slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)) {
		asJSON, err := yaml.YAMLToJSONStrict(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return listed(asJSON, path)
	}
	reader := csv.NewReader(strings.NewReader(strings.TrimPrefix(string(text), "\ufeff")))
	header, err := reader.Read()
	if err != nil {
		return nil, fmt.Errorf("%s: read the line with the names of the columns: %w", path, err)
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

func (r *row) member(at time.Time) (policy.Member, error) {
	for name := range r.columns {
		if !slices.Contains(columns, name) {
			return policy.Member{}, fmt.Errorf("column %q is not known: use %s", name, strings.Join(columns, ", "))
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

func each(members []policy.Member) iter.Seq2[policy.Member, error] {
	return func(yield func(policy.Member, error) bool) {
		for _, m := range members {
			if !yield(m, nil) {
				return
			}
		}
	}
}
