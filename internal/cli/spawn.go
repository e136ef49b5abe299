package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process/apart"
	"github.com/muster-run/muster/spec"
)

// answer is one line of JSON on the descriptor apart.AnswerFD: a fault, or none when it serves.
type answer struct {
	Fault *fault.Fault `json:"fault,omitempty"`
}

// detached drops what would bind the agent to the one who started this command.
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

// introduce hands the spec to a background agent and waits until it serves.
func introduce(ctx context.Context, d *apart.Detached, wanted spec.Spec) error {
	defer d.Answer.Close()
	stop := context.AfterFunc(ctx, func() { d.Answer.Close() })
	defer stop()
	err := json.NewEncoder(d.Stdin).Encode(wanted)
	d.Stdin.Close()
	var a answer
	if readErr := json.NewDecoder(d.Answer).Decode(&a); readErr != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(readErr, io.EOF) || err != nil {
			return fault.New(fault.Internal, "the agent ended before it was up").WithFix("its log says why")
		}
		return fault.New(fault.Internal, "the agent's answer is not understood: %w", readErr)
	}
	if a.Fault != nil {
		return a.Fault
	}
	return nil
}
