package page

import (
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/groupgate/groupgate/internal/manifests"
)

// choice is the app that a page is about.
type choice struct {
	// App is the "namespace/name" of the app; empty if none was chosen.
	App string
	// Apps are those that can be chosen; none if the viewer may not list them, and has to name one.
	Apps []string
}

// Name is the app that was chosen.
func (c choice) Name() types.NamespacedName {
	namespace, name, _ := strings.Cut(c.App, "/")
	return types.NamespacedName{Namespace: namespace, Name: name}
}

// Several reports whether there is something to choose.
func (c choice) Several() bool { return len(c.Apps) != 1 }

// choose is the app that the query names, or the only one that there is.
func (v *visit) choose() (choice, error) {
	c := choice{App: v.query("app")}
	if c.App != "" && !v.nameable(c.Name()) {
		return c, noSuchApp()
	}
	apps, err := manifests.Apps(v.request.Context(), v.Client, v.server.Namespace)
	switch {
	case apierrors.IsForbidden(err) && v.server.Namespace == "":
		return c, nil // the viewer may have a namespace of them, and name it
	case err != nil:
		return c, err
	}
	for i := range apps {
		c.Apps = append(c.Apps, apps[i].Namespace+"/"+apps[i].Name)
	}
	slices.Sort(c.Apps)
	switch {
	case c.App != "" && !slices.Contains(c.Apps, c.App):
		return c, noSuchApp()
	case c.App == "" && len(c.Apps) == 1:
		c.App = c.Apps[0]
	}
	return c, nil
}

// nameable reports whether an app of that name may be shown.
func (v *visit) nameable(app types.NamespacedName) bool {
	return len(validation.IsDNS1123Label(app.Namespace)) == 0 && len(validation.IsDNS1123Subdomain(app.Name)) == 0 &&
		(v.server.Namespace == "" || v.server.Namespace == app.Namespace)
}

func noSuchApp() error {
	return &Refusal{
		Status: http.StatusNotFound, Text: "There is no such app here.",
		Advice: "An app is named NAMESPACE/NAME, such as chat/prod. Choose one on the page Ask.",
	}
}

// query is a field of the query.
func (v *visit) query(name string) string { return v.request.URL.Query().Get(name) }
