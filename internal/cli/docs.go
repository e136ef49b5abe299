package cli

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/cli/reference"
	"github.com/muster-run/muster/internal/cli/usage"
)

func (s *session) docsCommand() *cobra.Command {
	dir := "docs/reference"
	cmd := &cobra.Command{
		Use: "docs", Short: "Write the reference pages", Hidden: true,
		Args: usage.Exactly(0, "nothing"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for name, text := range reference.Pages(cmd.Root()) {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					return fault.New(fault.Permission, "cannot write the reference: %w", err)
				}
				s.note("%s", filepath.Join(dir, name))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "dir", dir, "directory of the pages")
	return cmd
}
