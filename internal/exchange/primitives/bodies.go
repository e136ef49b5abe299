package primitives

import (
	"encoding/json"

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

// limitOf is the Limit of a body, and how many tokens are wanted.
func limitOf(b op.LimiterBody) (l limiter.Limit, tokens float64) {
	b = b.WithDefaults()
	return limiter.Limit{Rate: b.Rate, Burst: b.Burst, Interval: op.Time(b.IntervalMS)}, b.Tokens
}
