package imrest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// The vendor's table of codes (page 34348), and the class of each.
func TestClassOfCode(t *testing.T) {
	table := map[Class][]int{
		ClassTransient: {10002, 20004, 20005, 60008, 60013, 60014, 70169, 70202, 70500, 90992, 90994, 90995, 91000},
		ClassThrottled: {10006, 60007, 60011, 60018, 60019, 60028, 70050},
		ClassGroupGone: {10010, 10015},
		ClassUnauthorized: {10007, 10008, 10012, 60004, 60005, 60006, 60010, 60016, 60017, 60020, 60021, 60026, 60027,
			70001, 70002, 70003, 70005, 70009, 70013, 70014, 70016, 70020, 70051, 90009},
		ClassPermanent: {10003, 10004, 10005, 10009, 10011, 10013, 10014, 10016, 10018, 10019, 10021, 10025, 10026,
			10037, 10038, 10054, 10058, 10059,
			10100, 10200, 11000, 60002, 60003, 60009, 60012, 60015, 60025, 70107, 72001, 80003, 90001, 90011, 90018,
			1, -1, 99999, 123456}, // the last line is not documented
	}
	for want, codes := range table {
		for _, code := range codes {
			if got := classOfCode(code); got != want {
				t.Errorf("%d: class %s, want %s", code, got, want)
			}
		}
	}
}

func TestPauseOfCode(t *testing.T) {
	for code, want := range map[int]time.Duration{70050: time.Minute, 60028: 10 * time.Minute, 10006: time.Second,
		60007: time.Second, 60011: time.Second, 60018: time.Second, 60019: time.Second, 10002: 0, 0: 0} {
		if got := pauseOfCode(code); got != want {
			t.Errorf("%d: pause of %s, want %s", code, got, want)
		}
	}
}

func TestClassOf(t *testing.T) {
	for _, err := range []error{nil, ErrTooLate, context.Canceled, errors.New("x")} {
		if got := ClassOf(err); got != "" {
			t.Errorf("ClassOf(%v) = %q, want none", err, got)
		}
	}
	if got := ClassOf(fmt.Errorf("x: %w", &Error{Class: ClassGroupGone})); got != ClassGroupGone {
		t.Errorf("ClassOf of a wrapped error = %q", got)
	}
}

func TestResultOf(t *testing.T) {
	for class, want := range map[Class]string{
		ClassTransient: "transient", ClassThrottled: "throttled", ClassUnauthorized: "unauthorized",
		ClassGroupGone: "group_gone", ClassUnsupported: "unsupported", ClassPermanent: "permanent",
	} {
		if got := resultOf(class); got != want {
			t.Errorf("resultOf(%s) = %q, want %q", class, got, want)
		}
	}
}
