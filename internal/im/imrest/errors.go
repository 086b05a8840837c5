package imrest

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"
)

// Class says what can be done about a failed call.
type Class string

const (
	// ClassTransient means: the network or the vendor failed. All calls of this package may be repeated safely, and
	// have been before the error is returned.
	ClassTransient Class = "Transient"
	// ClassThrottled means: the app calls too often, or has to wait; see Error.RetryAfter.
	ClassThrottled Class = "Throttled"
	// ClassUnauthorized means: the key, the admin account or its permission, the SDKAppID or the region is wrong, or
	// the app is disabled. It lasts until that is changed.
	ClassUnauthorized Class = "Unauthorized"
	// ClassGroupGone means: the group does not exist.
	ClassGroupGone Class = "GroupGone"
	// ClassUnsupported means: not for groups of this type. Live rooms (AVChatRoom) have no member list, and no
	// removals. The vendor has no code for it: 10004 and 10007 have other causes, too.
	ClassUnsupported Class = "Unsupported"
	// ClassPermanent means: the vendor refuses for another reason, which a repetition does not change. It includes
	// codes that are not documented.
	ClassPermanent Class = "Permanent"
)

// Error is a failed call of the REST API. It holds neither a URL nor a secret.
type Error struct {
	// API is the command of the call, such as get_group_info.
	API string
	// Code is the vendor's ErrorCode (page 34348), 0 without a readable response.
	Code int
	// Info is the vendor's ErrorInfo, one line of at most 256 bytes.
	Info string
	// HTTPStatus is the status of the response, 0 without one.
	HTTPStatus int
	// Class says what can be done.
	Class Class
	// RetryAfter is how long the client sends no call; 0 if the vendor demands no pause.
	RetryAfter time.Duration
	// Err is the failure of the network or of reading the response, nil if the vendor answered.
	Err error

	unsent  bool // the failure of another call, which this one would share
	unbegun bool // no byte of the body was sent
}

// Error implements error.
func (e *Error) Error() string {
	var text strings.Builder
	text.WriteString(e.API)
	if e.Code != 0 {
		fmt.Fprintf(&text, ": code %d", e.Code)
	}
	if e.HTTPStatus != 0 && e.HTTPStatus != 200 {
		fmt.Fprintf(&text, ": HTTP status %d", e.HTTPStatus)
	}
	if e.Info != "" {
		text.WriteString(": " + e.Info)
	}
	if e.Err != nil {
		text.WriteString(": " + e.Err.Error())
	}
	return text.String()
}

// outage reports whether other calls would fail, too: the host is unreachable, what answers is not the API, or it
// reports that what is behind it fails. Other transient failures, 10002 and incomplete answers, may be about one group.
func (e *Error) outage() bool {
	if e.Class != ClassTransient {
		return false
	}
	return e.HTTPStatus != http.StatusOK || e.Code >= 20000 || errors.Is(e.Err, errNotJSON)
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// ClassOf returns the class of a failed call, "" for other errors: a context that ended, ErrTooLate, or a mistake of
// the caller.
func ClassOf(err error) Class {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class
	}
	return ""
}

// Commands of the REST API, as they stand in its URLs and in Error.API.
const (
	apiGroupInfo       = "get_group_info"
	apiMembers         = "get_group_member_info"
	apiMembersNamed    = "get_specified_group_member_info"
	apiDeleteMembers   = "delete_group_member"
	apiAddMembers      = "add_group_member"
	apiAppGroups       = "get_appid_group_list"
	apiSendMessage     = "send_group_msg"
	serviceGroup       = "group_open_http_svc"
	codeUserSigExpired = 70001
)

// classOfCode classes the vendor's codes (page 34348). For a live room the vendor answers 10004 to a removal and 10007
// to other calls about members, but the codes do not tell that: callers know the type of the group. They say that a
// parameter, which may be one of the accounts, or the permission of the admin account is wrong.
func classOfCode(code int) Class {
	switch code {
	case 10002, 20004, 20005, 60008, 60013, 60014, 70169, 70202, 70500, 90992, 90994, 90995, 91000:
		return ClassTransient
	case 10006, 60007, 60011, 60018, 60019, 60028, 70050:
		return ClassThrottled
	case 10010, 10015:
		return ClassGroupGone
	case 10007, 10008, 10012, 60004, 60005, 60006, 60010, 60016, 60017, 60020, 60021, 60026, 60027,
		codeUserSigExpired, 70002, 70003, 70005, 70009, 70013, 70014, 70016, 70020, 70051, 90009:
		return ClassUnauthorized
	}
	return ClassPermanent
}

// Pauses that the vendor asks for, or that its documentation makes sensible.
const (
	verificationPause = time.Minute      // 70050: too many failed verifications, and more of them only prolong it
	quotaPause        = 10 * time.Minute // 60028: the trial's quota of 24 hours is used up; when it began is unknown
	frequencyPause    = time.Second      // the frequency limits count by the second
)

// pauseOfCode is the least time without calls after a code.
func pauseOfCode(code int) time.Duration {
	switch code {
	case 70050:
		return verificationPause
	case 60028:
		return quotaPause
	case 10006, 60007, 60011, 60018, 60019:
		return frequencyPause
	}
	return 0
}

// needsNewSig reports whether a new UserSig may help.
func needsNewSig(code int) bool {
	return code == codeUserSigExpired || code == 60004 || code == 60005
}

const maxInfo = 256

// tidy makes one bounded line of the vendor's text, without secrets that the vendor might repeat from the request.
func tidy(info string, secrets ...string) string {
	for _, secret := range secrets {
		if secret != "" {
			info = strings.ReplaceAll(info, secret, "REDACTED")
		}
	}
	info = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(info, "\ufffd"))
	if len(info) > maxInfo {
		info = strings.ToValidUTF8(info[:maxInfo], "")
	}
	return strings.TrimSpace(info)
}
