package callback

import (
	"strconv"

	"github.com/groupgate/groupgate/internal/jsontext"
)

// Answer is the answer to a callback (page 34354).
type Answer struct {
	// OK is ActionStatus: the callback was processed. A refusal is OK with a Code; what FAIL does to a join is
	// undocumented.
	OK bool
	// Code is ErrorCode. For a before-join command 0 lets the vendor go on, 1 refuses with a fixed text (the client
	// sees 10016), and 10100 to 10200 refuse with this code and Info.
	Code int32
	// Info is ErrorInfo. The client sees it with a code of 10100 to 10200.
	Info string
	// Refused are the accounts of an invitation that may not join while the others may; only with Code 0 (page 34371).
	Refused []string
}

// AppendJSON appends the answer as one JSON object. The order of its fields is fixed, and it is valid JSON whatever
// bytes the strings hold: those that are not UTF-8 become U+FFFD.
func (a Answer) AppendJSON(b []byte) []byte {
	if a.OK {
		b = append(b, `{"ActionStatus":"OK","ErrorInfo":`...)
	} else {
		b = append(b, `{"ActionStatus":"FAIL","ErrorInfo":`...)
	}
	b = jsontext.AppendString(b, a.Info)
	b = append(b, `,"ErrorCode":`...)
	b = strconv.AppendInt(b, int64(a.Code), 10)
	if len(a.Refused) > 0 {
		b = append(b, `,"RefusedMembers_Account":`...)
		separator := byte('[')
		for _, account := range a.Refused {
			b = jsontext.AppendString(append(b, separator), account)
			separator = ','
		}
		b = append(b, ']')
	}
	return append(b, '}')
}
