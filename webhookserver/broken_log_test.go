package webhookserver

import (
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
)

// A log that is broken admits nobody: neither when it is to tell of a refusal, nor when it is to tell that telling
// failed.
func TestABrokenLogAdmitsNobody(t *testing.T) {
	g := startGate(t, members("jared"), func(s *Server) {
		s.Log = funcr.New(func(_, line string) {
			if strings.Contains(line, "Join refused") || strings.Contains(line, "Answering a callback") {
				panic("no log today")
			}
		}, funcr.Options{Verbosity: 1})
	})
	if got := g.post(t, signed(query(applyCommand)), applyBody("mallory")); got.shape() != "200 OK 1" {
		t.Errorf("got %s", got.shape())
	}
}
