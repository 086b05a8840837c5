package emulator

import "fmt"

// Codes of the REST API and of the clients (page 34348).
const (
	codeUnknownCommand   = 10003
	codeBadParameter     = 10004
	codeTooManyAccounts  = 10005
	codeNotPermitted     = 10007
	codeOwnerStays       = 10009
	codeNoSuchGroup      = 10010
	codeAlreadyMember    = 10013
	codeGroupFull        = 10014
	codeBadGroupID       = 10015
	codeRefused          = 10016
	codeAnswerTooLarge   = 10018
	codeNoSuchAccount    = 10019
	codeGroupIDTaken     = 10021
	codeGroupIDOwned     = 10025
	codeGroupLimit       = 10037
	codeGroupSize        = 10038
	codeTooManyMembers   = 10054
	codeFirstOwn         = 10100 // 10100 to 10200 are for the app backend
	codeLastOwn          = 10200
	codeBadRequest       = 60002
	codeBadJSON          = 60003
	codeNoIdentifier     = 60004
	codeBadSDKAppID      = 60006
	codeTooFrequent      = 60007
	codeBadURL           = 60009
	codeNotAdmin         = 60010
	codeNoSDKAppID       = 60012
	codeUserSigExpired   = 70001
	codeUserSigEmpty     = 70002
	codeUserSigMalformed = 70003
	codeUserSigWrongKey  = 70009
	codeUserSigOtherUser = 70013
	codeUserSigOtherApp  = 70014
	codeNoSuchApp        = 70020
	codeMessageTooLong   = 80002
)

// failure is an error as the vendor reports it: a code and a message inside HTTP 200. It is not an error of the
// emulator.
type failure struct {
	code int
	info string
}

func fail(code int, format string, args ...any) *failure {
	return &failure{code: code, info: fmt.Sprintf(format, args...)}
}

var (
	errNoSuchGroup = &failure{codeNoSuchGroup, "this group does not exist or was disbanded"}
	errGroupFull   = &failure{codeGroupFull, "the group is full: remove members or raise MaxMemberNum"}
)
