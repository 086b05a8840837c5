package browser

import (
	"testing"

	"github.com/groupgate/groupgate/internal/im/emulator"
)

// Why was mallory refused? From the list of refusals to the reason, and by asking directly.
func TestAsk(t *testing.T) {
	w := newWorld(t)
	const group = "vip-ask"
	must(w.im.CreateGroup(t.Context(), emulator.GroupSpec{
		ID: group, Type: "Public", Owner: "olivia", MaxMembers: 10, ApplyJoinOption: "FreeAccess",
	}))(t)
	for _, account := range []string{"mallory", "stranger"} {
		if outcome := must(w.im.Apply(t.Context(), group, account))(t); outcome.Result != emulator.ResultRefused {
			t.Errorf("%s: %+v", account, outcome)
		}
	}
	x := w.open(t, maria, habits{})
	x.visit("/refused?app=" + app + "&group=" + group)
	x.shows("mallory", "stranger", "10120", "You cannot join groups at the moment", "10110", "Members only")

	x.click(`//main//a[starts-with(normalize-space(), "Ask why") and contains(., "mallory")]`)
	x.shows("mallory", group, "10120", "banned")

	x.click(link("Ask"))
	x.fill("group", group)
	x.fill("account", "jared")
	x.click(`//main//button[normalize-space()="Ask"]`)
	x.shows("jared", "vip-lounge")
	x.hides("10120")
}

// A viewer chooses language and time zone for this browser.
func TestSettings(t *testing.T) {
	x := newWorld(t).open(t, viktor, habits{})
	x.click(link("Settings"))
	x.choose("language", "zh-Hans")
	x.fill("zone", "Asia/Shanghai")
	x.click(`//main//button`)
	x.visit("/settings")
	x.shows("设置", "UTC+08")
	x.hides("Settings")
}
