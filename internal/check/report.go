package check

import (
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
)

// Result is how a check ended.
type Result string

// The results.
const (
	OK      Result = "ok"
	Warning Result = "warning"
	Failure Result = "failure"
)

// Line is the result of one check, or of one object in it.
type Line struct {
	Check  string `json:"check"`
	Result Result `json:"result"`
	// Message says what was found, and ToDo what to do about it; the latter is empty where all is well.
	Message string `json:"message"`
	ToDo    string `json:"toDo,omitempty"`

	noAnswer bool // of the API server
}

// Report is the output of `groupgate check`, in order. Its JSON is that of -o json.
type Report struct {
	Checks   []Line `json:"checks"`
	Failures int    `json:"failures"`
	Warnings int    `json:"warnings"`
}

func (r *Report) add(lines ...Line) {
	for _, line := range lines {
		switch line.Result {
		case Failure:
			r.Failures++
		case Warning:
			r.Warnings++
		}
		r.Checks = append(r.Checks, line)
	}
}

// Sentence is the report as text.
func (r *Report) Sentence() string {
	var text strings.Builder
	for _, line := range r.Checks {
		fmt.Fprintf(&text, "%-8s  %s: %s\n", line.Result, line.Check, line.Message)
		if line.ToDo != "" {
			fmt.Fprintf(&text, "%10sTo do: %s\n", "", line.ToDo)
		}
	}
	fmt.Fprintf(&text, "%d ok, %d warnings, %d failures\n",
		len(r.Checks)-r.Failures-r.Warnings, r.Warnings, r.Failures)
	return text.String()
}

// Table is empty: a report is lines.
func (r *Report) Table() [][]string { return nil }

// Advice is empty: what to do stands below each line.
func (r *Report) Advice() []string { return nil }

// topic makes the lines of one check.
type topic string

func (t topic) ok(format string, args ...any) Line {
	return Line{Check: string(t), Result: OK, Message: fmt.Sprintf(format, args...)}
}

func (t topic) warn(toDo, format string, args ...any) Line {
	return Line{Check: string(t), Result: Warning, Message: fmt.Sprintf(format, args...), ToDo: toDo}
}

func (t topic) fail(toDo, format string, args ...any) Line {
	return Line{Check: string(t), Result: Failure, Message: fmt.Sprintf(format, args...), ToDo: toDo}
}

// notRead is the line for what the API server did not let this user read, or did not answer.
func (t topic) notRead(err error) Line {
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
		return t.warn("repeat it as a user who may, or leave it to one", "not checked: %s", reason(err))
	}
	var answer apierrors.APIStatus
	if !errors.As(err, &answer) && !apimeta.IsNoMatchError(err) {
		line := topic("API server").fail(
			"look at it, and at the kubeconfig; until it answers, only the callback URL is checked",
			"no answer: %s", reason(err))
		line.noAnswer = true
		return line
	}
	return t.fail("look at the API server, and whether the CustomResourceDefinitions are installed",
		"not readable: %s", reason(err))
}

// reason is the message of an error in one line.
func reason(err error) string {
	if status, ok := errors.AsType[*apierrors.StatusError](err); ok {
		err = status
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}
