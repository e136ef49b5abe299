package cli

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Version is the version of this binary, as Go has recorded it about the module
// (the tag in a release) or the commit, else "dev".
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "dev"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" && len(setting.Value) >= 12 {
			return "dev-" + setting.Value[:12]
		}
	}
	return "dev"
}

func (s *session) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version",
		Args: exactly(0, "nothing"),
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version string `json:"version"`
				Go      string `json:"go"`
				System  string `json:"system"`
			}{Version(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			if done, err := s.printData(v); done || err != nil {
				return err
			}
			s.out.Line("muster %s (%s, %s)", v.Version, v.Go, v.System)
			return nil
		},
	}
}
