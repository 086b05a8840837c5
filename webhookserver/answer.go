package webhookserver

import (
	"net/http"
	"strconv"

	"github.com/groupgate/groupgate/internal/im/callback"
	"github.com/groupgate/groupgate/internal/policy"
)

// answer is an HTTP answer.
type answer struct {
	status int
	body   []byte
	header string   // name of one more header, "" for none
	value  []string // of that header
}

// The constant answers are encoded once. None says more than its receiver knows already: the name of a policy or the
// reason of a refusal would tell a stranger where to try next.
var (
	// continues lets the IM backend go on.
	continues = encoded(http.StatusOK, callback.Answer{OK: true})
	// rejected refuses a join without a policy's message; the client sees 10016.
	rejected = encoded(http.StatusOK, callback.Answer{OK: true, Code: policy.RefuseCode, Info: "rejected"})
	// unreadableJoin refuses a join that cannot be parsed. An HTTP error would admit it.
	unreadableJoin = encoded(http.StatusOK,
		callback.Answer{OK: true, Code: policy.RefuseCode, Info: "unreadable request"})
	// joinTooLarge refuses a join whose body is not read, and closes the connection as bodyTooLarge does.
	joinTooLarge = encoded(http.StatusOK,
		callback.Answer{OK: true, Code: policy.RefuseCode, Info: "request too large"}).with("Connection", "close")

	notFound         = httpError(http.StatusNotFound, "no such path")
	methodNotAllowed = httpError(http.StatusMethodNotAllowed, "use POST").with("Allow", http.MethodPost)
	// bodyTooLarge closes the connection: the rest of the body is not worth reading.
	bodyTooLarge   = httpError(http.StatusRequestEntityTooLarge, "body too large").with("Connection", "close")
	noSnapshot     = httpError(http.StatusServiceUnavailable, "not ready")
	foreignApp     = httpError(http.StatusForbidden, "unknown SdkAppid")
	unauthorized   = httpError(http.StatusUnauthorized, "not authenticated")
	unreadableBody = httpError(http.StatusBadRequest, "unreadable request")
	wrongCommand   = httpError(http.StatusBadRequest, "CallbackCommand of query and body differ")
	internalError  = httpError(http.StatusInternalServerError, "internal error")
)

// httpError answers a client that is not known to be the vendor, or a callback that cannot be taken for a decision. To
// the vendor it is a failure, which admits by default.
func httpError(status int, info string) *answer {
	return encoded(status, callback.Answer{Code: policy.RefuseCode, Info: info})
}

func encoded(status int, a callback.Answer) *answer {
	return &answer{status: status, body: a.AppendJSON(nil)}
}

func (a *answer) with(header, value string) *answer {
	a.header, a.value = header, []string{value}
	return a
}

// countedBody is the length from which on net/http sends an answer in chunks unless Content-Length is set. Below,
// net/http sets it, without another entry in the map of headers.
const countedBody = 2 << 10

// Values of headers, shared by all answers: net/http only reads them.
var (
	contentTypeJSON = []string{"application/json; charset=utf-8"}
	connectionClose = []string{"close"}
)

// write sends the answer. A failure to write has no receiver: the client is gone.
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
