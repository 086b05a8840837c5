package notices

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/imrest"
	"github.com/groupgate/groupgate/internal/imclients"
	"github.com/groupgate/groupgate/internal/prunerun"
)

const (
	// attempts is how often a message is sent again that may have arrived. All of them begin within echo, in which the
	// vendor drops a message that it has already.
	attempts = 3
	echo     = 4 * time.Minute
	// between is the time between two of them.
	between = 2 * time.Second
)

// Group sends notices into the group that spec.notify of the IMApp names.
type Group struct {
	// Reader reads IMApps.
	Reader  client.Reader
	Clients *imclients.Pool
	// Page is the URL of the page, or empty.
	Page string
	Now  func() time.Time
}

// Names returns the app of the run, nil if that names no group, or the one from which the notice is withheld already.
func (g *Group) Names(ctx context.Context, run *v1alpha1.PruneRun) (*v1alpha1.IMApp, error) {
	var app v1alpha1.IMApp
	err := g.Reader.Get(ctx, client.ObjectKey{Namespace: run.Namespace, Name: run.Spec.AppRef.Name}, &app)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil //nolint:nilnil // there is nothing to send
	case err != nil:
		return nil, fmt.Errorf("read the app: %w", err)
	case app.Spec.Notify == nil, aboutItself(&app, run) &&
		prunerun.NoticeTo(run, v1alpha1.NoticeReceiverGroup) == v1alpha1.NoticeResultWithheld:
		return nil, nil //nolint:nilnil // there is nothing to send
	}
	return &app, nil
}

// aboutItself reports whether the plan of the run is about the group that app names.
func aboutItself(app *v1alpha1.IMApp, run *v1alpha1.PruneRun) bool {
	return app.Spec.Notify.Group == run.Spec.GroupID
}

// Send sends the message about a run whose plan awaits approval into the group that app names. Those whom the plan is
// about must not read it: it is withheld from their own group.
func (g *Group) Send(ctx context.Context, app *v1alpha1.IMApp, run *v1alpha1.PruneRun) Outcome {
	if aboutItself(app, run) {
		return Outcome{
			Result:  v1alpha1.NoticeResultWithheld,
			Message: "The plan is about the group that spec.notify of the IMApp names: its members would read it.",
		}
	}
	rest, err := g.Clients.Client(ctx, app)
	if err != nil {
		if missing, ok := errors.AsType[*imclients.CredentialsError](err); ok {
			return notSent(err, "%s", missing.Message)
		}
		return notSent(err, "The client of the vendor's REST API cannot be configured.")
	}
	defer g.Clients.Notice(app.UID)
	now := g.Now()
	message := imrest.Message{
		GroupID: app.Spec.Notify.Group, Text: Text(run, g.Page, app.Spec.Notify.Language, now), Random: random(run),
	}
	for attempt, doubtful := 1, false; ; attempt++ {
		err := rest.SendGroupMessage(ctx, message, now.Add(echo))
		doubtful = doubtful || err != nil && !imrest.HadNoEffect(err)
		switch {
		case err == nil:
			return sent()
		case !doubtful:
			return notSent(err, "Could not send the message: %s.", err)
		case attempt == attempts, g.Clients.Pause(ctx, between) != nil:
			return unknown(err, "Could not send the message, which may have arrived: %s.", err)
		}
	}
}

// random is the same for all messages about a run, in every process that sends them.
func random(run *v1alpha1.PruneRun) uint32 {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(run.UID))
	return sum.Sum32()
}
