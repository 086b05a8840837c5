package imrest

import (
	"context"
	"errors"
)

// appGroupsPage is how many ids AppGroups asks for. The vendor allows 10,000 (page 34960), but fails with 10018 where an answer is over
// 1 MB, and 48 bytes of an id may take six times that in JSON, if quotes and the like are written as \u0022. 3,000 then
// are 0.9 MB, and more would save next to nothing: reading the groups takes 60 calls for each of these.
const appGroupsPage = 3000

// AppGroupsPage is a part of the list of an app's groups.
type AppGroupsPage struct {
	IDs []string
	// Next is what the next page is asked for with, 0 after the last one.
	Next uint64
}

type appGroupsRequest struct {
	Limit int    `json:"Limit"`
	Next  uint64 `json:"Next"`
}

type appGroupsAnswer struct {
	status
	Total  *int `json:"TotalCount"`
	Groups []struct {
		ID string `json:"GroupId"`
	} `json:"GroupIdList"`
	Next uint64 `json:"Next"` // left out it is 0: the end
}

// AppGroups lists a part of the ids of all groups of the app, whatever their type (get_appid_group_list, page 34960), about 3,000 at a
// time; from is 0 for the beginning, and then the Next of the page before. Groups that are made or disbanded meanwhile may be
// in the list or not. Nothing promises that the pages come to an end: whoever follows them has to see to that. Like Groups it lets other
// calls go first; and it is made once a second at most, since the vendor allows no more.
func (c *Client) AppGroups(ctx context.Context, from uint64) (AppGroupsPage, error) {
	var got appGroupsAnswer
	err := c.do(ctx, call{api: apiAppGroups, sweep: true, body: appGroupsRequest{Limit: appGroupsPage, Next: from}, decode: func(a answer) error {
		got = appGroupsAnswer{}
		if err := a.decode(&got); err != nil {
			return err
		}
		if err := got.check(a); err != nil {
			return err
		}
		return got.complete()
	}})
	if err != nil {
		return AppGroupsPage{}, err
	}
	page := AppGroupsPage{IDs: make([]string, len(got.Groups)), Next: got.Next}
	for i, group := range got.Groups {
		page.IDs[i] = group.ID
	}
	return page, nil
}

func (a appGroupsAnswer) complete() error {
	if a.Groups == nil && (a.Total == nil || *a.Total != 0) {
		return errors.New("it has no GroupIdList")
	}
	for _, group := range a.Groups {
		if group.ID == "" {
			return errors.New("a group has no GroupId")
		}
	}
	return nil
}
