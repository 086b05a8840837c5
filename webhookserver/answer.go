package webhookserver

import (
	"net/http"
	"strconv"

	"github.com/groupgate/groupgate/internal/im/callback"
	"github.com/groupgate/groupgate/internal/policy"
)

// answer is what goes over the wire.
type answer struct {
	status int
	body   []byte
	header string   // name of one more header, "" for none
	value  []string // of that header
}

// The answers that need no thought are encoded once. None of them says more
// than its receiver knows already: a policy's name or the reason of a refusal
// would tell a stranger where to try next.
var (
	// continues lets the IM backend go on: a join with its own approval, a
	// callback after the fact with nothing.
	continues = encoded(http.StatusOK, callback.Answer{OK: true})
	// rejected refuses a join without words of a policy; the client sees 10016.
	rejected = encoded(http.StatusOK, callback.Answer{OK: true, Code: policy.RefuseCode, Info: "rejected"})
	// unreadableJoin refuses a join that cannot be made out. An HTTP error
	// would admit it.
	unreadableJoin = encoded(http.StatusOK, callback.Answer{OK: true, Code: policy.RefuseCode, Info: "unreadable request"})

	notFound         = refusal(http.StatusNotFound, "no such path")
	methodNotAllowed = refusal(http.StatusMethodNotAllowed, "use POST").with("Allow", http.MethodPost)
	// bodyTooLarge closes: what is left of the body is not worth reading.
	bodyTooLarge   = refusal(http.StatusRequestEntityTooLarge, "body too large").with("Connection", "close")
	noSnapshot     = refusal(http.StatusServiceUnavailable, "not ready")
	foreignApp     = refusal(http.StatusForbidden, "unknown SdkAppid")
	unauthorized   = refusal(http.StatusUnauthorized, "not authenticated")
	unreadableBody = refusal(http.StatusBadRequest, "unreadable request")
	wrongCommand   = refusal(http.StatusBadRequest, "CallbackCommand of query and body differ")
	internalError  = refusal(http.StatusInternalServerError, "internal error")
)

// refusal is an answer to somebody who is not known to be the vendor, or to a
// callback that decides nothing.
func refusal(status int, info string) *answer {
	return encoded(status, callback.Answer{Code: policy.RefuseCode, Info: info})
}

func encoded(status int, a callback.Answer) *answer {
	return &answer{status: status, body: a.AppendJSON(nil)}
}

func (a *answer) with(header, value string) *answer {
	a.header, a.value = header, []string{value}
	return a
}

// countedBody is the length from which on net/http does not wait for the end
// of an answer, and so cannot tell Content-Length by itself. Below, leaving it
// to net/http is cheaper: it keeps a second value out of the map of headers,
// which is made, copied and sorted for every answer.
const countedBody = 2 << 10

// Values of headers, shared by all answers: net/http only reads them.
var (
	contentTypeJSON = []string{"application/json; charset=utf-8"}
	connectionClose = []string{"close"}
)

// write sends the answer. A failure to write is not reported: whoever asked is
// gone, and nobody else wants to know.
func (a *answer) write(w http.ResponseWriter, lastOnConnection bool) {
	header := w.Header()
	header["Content-Type"] = contentTypeJSON
	if len(a.body) >= countedBody {
		header["Content-Length"] = []string{strconv.Itoa(len(a.body))}
	}
	if a.header != "" {
		header[a.header] = a.value
	}
	if lastOnConnection {
		header["Connection"] = connectionClose
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}
