package pool

import (
	"log/slog"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/internal/output"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/supervisor/attempt"
	"github.com/muster-run/muster/internal/supervisor/generation"
	"github.com/muster-run/muster/internal/supervisor/human"
	"github.com/muster-run/muster/spec"
)

// Usage tells what processes use. Safe for concurrent use.
type Usage interface {
	// Fill sets CPU, memory and number of processes of a worker.
	Fill(v *api.Worker, p process.Proc)
	// Memory of the whole group in bytes; false when it cannot be told.
	Memory(p process.Proc) (int64, bool)
}

// Shared is what all pools of one agent have in common. Its fields are set
// before the first pool; it is safe for concurrent use.
type Shared struct {
	Attempts *attempt.Shared
	Records  process.Records
	Project  string
	Node     string
	Events   *event.Hub
	Log      *slog.Logger
	Usage    Usage
	// LogFile is the path of an app's output file.
	LogFile func(spec.App) string
	// Packing of rotated output files; nil: they are not packed.
	Packing output.Packing
	// Sockets are the listeners of all apps.
	Sockets *generation.Sockets
	// Changed is called in a pool's goroutine when something has changed; end is
	// nil unless all its workers have ended by themselves. It must not wait
	// for a pool.
	Changed func(app string, end *human.End)
}
