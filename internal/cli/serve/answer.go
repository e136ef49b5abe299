package serve

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process"
)

// answer is one line of JSON on the pipe of `up -d`: a fault, or none when the
// agent serves.
type answer struct {
	Fault *fault.Fault `json:"fault,omitempty"`
}

// tell takes the pipe, if there is one, and tells who waits at its end how the
// start went. It is harmless when nobody does.
func tell(to *os.File, f *fault.Fault) {
	if to == nil {
		return
	}
	_ = json.NewEncoder(to).Encode(answer{Fault: f})
	_ = to.Close()
}

// tellStored is tell with the pipe that is kept in a Store: it is told once,
// whichever agent comes first.
func tellStored(store process.Store, f *fault.Fault) {
	if to, err := store.Take(answerName); err == nil {
		tell(to, f)
	}
}

// await waits until the agent serves, or says why it does not. It closes from.
func await(ctx context.Context, from *os.File) error {
	defer from.Close()
	stop := context.AfterFunc(ctx, func() { from.Close() })
	defer stop()
	var a answer
	err := json.NewDecoder(from).Decode(&a)
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, io.EOF):
		return fault.New(fault.Internal, "the agent ended before it was up").WithFix("its log says why")
	case err != nil:
		return fault.New(fault.Internal, "the agent's answer is not understood: %w", err)
	case a.Fault != nil:
		return a.Fault
	}
	return nil
}

// detached drops what would bind a background process to the one who started it.
func detached(environ []string) []string {
	var kept []string
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		switch name {
		case "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES":
			continue
		}
		kept = append(kept, kv)
	}
	return kept
}
