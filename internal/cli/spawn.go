package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// answerFD is where a background agent tells its starter how it went.
const answerFD = 3

// answer is one line of JSON on answerFD: a fault, or none when it serves.
type answer struct {
	Fault *fault.Fault `json:"fault,omitempty"`
}

// spawned is a background agent that is being started.
type spawned struct {
	pid    int
	spec   *os.File // its stdin
	answer *os.File
}

// spawn starts this binary as a background agent: a session of its own, its
// output to log, nothing of the terminal.
func spawn(log *os.File, environ []string) (*spawned, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fault.New(fault.StartFailed, "cannot find this program's own file: %w", err)
	}
	specRead, specWrite, err := os.Pipe()
	if err != nil {
		return nil, fault.New(fault.StartFailed, "cannot make a pipe: %w", err)
	}
	defer specRead.Close()
	answerRead, answerWrite, err := os.Pipe()
	if err != nil {
		specWrite.Close()
		return nil, fault.New(fault.StartFailed, "cannot make a pipe: %w", err)
	}
	defer answerWrite.Close()
	child, err := os.StartProcess(exe, []string{"muster", "agent"}, &os.ProcAttr{
		Dir: "/", Env: detached(environ), Files: []*os.File{specRead, log, log, answerWrite},
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		specWrite.Close()
		answerRead.Close()
		return nil, fault.New(fault.StartFailed, "cannot start the agent: %w", err)
	}
	s := &spawned{pid: child.Pid, spec: specWrite, answer: answerRead}
	_ = child.Release() // it lives longer than this command
	return s, nil
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

// introduce hands the spec over and waits until the agent serves.
func (s *spawned) introduce(ctx context.Context, wanted spec.Spec) error {
	defer s.answer.Close()
	stop := context.AfterFunc(ctx, func() { s.answer.Close() })
	defer stop()
	err := json.NewEncoder(s.spec).Encode(wanted)
	s.spec.Close()
	var a answer
	if readErr := json.NewDecoder(s.answer).Decode(&a); readErr != nil {
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
