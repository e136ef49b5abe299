package cli

import (
	"bufio"
	"context"
	"io"
	"os"
	"strings"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/agent"
	"github.com/muster-run/muster/internal/cli/project"
	"github.com/muster-run/muster/internal/cli/show"
	"github.com/muster-run/muster/internal/console"
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

// ask asks a question on the terminal; nil is yes. otherwise is the answer of who
// only presses Enter.
func (s *session) ask(ctx context.Context, question string, otherwise bool) error {
	choice := "[y/N]"
	if otherwise {
		choice = "[Y/n]"
	}
	s.err.Printf("%s %s ", question, choice)
	answered := make(chan string, 1)
	in, done, err := s.keys(ctx)
	if err != nil {
		return err
	}
	go func() { // ends with the answer, or with ctx
		defer done()
		answer, err := bufio.NewReader(in).ReadString('\n')
		if err != nil && answer == "" {
			answer = "n"
		}
		answered <- strings.ToLower(strings.TrimSpace(answer))
	}()
	select {
	case a := <-answered:
		if a == "y" || a == "yes" || a == "" && otherwise {
			return nil
		}
	case <-ctx.Done():
		s.err.Line("")
	}
	return fault.New(fault.Interrupted, "nothing was changed").WithFix("-y answers yes")
}

// keys is stdin until ctx ends: what is typed later is for who reads next.
func (s *session) keys(ctx context.Context) (in io.Reader, done func(), err error) {
	if f, ok := s.stdin.(*os.File); ok {
		return console.NewInput(ctx, f)
	}
	return s.stdin, func() {}, nil
}
