package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/groupgate/groupgate/internal/lab"
)

// TestStory tells the story once, and looks for what the pages say that it shows, in this order.
func TestStory(t *testing.T) {
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	binary, err := lab.Build(t.TempDir(), true)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(t.Context(), &out, binary, true); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	result := func(what, got string) string { return fmt.Sprintf("   %-52s %s\n", what, got) }
	const staffOnly = `refused: 10150 "Staff and VIPs only"`
	rest := out.String()
	for _, want := range []string{
		"1. A control plane\n",
		result("jared applies to join vip-berlin", "admitted"),
		result("stranger applies to join vip-berlin", `refused: 10110 "Members only"`),
		result("mallory is invited", "refused"),
		result("tommy applies to join vip-berlin", "the group is full"),
		result("members of vip-berlin now", "38 of 40"),
		result("boris, who has just said hello", "still a member"),
		result("chen, silent for 120 days", "removed"),
		result("chen applies to join club-oslo", `refused: 10140 "You were inactive, come back next week"`),
		result("members of club-oslo now", "60 of 60"),
		"No gate for a moment: a stranger gets in\n",
		result("sam applies to join backstage-1", staffOnly),
		"the only replica is stopped",
		result("sam applies to join backstage-1", "admitted"),
		result("eve applies to join backstage-1", staffOnly),
		result("sam in backstage-1", "a member"),
		"A round finds members that the gate refuses\n",
		"   sam  NotListed  backstage\n",
		result("sam in backstage-1", "not a member"),
		result("jared in backstage-1", "a member"),
		"The list was wrong: it is corrected, then the eviction is undone\n",
		result("sam in backstage-1", "a member"),
		result(`the page says "1 plan waits for approval."`, "true"),
		"That was the whole story.\n",
	} {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("the story does not say %q where it should:\n%s", want, out.String())
		}
		rest = after
	}
}
