package page

import (
	"errors"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/groupgate/groupgate/internal/runs"
)

// Refusal is an error that is shown to the client.
type Refusal struct { //nolint:errname // what is shown is no failure of the page, but what it answers
	// Status is that of the answer.
	Status int
	// Text is a sentence, in English, and Advice another, which says what to do, with the verbs of Args.
	Text, Advice string
	Args         []any
	// RetryAfter is when to try again, if that is known, and Allow the methods that are.
	RetryAfter time.Duration
	Allow      string
}

func (e *Refusal) Error() string { return e.Text }

// problem is what is shown instead of a page.
type problem struct {
	status       int
	text, advice string
	// args are for the verbs of advice.
	args []any
	// Detail is what the API server said; it is not translated.
	detail string
}

func (p *problem) Text() string   { return p.text }
func (p *problem) Advice() string { return p.advice }
func (p *problem) Detail() string { return p.detail }

// problemOf says in words what an error means for the viewer. known is false for errors that should be logged.
func problemOf(err error) (p problem, known bool) {
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		return problem{status: refusal.Status, text: refusal.Text, advice: refusal.Advice, args: refusal.Args}, true
	}
	p = problem{status: http.StatusBadGateway, detail: err.Error()}
	var status apierrors.APIStatus
	switch {
	case mayNotImpersonate(err):
		p.status = http.StatusForbidden
		p.text = "The page may not act for you."
		p.advice = "Ask the people who run the cluster for the roles of config/page."
	case apierrors.IsForbidden(err):
		p.status = http.StatusForbidden
		p.text = "You may not do this."
		p.advice = "The API server refused it with your rights. Ask the people who run the cluster for a role. " +
			"To look takes the ClusterRole %s, to decide also %s."
		p.args = []any{runs.ViewerRole, runs.ApproverRole}
	case apierrors.IsUnauthorized(err):
		p.status = http.StatusUnauthorized
		p.text = "The API server does not know you."
		p.advice = "Sign in again, on a laptop as you do for kubectl."
	case apierrors.IsNotFound(err):
		p.status = http.StatusNotFound
		p.text = "There is no such thing any more."
		p.advice = "It may have been deleted; go back to the list."
	case errors.As(err, &status):
		p.text = "The API server gave no answer that can be shown."
		p.advice = "Try again in a minute."
		return p, false
	default:
		p.text = "The cluster cannot be reached."
		p.advice = "Try again in a minute."
		return p, false
	}
	return p, true
}
