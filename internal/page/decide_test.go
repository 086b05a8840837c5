package page

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

func TestLostAnswerToADecisionIsSaidToBeUnknown(t *testing.T) {
	const unknown = "It is not known whether your decision arrived."
	for name, tc := range map[string]struct {
		lost error
		want string
	}{
		"connection lost": {errors.New("unexpected EOF"), unknown},
		"too late":        {apierrors.NewTimeoutError("the request did not complete within 60s", 1), unknown},
		"refused": {
			apierrors.NewForbidden(schema.GroupResource{Resource: "pruneruns"}, "one", errors.New("maria may not")),
			"You may not do this.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			run := &v1alpha1.PruneRun{ObjectMeta: metav1.ObjectMeta{Namespace: "chat", Name: "one", UID: "1"}}
			w := &world{objects: []client.Object{run}, lost: tc.lost}
			handler := w.handler(t)
			if err := w.viewer.Client.Get(t.Context(), client.ObjectKeyFromObject(run), run); err != nil {
				t.Fatal(err)
			}
			_, settings := visitIn(t, handler, "/settings", "en")
			body := url.Values{
				"csrf": {regexp.MustCompile(`name="csrf" value="([^"]*)"`).FindStringSubmatch(settings)[1]},
				"uid":  {"1"}, "resourceVersion": {run.ResourceVersion},
			}.Encode()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/runs/chat/one/deny",
				strings.NewReader(body))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, r)
			expect(t, answer.Body.String(), tc.want)
			if tc.want != unknown {
				expect(t, answer.Body.String(), "!"+unknown)
			}
		})
	}
}
