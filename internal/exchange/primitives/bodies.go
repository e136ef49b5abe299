package primitives

import (
	"encoding/json"
	"math"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/coordination/limiter"
	"github.com/muster-run/muster/internal/op"
)

// read makes a T of a body.
func read[T any](c Call) (body T, err error) {
	if err := json.Unmarshal(c.Body, &body); err != nil {
		return body, fault.New(fault.Usage, "the body cannot be read: %w", err)
	}
	return body, nil
}

// checkName says what is wrong with the name of a thing.
func checkName(thing, name string) error {
	switch {
	case name == "":
		return fault.New(fault.Usage, "the %s has no name", thing).WithFix("write a name")
	case len(name) > op.NameMax:
		return fault.New(fault.Usage, "the name of the %s has %d bytes", thing, len(name)).WithFix("write a name of at most 200 bytes, such as a hash of what is longer")
	}
	return nil
}

// milliseconds is the time of a body. What does not fit is a time that all refuse.
func milliseconds(ms int64) time.Duration {
	const most = int64(math.MaxInt64 / time.Millisecond)
	return time.Duration(max(-most, min(most, ms))) * time.Millisecond
}

// inMilliseconds rounds up: who waits that long has waited long enough.
func inMilliseconds(d time.Duration) int64 {
	return int64((max(0, d) + time.Millisecond - 1) / time.Millisecond)
}

// limitOf is the Limit of a body, and how many tokens are wanted.
func limitOf(b op.LimiterBody) (l limiter.Limit, tokens float64) {
	l = limiter.Limit{Rate: b.Rate, Burst: b.Burst, Interval: milliseconds(b.IntervalMS)}
	if b.Burst == 0 {
		l.Burst = max(1, math.Ceil(b.Rate))
	}
	if b.IntervalMS == 0 {
		l.Interval = time.Second
	}
	if tokens = b.Tokens; tokens == 0 {
		tokens = 1
	}
	return l, tokens
}
