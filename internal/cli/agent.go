package cli

import (
	"encoding/json"
	"os"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/agent"
	"github.com/muster-run/muster/internal/cli/serve"
	"github.com/muster-run/muster/internal/cli/usage"
)

// agentCommand is what the keeper starts.
func (s *session) agentCommand() *cobra.Command {
	p := serve.Process{Out: os.Stdout, Err: os.Stderr, Environ: s.environ}
	var check bool
	cmd := &cobra.Command{
		Use: "agent [NAME]", Short: "Run as the agent of a keeper (started by muster itself)", Hidden: true,
		Args: usage.Between(0, 1, "the project's name"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if check {
				return s.tellAbilities()
			}
			code, err := p.RunAgent(cmd.Context())
			if err != nil {
				s.printFault(fault.From(err))
			}
			return exitWith(code)
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "print what this binary is able to take over")
	cmd.Flags().IntVar(&p.Boot, "boot", -1, "descriptor of what to run")
	cmd.Flags().IntVar(&p.Answer, "answer", -1, "descriptor to tell that it serves")
	return cmd
}

// tellAbilities answers the agent that is to be replaced by this binary.
func (s *session) tellAbilities() error {
	text, err := json.Marshal(agent.Able(serve.Version()))
	if err != nil {
		return fault.New(fault.Internal, "cannot tell what this binary can do: %w", err)
	}
	s.out.Line("%s", text)
	return nil
}
