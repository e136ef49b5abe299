package cli

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/internal/cli/usage"
	"github.com/muster-run/muster/internal/process/apart"
)

// beside runs a program out of a console, which waits for its end.
func (s *session) beside(p apart.Program) error {
	stdin, _ := s.stdin.(*os.File)
	child, err := apart.Beside(p, stdin)
	if err != nil {
		return err
	}
	return exitWith(child.Wait())
}

func (s *session) execCommand() *cobra.Command {
	return &cobra.Command{
		Use: "exec APP[#N] -- COMMAND...", Short: "Run a command in an app's surroundings",
		Long: "Exec runs a command here, on this terminal, with the environment, directory and user\n" +
			"that a worker of the app has. Its exit code is passed on. It is no worker: muster does\n" +
			"not watch it, and it gets no listening sockets.",
		Example: "  muster exec web -- env\n  muster exec web#2 -- ./manage.py shell",
		Args:    usage.Between(2, -1, "an app and, behind --, a command"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, t, err := s.connect()
			if err != nil {
				return err
			}
			l, err := c.Launch(cmd.Context(), args[0])
			if err != nil {
				return t.Unreachable(err)
			}
			p := apart.Program{Argv: args[1:], Env: l.Env, Dir: l.Dir, User: l.User, Group: l.Group}
			if s.pinned == nil {
				return apart.Become(p)
			}
			return s.beside(p)
		},
		ValidArgsFunction: s.completeSelectors,
	}
}
