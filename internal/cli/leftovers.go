package cli

import (
	"context"

	"github.com/muster-run/muster/internal/agent"
	"github.com/muster-run/muster/internal/cli/ask"
	"github.com/muster-run/muster/internal/cli/project"
	"github.com/muster-run/muster/internal/cli/show"
)

// leftoversShown is how many processes are named.
const leftoversShown = 10

// leftovers names what a muster that was killed has left running, and asks on a
// terminal whether it may be ended. The agent that is about to start ends it.
func (s *session) leftovers(ctx context.Context, t project.Target, yes bool) error {
	list, err := agent.Leftovers(t.Paths)
	if err != nil || len(list) == 0 {
		return nil // the agent looks again, and tells what went wrong
	}
	s.err.Line("%s left running by a muster of %s that was killed:", show.Count(len(list), "process"), t.Name)
	for i, p := range list {
		if i == leftoversShown {
			s.err.Line("  and %d more", len(list)-i)
			break
		}
		s.err.Line("  pid %d: %s", p.PID, p.Command)
	}
	if yes || s.flags.noInput || !s.onTerminal() {
		s.err.Line("ending %s", show.Count(len(list), "process"))
		return nil
	}
	return s.ask(ctx, "end them and start anew?", true)
}

// ask asks a question on the terminal; nil is yes.
func (s *session) ask(ctx context.Context, question string, otherwise bool) error {
	return ask.Terminal{In: s.stdin, Out: s.err}.Ask(ctx, question, otherwise)
}
