package cli

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/cli/show"
	"github.com/muster-run/muster/internal/cli/usage"
)

func (s *session) eventsCommand() *cobra.Command {
	var follow bool
	var after uint64
	cmd := &cobra.Command{
		Use: "events", Short: "Print what happened",
		Long: "Events prints the facts that the agent has kept, oldest first; -f goes on with new ones.\n" +
			"-o jsonl prints them whole; their seq is what --after takes.",
		Example: "  muster events\n  muster events -f -o jsonl --after 120",
		Args:    usage.Exactly(0, "nothing"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.events(cmd.Context(), after, follow)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what comes until Ctrl-C")
	cmd.Flags().Uint64Var(&after, "after", 0, "only events with a higher sequence number")
	return cmd
}

func (s *session) events(ctx context.Context, after uint64, follow bool) error {
	c, t, err := s.connect()
	if err != nil {
		return err
	}
	if follow {
		var cancel context.CancelFunc
		ctx, cancel = interruptible(ctx)
		defer cancel()
		err = c.Events(ctx, after, s.printEvent(show.NewNarrator()))
		if fault.CodeOf(err) == fault.Interrupted {
			return nil
		}
		return t.Unreachable(err)
	}
	return t.Unreachable(c.PastEvents(ctx, after, s.printEvent(show.NewNarrator())))
}

// printEvent prints one event in the chosen format.
func (s *session) printEvent(n *show.Narrator) func(event.Event) error {
	whole := s.format().Lines()
	return func(e event.Event) error {
		if whole {
			text, err := json.Marshal(e)
			if err != nil {
				return fault.New(fault.Internal, "cannot print an event: %w", err)
			}
			_, err = s.out.Write(append(text, '\n'))
			return err
		}
		text, m := n.Line(e)
		if text == "" {
			return nil
		}
		if i := m.Ink(); i != 0 {
			text = s.out.Paint(i, text)
		}
		_, err := s.out.Write([]byte(e.Time.Local().Format("2006-01-02 15:04:05.000") + " " + text + "\n"))
		return err
	}
}
