package cli

import (
	"runtime"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/internal/cli/serve"
	"github.com/muster-run/muster/internal/cli/usage"
)

func (s *session) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version",
		Args: usage.Exactly(0, "nothing"),
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version string `json:"version"`
				Go      string `json:"go"`
				System  string `json:"system"`
			}{serve.Version(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			if done, err := s.printData(v); done || err != nil {
				return err
			}
			s.out.Line("muster %s (%s, %s)", v.Version, v.Go, v.System)
			return nil
		},
	}
}
