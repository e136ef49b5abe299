package health

import (
	"context"
	"errors"
	"time"

	"github.com/muster-run/muster/spec"
)

// Runner runs a command for a cmd check.
type Runner interface {
	Run(ctx context.Context, argv []string) (output string, code int, err error)
}

// Probe is one check.
type Probe interface {
	Check(ctx context.Context) error
}

// NewProbe makes the probe that h describes.
func NewProbe(h spec.Health, run Runner) (Probe, error) { return nil, errors.New("not yet") }

// Result is the outcome of one check.
type Result struct {
	OK   bool
	Text string
	At   time.Time
	Took time.Duration
}

// Watch checks until ctx ends.
func Watch(ctx context.Context, h func() spec.Health, p Probe, report func(Result)) {}

// Verdict is what the results so far mean.
type Verdict int

// The verdicts.
const (
	Starting Verdict = iota
	Healthy
	Failing
	Unhealthy
)

// Tracker turns results into verdicts.
type Tracker struct {
	Failures int
}

// Observe takes one result.
func (t *Tracker) Observe(r Result) Verdict { return Starting }
