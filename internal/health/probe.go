package health

import (
	"context"
	"fmt"
	"strings"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// TextMax bounds the text of a failed check, in bytes.
const TextMax = 512

// Probe is one check of a worker; nil means that it passed. It returns soon after
// ctx ends. A Probe is used by one goroutine at a time.
type Probe interface {
	Check(ctx context.Context) error
}

// Runner runs the command of a cmd check as the worker's user in its directory
// and returns what it printed and its exit code. err is for a command that could
// not be run, or was killed because ctx ended.
type Runner interface {
	Run(ctx context.Context, argv []string) (output string, code int, err error)
}

// NewProbe makes the probe that h describes, with its variables already replaced.
// run is needed for cmd only. Errors are Config faults.
func NewProbe(h spec.Health, run Runner) (Probe, error) {
	switch h.Type {
	case "http":
		return newHTTP(h.URL)
	case "tcp":
		return newTCP(h.Address)
	case "cmd":
		if len(h.Command) == 0 || run == nil {
			return nil, fault.New(fault.Config, "a cmd check needs a command")
		}
		return command{argv: h.Command, run: run}, nil
	}
	return nil, fault.New(fault.Config, "health check type %q is not known", h.Type).
		WithFix("use http, tcp or cmd")
}

// command passes when a command exits with 0.
type command struct {
	argv []string
	run  Runner
}

// Check implements Probe.
func (c command) Check(ctx context.Context) error {
	output, code, err := c.run.Run(ctx, c.argv)
	if err != nil {
		return err
	}
	if code == 0 {
		return nil
	}
	if line := lastLine(output); line != "" {
		return fmt.Errorf("%s: exit code %d: %s", c.argv[0], code, line)
	}
	return fmt.Errorf("%s: exit code %d", c.argv[0], code)
}

// lastLine is the last line that says something.
func lastLine(output string) string {
	output = strings.TrimSpace(output)
	return strings.TrimSpace(output[strings.LastIndexByte(output, '\n')+1:])
}
