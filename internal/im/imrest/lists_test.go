package imrest

import (
	"strings"
	"testing"
	"time"

	"github.com/groupgate/groupgate/internal/im"
)

// A list that is left out must not read as an empty one: absent accounts would count as removed, a page as the last.
func TestSuccessWithoutTheListIsAFailedCall(t *testing.T) {
	for name, tc := range map[string]struct {
		call func(c *Client) error
		list string
	}{
		"a group": {func(c *Client) error {
			_, err := c.Group(t.Context(), "g", time.Time{})
			return err
		}, "GroupInfo"},
		"groups": {func(c *Client) error {
			_, _, err := c.Groups(t.Context(), []string{"g"})
			return err
		}, "GroupInfo"},
		"groups of the app": {func(c *Client) error {
			_, err := c.AppGroups(t.Context(), 0)
			return err
		}, "GroupIdList"},
		"members named": {func(c *Client) error {
			_, _, err := c.MembersNamed(t.Context(), "g", []string{"a"}, time.Time{})
			return err
		}, "MemberList"},
		"members of a community": {func(c *Client) error {
			_, err := list(t, c, Group{ID: "g", Type: im.TypeCommunity, Members: 100_000})
			return err
		}, "MemberList"},
		"members": {func(c *Client) error {
			_, err := list(t, c, Group{ID: "g", Type: im.TypePublic})
			return err
		}, "MemberList"},
		"added members": {func(c *Client) error {
			_, err := c.AddMembers(t.Context(), "g", []string{"a"})
			return err
		}, "MemberList"},
	} {
		for lack, field := range map[string]string{"left out": "", "null": `,"` + tc.list + `":null`} {
			t.Run(name+" "+lack, func(t *testing.T) {
				v := newVendor(t, always(200, `{"ActionStatus":"OK","ErrorCode":0,"MemberNum":0`+field+`}`))
				err := tc.call(v.client(t))
				if ClassOf(err) != ClassTransient || !strings.Contains(err.Error(), tc.list) {
					t.Errorf("%v (class %q), want %s, naming %s", err, ClassOf(err), ClassTransient, tc.list)
				}
			})
		}
	}
}
