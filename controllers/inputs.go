package controllers

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/convert"
	"github.com/groupgate/groupgate/internal/policy"
)

// inputs passes changed objects to the compiler. It keeps those on which the input of another object, or of another
// time, depends: apps and their Secrets, and refusals, which end. Only the worker that builds uses it. Its zero value
// is ready.
type inputs struct {
	compiler policy.Compiler
	apps     map[types.NamespacedName]*v1alpha1.IMApp
	secrets  map[types.NamespacedName]map[string][]byte
	refusals map[types.NamespacedName]*timedRefusal // by the name of the run
	lost     map[string]bool                        // namespaces whose apps are unconfirmed
	rotated  []*v1alpha1.IMApp                      // those whose Secret changed since the last build
}

// changedObject is the state of an object that changed. The object is shared with the cache and must not be written to.
type changedObject struct {
	object  client.Object
	deleted bool
}

// timedRefusal is what a run refuses, and until when. The compiler has it until it is over.
type timedRefusal struct {
	run   *v1alpha1.PruneRun
	uid   string
	until time.Time // zero: it ends with a change of the run
	over  bool
}

func (r *timedRefusal) isOver(now time.Time) bool { return !r.until.IsZero() && !now.Before(r.until) }

// update converts a changed object for the compiler. Objects that stay as they are need no conversion.
func (in *inputs) update(c changedObject) {
	name := client.ObjectKeyFromObject(c.object)
	switch object := c.object.(type) {
	case *v1alpha1.IMApp:
		in.updateApp(name, object, c.deleted)
	case *corev1.Secret:
		in.updateSecret(name, object, c.deleted)
	case *v1alpha1.AccountList:
		if c.deleted {
			in.compiler.DeleteList(name.Namespace, name.Name)
			return
		}
		in.compiler.SetList(convert.List(object))
	case *v1alpha1.GroupPolicy:
		if c.deleted {
			in.compiler.DeletePolicy(name.Namespace, name.Name)
			return
		}
		in.compiler.SetPolicy(convert.Policy(object))
	case *v1alpha1.PruneRun:
		in.updateRun(name, object, c.deleted)
	}
}

func (in *inputs) updateApp(name types.NamespacedName, app *v1alpha1.IMApp, deleted bool) {
	if deleted {
		delete(in.apps, name)
		in.compiler.DeleteApp(name.Namespace, name.Name)
		return
	}
	if in.apps == nil {
		in.apps = map[types.NamespacedName]*v1alpha1.IMApp{}
	}
	in.apps[name] = app
	in.setApp(app)
}

func (in *inputs) setApp(app *v1alpha1.IMApp) {
	converted := convert.App(app, in.secrets[secretOf(app)])
	converted.Unconfirmed = in.lost[app.Namespace]
	in.compiler.SetApp(converted)
}

// setLost replaces the namespaces whose IMApps may have been deleted without this process having noticed.
func (in *inputs) setLost(lost map[string]bool) {
	before := in.lost
	in.lost = lost
	for name, app := range in.apps {
		if before[name.Namespace] != lost[name.Namespace] {
			in.setApp(app)
		}
	}
}

// updateSecret updates every app that names the Secret.
func (in *inputs) updateSecret(name types.NamespacedName, secret *corev1.Secret, deleted bool) {
	delete(in.secrets, name)
	if !deleted {
		if in.secrets == nil {
			in.secrets = map[types.NamespacedName]map[string][]byte{}
		}
		in.secrets[name] = secret.Data
		if secret.Data == nil {
			in.secrets[name] = map[string][]byte{} // found, and empty
		}
	}
	for _, app := range in.apps {
		if secretOf(app) == name {
			in.rotated = append(in.rotated, app)
			in.setApp(app)
		}
	}
}

func secretOf(app *v1alpha1.IMApp) types.NamespacedName {
	return types.NamespacedName{Namespace: app.Namespace, Name: app.Spec.CredentialsSecretRef.Name}
}

// updateRun also deletes the refusal of a previous run of the same name, which has another UID.
func (in *inputs) updateRun(name types.NamespacedName, run *v1alpha1.PruneRun, deleted bool) {
	if before, ok := in.refusals[name]; ok {
		delete(in.refusals, name)
		in.compiler.DeleteRefusal(before.uid)
	}
	converted, ok := convert.Refusal(run)
	if deleted || !ok {
		return
	}
	if in.refusals == nil {
		in.refusals = map[types.NamespacedName]*timedRefusal{}
	}
	in.refusals[name] = &timedRefusal{run: run, uid: converted.UID, until: converted.Until}
	in.compiler.SetRefusal(converted)
}

// endRefusals deletes the refusals that are over from the compiler, so that the hash is the same on replicas that still
// have them and on those that never had. A refusal that is over no more, because the clock was set back, is set again:
// otherwise this replica alone would admit its accounts early.
func (in *inputs) endRefusals(now time.Time) {
	for _, refusal := range in.refusals {
		over := refusal.isOver(now)
		switch {
		case over && !refusal.over:
			in.compiler.DeleteRefusal(refusal.uid)
		case !over && refusal.over:
			again, _ := convert.Refusal(refusal.run)
			in.compiler.SetRefusal(again)
		}
		refusal.over = over
	}
}

// nextEnd is how long from now the first refusal ends; 0 without one.
func (in *inputs) nextEnd(now time.Time) time.Duration {
	var next time.Time
	for _, refusal := range in.refusals {
		if !refusal.over && !refusal.until.IsZero() && (next.IsZero() || refusal.until.Before(next)) {
			next = refusal.until
		}
	}
	if next.IsZero() {
		return 0
	}
	return max(next.Sub(now), time.Millisecond) // a refusal that has ended since endRefusals needs a build, too
}
