package page

import (
	"net/http"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Viewer is the user on whose behalf a request is answered.
type Viewer struct {
	// Name and Groups are those of the user, as the API server knows them.
	Name   string
	Groups []string
	// Client calls the API server as the user, and so does Tables, for lists of columns.
	Client client.Client
	Tables rest.Interface
	// ReadOnly says why nothing can be decided on this page, whatever the rights of the user; empty if it can.
	ReadOnly string
}

// Identity tells whose request it is.
type Identity interface {
	// Viewer returns the user of a request. An error that is a Refusal is shown to the client as it is; any other is
	// logged.
	Viewer(r *http.Request) (*Viewer, error)
}
