package imrest

// HealthState says how the calls of a client fare. Its words are also the reasons of the condition VendorReachable.
type HealthState string

const (
	// HealthUnknown means: no call has ended yet.
	HealthUnknown HealthState = ""
	// HealthReachable means: the vendor answers, be it with a refusal that concerns one call only.
	HealthReachable HealthState = "Reachable"
	// HealthThrottled means: the vendor wants fewer calls.
	HealthThrottled HealthState = "Throttled"
	// HealthUnauthorized means: the vendor does not accept who calls.
	HealthUnauthorized HealthState = "Unauthorized"
	// HealthUnreachable means: no usable answer, after all attempts.
	HealthUnreachable HealthState = "Unreachable"
)

// Health is what the last call that ended says about the vendor.
type Health struct {
	State HealthState
	// Message is the error in words, "" while Reachable. It holds nothing secret.
	Message string
}

// healthAfter judges by the outcome of a whole call: what a repetition cured never shows.
func healthAfter(err *Error) Health {
	if err == nil {
		return Health{State: HealthReachable}
	}
	// A wait is part of the moment, not of the state: with it the message would change with every call.
	state := HealthReachable
	switch err.Class {
	case ClassTransient:
		state = HealthUnreachable
	case ClassThrottled:
		state = HealthThrottled
	case ClassUnauthorized:
		state = HealthUnauthorized
	default:
		return Health{State: state}
	}
	return Health{State: state, Message: err.Error()}
}
