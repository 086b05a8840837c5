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

// inputs tells the compiler what the objects have become. It keeps what more than one object, or the clock, has a say in. It is for the
// one worker that builds. Its zero value is ready.
type inputs struct {
	compiler policy.Compiler
	apps     map[types.NamespacedName]*v1alpha1.IMApp
	secrets  map[types.NamespacedName]map[string][]byte
	records  map[types.NamespacedName]*keptRecord
}

// keptRecord is the record of a run. The compiler knows it until its refusal is over.
type keptRecord struct {
	run   *v1alpha1.PruneRun
	uid   string
	until time.Time // zero: when the run says so
	over  bool
}

func (r *keptRecord) isOver(now time.Time) bool { return !r.until.IsZero() && !now.Before(r.until) }

// update takes up what an object has become. It converts the object, which is why nobody does that anew for objects that stay as they are.
func (in *inputs) update(n news) {
	name := client.ObjectKeyFromObject(n.object)
	switch object := n.object.(type) {
	case *v1alpha1.IMApp:
		in.updateApp(name, object, n.gone)
	case *corev1.Secret:
		in.updateSecret(name, object, n.gone)
	case *v1alpha1.AccountList:
		if n.gone {
			in.compiler.DeleteList(name.Namespace, name.Name)
			return
		}
		in.compiler.SetList(convert.List(object))
	case *v1alpha1.GroupPolicy:
		if n.gone {
			in.compiler.DeletePolicy(name.Namespace, name.Name)
			return
		}
		in.compiler.SetPolicy(convert.Policy(object))
	case *v1alpha1.PruneRun:
		in.updateRun(name, object, n.gone)
	}
}

func (in *inputs) updateApp(name types.NamespacedName, app *v1alpha1.IMApp, gone bool) {
	if gone {
		delete(in.apps, name)
		in.compiler.DeleteApp(name.Namespace, name.Name)
		return
	}
	if in.apps == nil {
		in.apps = map[types.NamespacedName]*v1alpha1.IMApp{}
	}
	in.apps[name] = app
	in.compiler.SetApp(convert.App(app, in.secrets[secretOf(app)]))
}

// updateSecret is an update of every app that names the Secret.
func (in *inputs) updateSecret(name types.NamespacedName, secret *corev1.Secret, gone bool) {
	delete(in.secrets, name)
	if !gone {
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
			in.compiler.SetApp(convert.App(app, in.secrets[name]))
		}
	}
}

func secretOf(app *v1alpha1.IMApp) types.NamespacedName {
	return types.NamespacedName{Namespace: app.Namespace, Name: app.Spec.CredentialsSecretRef.Name}
}

// updateRun also takes away the record of a run of the same name that was there before, which has another UID.
func (in *inputs) updateRun(name types.NamespacedName, run *v1alpha1.PruneRun, gone bool) {
	if before, ok := in.records[name]; ok {
		delete(in.records, name)
		in.compiler.DeleteRefusal(before.uid)
	}
	record, says := convert.Refusal(run)
	if gone || !says {
		return
	}
	if in.records == nil {
		in.records = map[types.NamespacedName]*keptRecord{}
	}
	in.records[name] = &keptRecord{run: run, uid: record.UID, until: record.Until}
	in.compiler.SetRefusal(record)
}

// endRecords takes away the records whose refusal is over, so that replicas agree on the hash whether or not they still know them. One
// that was over by a clock that has been put back since returns: people would get back in early otherwise, on this replica alone.
func (in *inputs) endRecords(now time.Time) {
	for _, record := range in.records {
		over := record.isOver(now)
		switch {
		case over && !record.over:
			in.compiler.DeleteRefusal(record.uid)
		case !over && record.over:
			again, _ := convert.Refusal(record.run)
			in.compiler.SetRefusal(again)
		}
		record.over = over
	}
}

// nextEnd is how long from now the first refusal ends; 0 where there is none.
func (in *inputs) nextEnd(now time.Time) time.Duration {
	var next time.Time
	for _, record := range in.records {
		if !record.over && !record.until.IsZero() && (next.IsZero() || record.until.Before(next)) {
			next = record.until
		}
	}
	if next.IsZero() {
		return 0
	}
	return max(next.Sub(now), time.Millisecond) // one that has ended meanwhile needs a build, too
}
