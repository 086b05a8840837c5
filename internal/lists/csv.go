package lists

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/groupgate/groupgate/internal/convert"
)

const (
	// defaultColumn is the column of accounts, if there is a header.
	defaultColumn = "account"
	// maxCharacters is the limit of the schema of AccountList.
	maxCharacters = 32
	// maxProblems bounds how many problems of a file are listed.
	maxProblems = 10
)

// ReadCSV reads accounts from comma-separated values: one on each line, or a column of a table whose first line is the
// header. The column is called account; column is its name if it is another one. The error lists what is wrong with
// which line.
func ReadCSV(in io.Reader, column string) ([]string, error) {
	buffered := bufio.NewReader(in)
	if start, _ := buffered.Peek(3); bytes.Equal(start, []byte("\xef\xbb\xbf")) {
		_, _ = buffered.Discard(3) // the byte order mark of spreadsheets; it is buffered
	}
	lines := csv.NewReader(buffered)
	lines.ReuseRecord = true
	first, err := lines.Read()
	if errors.Is(err, io.EOF) {
		if column != "" {
			return nil, fmt.Errorf("the file is empty: it has no column %q", column)
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	at := slices.Index(first, defaultColumn)
	if column != "" {
		at = slices.Index(first, column)
	}
	var c checked
	switch {
	case at >= 0: // a header
	case column != "":
		return nil, fmt.Errorf("line 1: there is no column %q among %s", column, strings.Join(first, ", "))
	case len(first) > 1:
		return nil, fmt.Errorf("line 1: there are %d columns, and none is called %q: say which one has the accounts "+
			"with --column, or give the file a header", len(first), defaultColumn)
	case looksLikeHeader(first[0]):
		return nil, fmt.Errorf("line 1: %q looks like the name of a column: if it is, say --column %[1]q; if it is an "+
			"account, let another one stand on the first line", first[0])
	default:
		at = 0
		line, _ := lines.FieldPos(0)
		c.check(first[0], line)
	}
	before, _ := lines.FieldPos(0)
	for {
		record, err := lines.Read()
		if errors.Is(err, io.EOF) {
			return c.done()
		}
		if err != nil {
			return nil, errors.Join(c.problems, err)
		}
		line, _ := lines.FieldPos(0)
		if line > before+1 {
			c.problem(before+1, "is blank")
		}
		before = line
		c.check(record[at], line)
	}
}

// columnNames are what exports call a column of accounts, in lower case and without separators.
var columnNames = []string{
	"account", "accountid", "accountname", "accounts", "id", "identifier", "ids", "login", "member", "memberaccount",
	"memberid", "members", "name", "openid", "uid", "unionid", "user", "useraccount", "userid", "username", "users",
	"成员", "用户", "用户id", "账号", "帐号",
}

// looksLikeHeader reports whether a file with this first line more likely has a header than an account of that name.
func looksLikeHeader(first string) bool {
	plain := strings.NewReplacer("_", "", "-", "", ".", "", " ", "").Replace(strings.ToLower(first))
	return slices.Contains(columnNames, plain)
}

// CheckAccounts says what is wrong with accounts of a command line.
func CheckAccounts(accounts []string) error {
	c := checked{unit: "account"}
	for i, account := range accounts {
		c.check(account, i+1)
	}
	_, err := c.done()
	return err
}

// checked are accounts with what is wrong with them.
type checked struct {
	unit     string // "" is line
	accounts []string
	lines    map[string]int
	problems error
	count    int
}

func (c *checked) problem(line int, what string) {
	unit := c.unit
	if unit == "" {
		unit = "line"
	}
	if c.count++; c.count <= maxProblems {
		c.problems = errors.Join(c.problems, fmt.Errorf("%s %d: %s", unit, line, what))
	}
}

func (c *checked) check(account string, line int) {
	switch {
	case account == "":
		c.problem(line, "is blank")
	case !utf8.ValidString(account):
		c.problem(line, fmt.Sprintf("%+q is not UTF-8", account))
	case utf8.RuneCountInString(account) > maxCharacters:
		c.problem(line, fmt.Sprintf("%q has %d characters, and an account has at most %d", account,
			utf8.RuneCountInString(account), maxCharacters))
	case convert.LooksMistyped(account):
		c.problem(line, fmt.Sprintf("%+q begins or ends with a blank, or has a character that cannot be seen", account))
	case c.lines[account] > 0:
		c.problem(line, fmt.Sprintf("%q is a duplicate of %d", account, c.lines[account]))
	default:
		if c.lines == nil {
			c.lines = map[string]int{}
		}
		c.lines[account] = line
		c.accounts = append(c.accounts, strings.Clone(account))
		return
	}
}

func (c *checked) done() ([]string, error) {
	if c.count > maxProblems {
		c.problems = errors.Join(c.problems, fmt.Errorf("and %d more", c.count-maxProblems))
	}
	if c.problems != nil {
		return nil, c.problems
	}
	return c.accounts, nil
}
