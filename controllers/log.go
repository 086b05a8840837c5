package controllers

import (
	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// logOf returns the log of a controller for controller.Options. A line names the controller as its logger, and
// the object (namespace/name) under key, unless that is empty. controller-runtime's own lines repeat both under six
// keys, and tell of every watch that starts; here those are at V(1).
func logOf(mgr manager.Manager, controller, key string) func(*reconcile.Request) logr.Logger {
	log := mgr.GetLogger().WithName(controller)
	return func(request *reconcile.Request) logr.Logger {
		switch {
		case request == nil: // errors are logged at every level
			return log.V(1)
		case key == "":
			return log
		default:
			return log.WithValues(key, request.String())
		}
	}
}
