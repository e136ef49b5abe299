package muster

import "github.com/muster-run/muster/internal/process"

// The exec step (package process) must not run what main does: it is taken up here,
// before main begins, and never returns. In every other process this does nothing.
var _ = takeStep()

func takeStep() bool {
	if process.IsStep() {
		process.RunStep()
	}
	return true
}
