package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/groupgate/groupgate/internal/lists"
)

// TestListsRefuseBadInput: such errors end the process with exit code 2, before the cluster is asked for anything.
func TestListsRefuseBadInput(t *testing.T) {
	file := filepath.Join(t.TempDir(), "vip.csv")
	if err := os.WriteFile(file, []byte("ann\nbob \nann\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args []string
		want []string
	}{
		"no such command": {[]string{"clear", "vip"}, []string{`no command "clear"`, "sync, add, remove or diff"}},
		"no name":         {[]string{"sync", "--from", file}, []string{"sync takes the name of a list"}},
		"two names":       {[]string{"diff", "vip", "ann"}, []string{"accounts are in the file"}},
		"name":            {[]string{"add", "VIP", "ann"}, []string{`"VIP" cannot be the name of a list`}},
		"no account":      {[]string{"add", "vip"}, []string{"one account or more"}},
		"empty account":   {[]string{"remove", "vip", ""}, []string{"must not be empty"}},
		"added twice":     {[]string{"add", "vip", "ann", "ann"}, []string{`"ann" is a duplicate of 1`}},
		"no file":         {[]string{"sync", "vip"}, []string{"--from"}},
		"no such file":    {[]string{"sync", "vip", "--from", "nowhere.csv"}, []string{"nowhere.csv"}},
		"lines":           {[]string{"sync", "vip", "--from", file}, []string{file, "line 2:", "line 3:", "of 1"}},
		"standard input":  {[]string{"diff", "vip", "--from", "-"}, []string{"standard input", "line 1:"}},
		"flag":            {[]string{"add", "vip", "ann", "--from", file}, []string{"unknown flag: --from"}},
		"all namespaces":  {[]string{"add", "vip", "ann", "-A"}, []string{"one namespace"}},
		"no cluster":      {[]string{"add", "vip", "ann", "--kubeconfig=nowhere"}, []string{"nowhere"}},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := runCommand(listsCommand(), "ann \n", tc.args...)
			if _, bad := errors.AsType[badInputError](err); !bad {
				t.Fatalf("error %v, want bad input", err)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want in it %q", err, want)
				}
			}
			if out != "" {
				t.Errorf("printed %q", out)
			}
		})
	}
}

func TestListsSayWhatTheyDid(t *testing.T) {
	two, six := []string{"vip.3", "vip.f"}, make([]string, 6)
	for want, tc := range map[string]struct {
		lists.Result
		dryRun, failed bool
	}{
		"vip: 0 added, 0 removed, 7 unchanged. Nothing was written.": {},
		"vip: 2 added, 1 removed, 7 unchanged. Written: AccountList vip.3, vip.f.": {
			Result: lists.Result{Added: 2, Removed: 1, Shards: two},
		},
		"vip: 9 added, 0 removed, 7 unchanged. Written: 6 AccountLists.": {
			Result: lists.Result{Added: 9, Shards: six},
		},
		"vip: 2 to add, 1 to remove, 7 unchanged. Nothing was written.": {
			Result: lists.Result{Added: 2, Removed: 1}, dryRun: true,
		},
		"vip: 2 added, 0 removed, and then it failed: run it again. Written: AccountList vip.3, vip.f.": {
			Result: lists.Result{Added: 2, Shards: two}, failed: true,
		},
	} {
		o := listsOptions{List: lists.List{Name: "vip", DryRun: tc.dryRun}}
		if got := o.summary(tc.Result, 7, tc.failed); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// What is on a list was not always checked: the API server takes any characters.
func TestDiffShowsWhatATerminalWouldObey(t *testing.T) {
	got := differenceText("vip", lists.Difference{
		Remove: []string{"a\x1b[2J", "b\n+c", "d "}, Add: []string{"jürg"}, Total: 3,
	})
	want := `-"a\x1b[2J"` + "\n" + `-"b\n+c"` + "\n" + `-"d "` + "\n+jürg\nvip: 3 accounts, 1 to add, 3 to remove.\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
