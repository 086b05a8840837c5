package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/imrest"
	"github.com/groupgate/groupgate/internal/imclients"
	"github.com/groupgate/groupgate/internal/policy"
	"github.com/groupgate/groupgate/internal/prunerun"
)

// errAppUnusable means that nothing can be done for an app now: it is suspended, deleted, recreated, or has no usable
// credentials.
var errAppUnusable = errors.New("the app cannot be looked at now")

// appCalls calls the vendor for one app, with the policies and the credentials of that moment, since both may change
// between two calls.
type appCalls struct {
	object  policy.Object
	reader  client.Reader
	store   snapshots
	clients *imclients.Pool
}

// app returns the app of the published snapshot.
func (a *appCalls) app() (*policy.CompiledApp, error) {
	snapshot := a.store.Load()
	if snapshot == nil {
		return nil, errAppUnusable
	}
	app := snapshot.AppNamed(a.object.Namespace, a.object.Name)
	if app == nil || app.Object().UID != a.object.UID || app.PruningSuspended() {
		return nil, errAppUnusable
	}
	return app, nil
}

func (a *appCalls) key(group string) prunerun.Key {
	return prunerun.Key{Namespace: a.object.Namespace, App: a.object.Name, Group: group}
}

// call makes calls with the client of the app, configured as the app is now.
func (a *appCalls) call(ctx context.Context, do func(*imrest.Client) error) error {
	var object v1alpha1.IMApp
	err := a.reader.Get(ctx, client.ObjectKey{Namespace: a.object.Namespace, Name: a.object.Name}, &object)
	switch {
	case client.IgnoreNotFound(err) != nil:
		return fmt.Errorf("read the app: %w", err)
	case err != nil || string(object.UID) != a.object.UID:
		return errAppUnusable
	}
	rest, err := a.clients.Client(ctx, &object)
	if _, missing := errors.AsType[*imclients.CredentialsError](err); missing {
		return errAppUnusable // the status of the app reports it
	}
	if err != nil {
		return err
	}
	defer a.clients.Notice(object.UID)
	return do(rest)
}

// groups reads groups, as many as the vendor allows in a call. Those that cannot be read are left out.
func (a *appCalls) groups(ctx context.Context, ids []string) (groups map[string]imrest.Group, err error) {
	err = a.call(ctx, func(rest *imrest.Client) (err error) {
		groups, _, err = rest.Groups(ctx, ids)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the groups: %w", err)
	}
	return groups, nil
}

// listing is a position in the list of an app's groups.
type listing struct {
	// page is the page to begin with, 0 for the first one; visited are the pages that others led to, up to this one.
	page    uint64
	visited map[uint64]struct{}
}

func (l *listing) restart() { l.page, l.visited = 0, nil }

// move moves on. A listing whose pages lead back to a visited one would never end: it is stopped, and the next one
// starts at the first page.
func (l *listing) move(next uint64) error {
	if next == 0 {
		l.restart()
		return nil
	}
	if _, before := l.visited[next]; before {
		l.restart()
		return fmt.Errorf("list the groups of the app: the pages lead back to page %d", next)
	}
	if l.visited == nil {
		l.visited = make(map[uint64]struct{})
	}
	l.page, l.visited[next] = next, struct{}{}
	return nil
}

// eachPage lists the groups of the app, page by page, so that a million groups take no more memory than a page, while
// the policies need it. It goes on at the position, and passes each page to look, less the groups of except, which is
// sorted. After the last page the position is the beginning; after an error it is the page that failed.
func (a *appCalls) eachPage(
	ctx context.Context, at *listing, needed func(*policy.CompiledApp) bool, except []string,
	look func(ids []string) error,
) error {
	for resumed := at.page != 0; ; resumed = false {
		page, err := a.listPage(ctx, at.page, needed)
		if resumed && imrest.ClassOf(err) == imrest.ClassPermanent {
			at.restart() // the vendor no longer knows the page
			page, err = a.listPage(ctx, at.page, needed)
		}
		if err != nil {
			return err
		}
		err = look(slices.DeleteFunc(page.IDs, func(id string) bool {
			_, done := slices.BinarySearch(except, id)
			return done
		}))
		if err != nil {
			return err
		}
		if err := at.move(page.Next); err != nil || at.page == 0 {
			return err
		}
	}
}

// listPage returns a page of the app's groups, or an empty last page if no policy needs a listing.
func (a *appCalls) listPage(
	ctx context.Context, from uint64, needed func(*policy.CompiledApp) bool,
) (page imrest.AppGroupsPage, err error) {
	app, err := a.app()
	if err != nil || !needed(app) {
		return imrest.AppGroupsPage{}, err
	}
	err = a.call(ctx, func(rest *imrest.Client) (err error) {
		page, err = rest.AppGroups(ctx, from)
		return err
	})
	if err != nil {
		return imrest.AppGroupsPage{}, fmt.Errorf("list the groups of the app: %w", err)
	}
	return page, nil
}
