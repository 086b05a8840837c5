package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// position is how far a round is: after a group among those that policies name exactly, or at a page of the list of
// groups, after one of that page. The zero value is the beginning.
type position struct {
	listing bool
	page    uint64
	after   string
}

const positionAfter = "after "

func (p position) String() string {
	var parts []string
	if p.listing {
		parts = append(parts, "page "+strconv.FormatUint(p.page, 10))
	}
	if p.after != "" {
		parts = append(parts, positionAfter+p.after)
	}
	return strings.Join(parts, " ")
}

// parsePosition reads what String wrote. Anything else is the beginning.
func parsePosition(text string) (p position) {
	if rest, ok := strings.CutPrefix(text, "page "); ok {
		number, after, _ := strings.Cut(rest, " ")
		page, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			return position{}
		}
		p, text = position{listing: true, page: page}, after
	}
	p.after, _ = strings.CutPrefix(text, positionAfter)
	return p
}

// timestamp is a time as a status holds it.
func timestamp(at time.Time) metav1.Time { return metav1.NewTime(at).Rfc3339Copy() }

// resume reads the latest round at the beginning of a term. base is what is enforced as the term begins: if it is not
// what the last leader looked at, an edit was missed.
func (a *appRound) resume(ctx context.Context, number uint64, base string) error {
	if a.term == number {
		return nil
	}
	var app v1alpha1.IMApp
	err := a.Live.Get(ctx, client.ObjectKey{Namespace: a.object.Namespace, Name: a.object.Name}, &app)
	switch {
	case apierrors.IsNotFound(err), err == nil && string(app.UID) != a.object.UID:
		return errAppUnusable
	case err != nil:
		return fmt.Errorf("read the round of the app: %w", err)
	}
	a.restart()
	a.term, a.round, a.unsaved, a.saved = number, app.Status.Round, false, a.Now()
	a.missed, a.skipped, a.failing = time.Time{}, nil, failingGroup{}
	if a.round != nil {
		a.begun = a.round.StartedAt.Time
		if a.round.Rules != base {
			a.missed = a.Now()
		}
	}
	return nil
}

// saveProgress writes how far the round is, and up to which edits groups have been looked at, once a minute: a leader
// that finds other rules begins a round.
func (a *appRound) saveProgress(ctx context.Context, changes changeState) error {
	if a.Now().Sub(a.saved) < roundSaves {
		return nil
	}
	looked := changes.rules != "" && changes.rules != a.round.Rules && a.missed.IsZero() && len(a.skipped) == 0
	if looked {
		a.round.Rules = changes.rules
	}
	if !looked && !a.round.FinishedAt.IsZero() {
		return nil
	}
	return a.save(ctx)
}

// clear removes the round of an app without a policy that evicts.
func (a *appRound) clear(ctx context.Context) error {
	if a.round == nil && !a.unsaved {
		return nil
	}
	a.round = nil
	return a.save(ctx)
}

// statusOp is an operation of a JSON patch.
type statusOp struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// save writes the round, and nothing else, into the status of the app. It replaces the round that is there: a merge
// would keep what the new one leaves out.
func (a *appRound) save(ctx context.Context) error {
	a.unsaved = true
	round := statusOp{Op: "add", Path: "/status/round", Value: a.round}
	if a.round == nil {
		round = statusOp{Op: "remove", Path: round.Path}
	}
	body, err := json.Marshal([]statusOp{{Op: "test", Path: "/metadata/uid", Value: a.object.UID}, round})
	if err != nil {
		return fmt.Errorf("encode the round: %w", err)
	}
	target := &metav1.PartialObjectMetadata{
		ObjectMeta: metav1.ObjectMeta{Namespace: a.object.Namespace, Name: a.object.Name},
	}
	target.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kindApp))
	err = a.Client.Status().Patch(ctx, target, client.RawPatch(types.JSONPatchType, body))
	switch {
	case a.round == nil && apierrors.IsInvalid(err): // there is none
	case apierrors.IsNotFound(err):
		return errors.Join(errAppUnusable, err)
	case err != nil:
		return fmt.Errorf("write the round of the app: %w", err)
	}
	a.unsaved, a.saved = false, a.Now()
	return nil
}
