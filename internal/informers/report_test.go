package informers

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
)

func TestFailingWatchesAreReportedEveryHalfMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWatches([]string{"chat"}, time.Now)
		track := newTrack()
		for _, state := range w.States() {
			w.track(watchKey{state.Kind, state.Namespace}, track)
		}
		start := time.Now()
		var got []string
		log := funcr.New(func(_, args string) {
			message, _, _ := strings.Cut(strings.TrimPrefix(args, `"level"=0 "msg"="`), `"`)
			got = append(got, time.Since(start).String()+" "+message)
		}, funcr.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { // ends with ctx
			defer close(done)
			w.Report(ctx, log)
		}()
		after := func(d time.Duration) {
			<-time.After(time.Until(start.Add(d)))
			synctest.Wait()
		}
		after(2500 * time.Millisecond)
		track.opened() // a start that takes its time
		after(10500 * time.Millisecond)
		track.failed(errDown)
		after(80500 * time.Millisecond)
		track.opened()
		after(100500 * time.Millisecond)
		track.failed(errors.New("again"))
		after(110 * time.Second)
		cancel()
		<-done
		const fails, over = "Watches fail", "All watches are in order again"
		want := []string{"14s " + fails, "44s " + fails, "1m14s " + fails, "1m21s " + over, "1m44s " + fails}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("log (-want,+got):\n%s", diff)
		}
	})
}
