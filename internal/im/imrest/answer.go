package imrest

import "strings"

// MemberPage is what one answer of get_group_member_info or get_specified_group_member_info holds.
type MemberPage struct {
	Members []Member
	// Total is the number of members of the group, 0 if the answer does not say.
	Total int
	// More says that the list goes on in another answer, as far as this one says so.
	More bool
}

// DecodeMembers reads an answer that was kept. An error is about a text that is no such answer, or one of a failure.
func DecodeMembers(answer []byte) (MemberPage, error) {
	var got memberListResponse
	if err := (response{api: apiMembers, body: answer}).read(&got); err != nil {
		return MemberPage{}, err
	}
	if err := checkAccounts(got.Members); err != nil {
		return MemberPage{}, err
	}
	page := MemberPage{More: got.Next != ""}
	if got.MemberNum != nil {
		page.Total = *got.MemberNum
	}
	for _, info := range got.Members {
		if strings.TrimSpace(info.Role) != vendorNotMember {
			page.Members = append(page.Members, info.member())
		}
	}
	return page, nil
}
