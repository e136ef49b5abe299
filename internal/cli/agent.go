package cli

import (
	"context"
	"encoding/json"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/agent"
	"github.com/muster-run/muster/internal/cli/console"
	"github.com/muster-run/muster/internal/process/apart"
	"github.com/muster-run/muster/spec"
)

// agentCommand is what `up -d` starts.
func (s *session) agentCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "agent", Short: "Run as a background agent (started by `muster up -d`)", Hidden: true,
		Args: exactly(0, "nothing"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			a := &announcement{to: os.NewFile(apart.AnswerFD, "answer")}
			syscall.CloseOnExec(apart.AnswerFD)
			err := s.runAgent(cmd.Context(), a)
			a.tell(fault.From(err))
			return err
		},
	}
	s.cgroupFlag(cmd)
	return cmd
}

// announcement tells the starter once how the start went.
type announcement struct {
	once sync.Once
	to   *os.File
}

// tell is harmless when the starter is gone, or was told already.
func (a *announcement) tell(f *fault.Fault) {
	a.once.Do(func() {
		_ = json.NewEncoder(a.to).Encode(answer{Fault: f})
		_ = a.to.Close()
	})
}

// runAgent reads the spec from stdin and runs until somebody ends it. Its
// stderr is the agent's log.
func (s *session) runAgent(ctx context.Context, told *announcement) error {
	var wanted spec.Spec
	if err := json.NewDecoder(s.stdin).Decode(&wanted); err != nil {
		return fault.New(fault.Usage, "`muster agent` is started by `muster up -d`, which hands it a specification: %w", err)
	}
	if err := detachStdin(); err != nil {
		return err
	}
	signals := obeyed()
	defer signal.Stop(signals)
	a, err := agent.New(agent.Options{
		Spec: wanted, Environ: s.environ, Version: Version(), Signals: signals, NoCgroup: s.noCgroup, Log: s.logger(),
		Load:    func() (spec.Spec, error) { return s.reread(wanted.File) },
		Serving: func() { told.tell(nil) },
	})
	if err != nil {
		return err
	}
	wait := console.Show(console.Options{Agent: a, Out: s.out, Err: s.err, LifecycleOnly: true})
	code, err := a.Run(ctx)
	wait()
	if err != nil {
		return err
	}
	return exitWith(code)
}

// detachStdin puts /dev/null where the pipe of the starter was.
func detachStdin() error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return fault.New(fault.StartFailed, "cannot open %s: %w", os.DevNull, err)
	}
	defer null.Close()
	if err := syscall.Dup3(int(null.Fd()), 0, 0); err != nil {
		return fault.New(fault.StartFailed, "cannot give stdin away: %w", err)
	}
	return nil
}
