package manifests_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/manifests"
)

// selecting answers lists of runs as an API server does that knows some selectors, and remembers those.
type selecting struct {
	client.Reader
	fails map[string]error
	asked []string
}

func (s *selecting) List(_ context.Context, list client.ObjectList, opts ...client.ListOption) error {
	o := &client.ListOptions{}
	o.ApplyOptions(opts)
	s.asked = append(s.asked, o.FieldSelector.String())
	if err := s.fails[o.FieldSelector.String()]; err != nil {
		return err
	}
	list.(*v1alpha1.PruneRunList).Items = make([]v1alpha1.PruneRun, 1)
	return nil
}

func TestWaitingRunsOfAnOlderDefinition(t *testing.T) {
	const first, second = "status.awaitsApproval=true,spec.approval=Pending", "spec.approval=Pending"
	broken := errors.New("connection refused")
	for name, tc := range map[string]struct {
		fails map[string]error
		asked []string
		want  error
	}{
		"it has the field": {nil, []string{first}, nil},
		"it lacks the field": {
			map[string]error{first: apierrors.NewBadRequest("field label not supported: status.awaitsApproval")},
			[]string{first, second}, nil,
		},
		"it cannot be reached": {map[string]error{first: broken}, []string{first}, broken},
	} {
		t.Run(name, func(t *testing.T) {
			s := &selecting{fails: tc.fails}
			runs, err := manifests.WaitingRuns(t.Context(), s, "chat")
			if diff := cmp.Diff(tc.asked, s.asked); diff != "" || !errors.Is(err, tc.want) {
				t.Errorf("%v, asked (-want,+got)\n%s", err, diff)
			}
			if err == nil && len(runs) != 1 {
				t.Errorf("%d runs", len(runs))
			}
		})
	}
}
