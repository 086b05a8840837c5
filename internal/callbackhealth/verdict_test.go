package callbackhealth

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestVerdict(t *testing.T) {
	at := func(d time.Duration) time.Time { return now.Add(d) }
	for name, tc := range map[string]struct {
		seen Seen
		want Verdict
	}{
		"Nothing":                       {Seen{}, NeverSeen},
		"Right":                         {Seen{Right: now}, Verified},
		"WrongFromTheStart":             {Seen{Wrong: now}, WrongToken},
		"UnsignedFromTheStart":          {Seen{Unsigned: now}, Unsigned},
		"SkewedFromTheStart":            {Seen{Skewed: now}, ClockSkew},
		"AStrangerAmongRightOnes":       {Seen{Right: now, Wrong: at(tolerance - 1)}, Verified},
		"WrongForTenMinutes":            {Seen{Right: now, Wrong: at(tolerance)}, WrongToken},
		"UnsignedForTenMinutes":         {Seen{Right: now, Unsigned: at(tolerance)}, Unsigned},
		"AReplayAmongRightOnes":         {Seen{Right: now, Skewed: at(tolerance - 1)}, Verified},
		"RightAgain":                    {Seen{Right: at(time.Hour), Wrong: at(time.Hour - 1)}, Verified},
		"TheLastProblemCounts":          {Seen{Wrong: at(1), Unsigned: at(2), Skewed: at(3)}, ClockSkew},
		"TheLastProblemIsAWrongSign":    {Seen{Wrong: at(3), Unsigned: at(2), Skewed: at(1)}, WrongToken},
		"RightLongAgoAndNothingSince":   {Seen{Right: now.Add(-time.Hour)}, Verified},
		"WrongBeforeTheFirstRight":      {Seen{Right: now, Wrong: now.Add(-time.Hour)}, Verified},
		"SkewedAfterRightAndLongSilent": {Seen{Right: now, Skewed: at(time.Hour)}, ClockSkew},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.seen.Verdict(); got != tc.want {
				t.Errorf("%d, want %d", got, tc.want)
			}
		})
	}
}

// Behind a load balancer each replica sees its share.
func TestReplicasSeeTogether(t *testing.T) {
	a := Seen{Right: now, Unsigned: now.Add(1), Skewed: now.Add(5), Skew: time.Minute} // a replay
	b := Seen{Right: now.Add(2), Wrong: now.Add(3), Skewed: now.Add(4), Skew: time.Hour}
	want := Seen{
		Right: now.Add(2), Wrong: now.Add(3), Unsigned: now.Add(1), Skewed: now.Add(5), Skew: time.Minute,
	}
	for _, got := range []Seen{a.Join(b), b.Join(a)} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want,+got):\n%s", diff)
		}
	}
}

func TestReplicaWithAWrongClockIsNotHiddenByTheOthers(t *testing.T) {
	wrong := Seen{Right: now.Add(-time.Hour), Skewed: now, Skew: 3 * time.Minute}
	right := Seen{Right: now.Add(time.Second), Wrong: now.Add(2 * time.Second)}
	for _, got := range []Seen{wrong.Join(right), right.Join(wrong), wrong.Join(right).Join(right)} {
		if got.Verdict() != ClockSkew || got.Skew != 3*time.Minute {
			t.Errorf("%+v, want the clock skew", got)
		}
	}
	wrong.Right = now.Add(time.Second) // its clock was set
	if got := wrong.Join(right).Verdict(); got != Verified {
		t.Errorf("verdict %d after its clock was set, want Verified", got)
	}
}
