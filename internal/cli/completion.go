package cli

import (
	"context"
	_ "embed"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/cli/pick"
	"github.com/muster-run/muster/internal/cli/usage"
)

// completionPatience bounds the question to the agent: a shell waits for it.
const completionPatience = 500 * time.Millisecond

// bareBash makes the script work on a host without the package bash-completion.
//
//go:embed completion.bash
var bareBash string

func (s *session) completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use: "completion bash|zsh|fish", Short: "Print a script that completes commands and apps",
		Example: "  source <(muster completion bash)\n  muster completion zsh > \"${fpath[1]}/_muster\"\n" +
			"  muster completion fish | source",
		Args:      usage.Exactly(1, "a shell: "+strings.Join(shells, ", ")),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				err := cmd.Root().GenBashCompletionV2(s.out, true)
				s.out.Printf("%s", bareBash)
				return err
			case "zsh":
				return cmd.Root().GenZshCompletion(s.out)
			case "fish":
				return cmd.Root().GenFishCompletion(s.out, true)
			}
			return fault.New(fault.Usage, "there is no completion for %q", args[0]).
				WithFix("choose one of " + strings.Join(shells, ", "))
		},
	}
}

// completeSelectors completes the first argument.
func (s *session) completeSelectors(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return s.selectors(cmd.Context(), word), cobra.ShellCompDirectiveNoFileComp
}

// completeSecond completes a selector behind another argument.
func (s *session) completeSecond(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return s.selectors(cmd.Context(), word), cobra.ShellCompDirectiveNoFileComp
}

// selectors are the names of what runs, or of what the file declares when no
// agent answers.
func (s *session) selectors(ctx context.Context, word string) []string {
	if ctx == nil {
		ctx = context.Background()
	}
	return pick.Candidates(s.knownApps(ctx), word)
}

func (s *session) knownApps(ctx context.Context) []api.App {
	ctx, cancel := context.WithTimeout(ctx, completionPatience)
	defer cancel()
	if c, _, err := s.connect(); err == nil {
		if st, err := c.Status(ctx); err == nil {
			return st.Apps
		}
	}
	return pick.Declared(s.declared())
}
