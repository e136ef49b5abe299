package cli

import (
	"github.com/spf13/cobra"

	"github.com/muster-run/muster/internal/cli/usage"
)

func (s *session) keyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "session-key", Short: "Print the key for control.listen",
		Long: "Session-key prints the secret with which programs on this host stop and restart apps by\n" +
			"HTTP, where control.listen says. It is another one whenever muster is started anew.",
		Example: "  curl -H \"Authorization: Bearer $(muster session-key -q)\" -d '{\"selector\":\"web\"}' http://127.0.0.1:9009/v1/restart",
		Args:    usage.Exactly(0, "nothing"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, t, err := s.connect()
			if err != nil {
				return err
			}
			key, err := c.SessionKey(cmd.Context())
			if err != nil {
				return t.Unreachable(err)
			}
			if done, err := s.printData(key); done || err != nil {
				return err
			}
			s.out.Line("%s", key.Key)
			if key.Listen == "" {
				s.note("it is accepted nowhere: write control: {listen: 127.0.0.1:9009} in muster.yaml, then `muster up`")
			} else {
				s.note("it is accepted at http://%s", key.Listen)
			}
			return nil
		},
	}
}
