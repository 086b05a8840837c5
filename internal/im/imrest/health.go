package imrest

// HealthState says whether the calls of a client succeed. Its values are also the reasons of the condition
// VendorReachable.
type HealthState string

const (
	// HealthUnknown means: no call has ended yet.
	HealthUnknown HealthState = ""
	// HealthReachable means: the vendor answers, if only with a refusal of one call.
	HealthReachable HealthState = "Reachable"
	// HealthThrottled means: the vendor demands fewer calls.
	HealthThrottled HealthState = "Throttled"
	// HealthUnauthorized means: the vendor does not accept the credentials.
	HealthUnauthorized HealthState = "Unauthorized"
	// HealthUnreachable means: no usable response, after all attempts.
	HealthUnreachable HealthState = "Unreachable"
)

// Health is the outcome of the last call that ended.
type Health struct {
	State HealthState
	// Message is the text of the error, "" while Reachable. It holds no secret.
	Message string
}

// healthAfter judges by the outcome of a whole call: a failed attempt that a later one made good does not count.
func healthAfter(err *Error) Health {
	if err == nil {
		return Health{State: HealthReachable}
	}
	// RetryAfter is not in the message, which would change with every call.
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
