package node

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// status is that of a Pod, and writes it where it changes.
type status struct {
	pod      *pod
	now      corev1.PodStatus
	written  corev1.PodStatus
	wasReady bool // since the container started
}

func newStatus(p *pod) *status {
	now := metav1.Now()
	spec := &p.object.Spec.Containers[0]
	return &status{pod: p, now: corev1.PodStatus{
		Phase: corev1.PodPending, HostIP: "127.0.0.1", PodIP: p.ip, PodIPs: []corev1.PodIP{{IP: p.ip}}, StartTime: &now,
		Conditions: []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: now},
			{Type: corev1.PodInitialized, Status: corev1.ConditionTrue, LastTransitionTime: now},
			{Type: corev1.ContainersReady, Status: corev1.ConditionFalse, LastTransitionTime: now},
			{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: now},
		},
		ContainerStatuses: []corev1.ContainerStatus{{Name: spec.Name, Image: spec.Image, Started: ptr.To(false)}},
	}}
}

// waiting says why the container does not run.
func (s *status) waiting(ctx context.Context, reason, message string) {
	c := &s.now.ContainerStatuses[0]
	c.Started = ptr.To(false)
	c.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	s.ready(ctx, false, message)
}

// started says that the container runs.
func (s *status) started(ctx context.Context, restarts int32) {
	s.wasReady = false
	s.now.Phase = corev1.PodRunning
	c := &s.now.ContainerStatuses[0]
	c.Started, c.RestartCount = ptr.To(true), restarts
	c.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}
	s.ready(ctx, false, "the readiness probe has not succeeded yet")
}

// ready sets both conditions about it, and writes the status.
func (s *status) ready(ctx context.Context, ready bool, message string) {
	s.wasReady = s.wasReady || ready
	s.now.ContainerStatuses[0].Ready = ready
	want := corev1.ConditionFalse
	if ready {
		want = corev1.ConditionTrue
	}
	for i := range s.now.Conditions {
		c := &s.now.Conditions[i]
		if c.Type != corev1.PodReady && c.Type != corev1.ContainersReady {
			continue
		}
		if c.Status != want {
			c.Status, c.LastTransitionTime = want, metav1.Now()
		}
		c.Reason, c.Message = "", ""
		if !ready {
			c.Reason, c.Message = "ContainersNotReady", message
		}
	}
	s.write(ctx)
}

// ended says how the container ended, for those who watch the Pod go.
func (s *status) ended(ctx context.Context, exitCode int) {
	s.now.Phase = corev1.PodSucceeded
	if exitCode != 0 {
		s.now.Phase = corev1.PodFailed
	}
	s.now.ContainerStatuses[0].Started = ptr.To(false)
	s.now.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: int32(exitCode), FinishedAt: metav1.Now(),
	}}
	s.ready(ctx, false, "the container has ended")
}

func (s *status) write(ctx context.Context) {
	if equality.Semantic.DeepEqual(s.now, s.written) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	object := s.pod.object.DeepCopy()
	object.ResourceVersion = ""
	object.Status = corev1.PodStatus{}
	base := client.MergeFrom(object.DeepCopy())
	object.Status = *s.now.DeepCopy()
	if err := s.pod.node.client.Status().Patch(ctx, object, base); err != nil {
		if client.IgnoreNotFound(err) != nil && !strings.Contains(err.Error(), "context canceled") {
			fmt.Fprintf(s.pod.node.Log, "node: status of Pod %s: %v\n", s.pod.object.Name, err)
		}
		return
	}
	s.written = *s.now.DeepCopy()
}
