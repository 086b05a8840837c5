package notices

import (
	"fmt"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// Outcome is what became of sending a notice once.
type Outcome struct {
	Result v1alpha1.NoticeResult
	// Message says why it was not sent, or what is unknown. It names no address, since everybody may read it who may
	// read the run. Empty if it was sent.
	Message string
	// Err is the same with all details, for the log of the manager. It holds no secret.
	Err error
}

func sent() Outcome { return Outcome{Result: v1alpha1.NoticeResultSent} }

func notSent(err error, format string, args ...any) Outcome {
	return Outcome{Result: v1alpha1.NoticeResultNotSent, Message: fmt.Sprintf(format, args...), Err: err}
}

func unknown(err error, format string, args ...any) Outcome {
	return Outcome{Result: v1alpha1.NoticeResultUnknown, Message: fmt.Sprintf(format, args...), Err: err}
}
