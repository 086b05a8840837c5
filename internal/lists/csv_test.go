package lists

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadCSV(t *testing.T) {
	long := strings.Repeat("x", 33)
	for name, tc := range map[string]struct {
		text, column string
		want         []string
		problems     []string
	}{
		"one a line":             {text: "ann\nbob\n", want: []string{"ann", "bob"}},
		"no newline":             {text: "ann\nbob", want: []string{"ann", "bob"}},
		"Windows":                {text: "ann\r\nbob\r\n\r\n", want: []string{"ann", "bob"}},
		"byte order mark":        {text: "\ufeffann\nbob\n", want: []string{"ann", "bob"}},
		"header":                 {text: "account\nann\n", want: []string{"ann"}},
		"column":                 {text: "since,account\n2024,ann\n\"2, 3\",bob\n", want: []string{"ann", "bob"}},
		"named column":           {text: "id,account\n17,ann\n18,bob\n", column: "id", want: []string{"17", "18"}},
		"blank inside":           {text: "ann lee\n", want: []string{"ann lee"}},
		"32 wide characters":     {text: strings.Repeat("\u9f8d", 32), want: []string{strings.Repeat("\u9f8d", 32)}},
		"empty":                  {},
		"empty with column":      {column: "id", problems: []string{"the file is empty"}},
		"header, one column":     {text: "user_id\nann\n", problems: []string{`line 1: "user_id" looks like`, "--column"}},
		"capitals in the header": {text: "Account\nann\n", problems: []string{`line 1: "Account" looks like`}},
		"Chinese header":         {text: "用户ID\nann\n", problems: []string{"line 1", "--column"}},
		"named, one column":      {text: "user_id\nann\n", column: "user_id", want: []string{"ann"}},
		"column name below":      {text: "ann\nuser_id\n", want: []string{"ann", "user_id"}},
		"no such column":         {text: "id,name\n17,ann\n", column: "uid", problems: []string{`line 1: there is no column "uid" among id, name`}},
		"unnamed columns":        {text: "17,ann\n", problems: []string{"line 1: there are 2 columns", "--column"}},
		"ragged":                 {text: "id,account\n17,ann\n18\n", problems: []string{"line 3", "number of fields"}},
		"quote":                  {text: "ann\nb\"ob\n", problems: []string{"line 2", `bare "`}},
		"all problems": {
			text: "ann\n bob\n\ncarl\t\nann\n" + long + "\n\xff\n",
			problems: []string{
				`line 2: " bob" begins or ends with a blank`, "line 3: is blank", `line 4: "carl\t"`,
				`line 5: "ann" is a duplicate of 1`, "line 6: ", "33 characters", `line 7: "\xff" is not UTF-8`,
			},
		},
		"empty field":   {text: "account,name\n,Ann\n", problems: []string{"line 2: is blank"}},
		"many problems": {text: "a\n" + strings.Repeat("a\n", 25), problems: []string{"line 11", "and 15 more"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ReadCSV(strings.NewReader(tc.text), tc.column)
			if (err != nil) != (tc.problems != nil) {
				t.Fatalf("error %v, want %q", err, tc.problems)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want,+got)\n%s", diff)
			}
			for _, want := range tc.problems {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error\n%v\nwant in it %q", err, want)
				}
			}
		})
	}
}

func TestAccountsOfACommandLineAreChecked(t *testing.T) {
	if err := CheckAccounts([]string{"ann", "bob"}); err != nil {
		t.Error(err)
	}
	err := CheckAccounts([]string{"ann", "", "ann", "eve "})
	for _, want := range []string{"account 2: is blank", `account 3: "ann" is a duplicate of 1`, `account 4: "eve "`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want in it %q", err, want)
		}
	}
}
