package cli

import (
	"github.com/spf13/cobra"

	"github.com/muster-run/muster/internal/cli/usage"
	"github.com/muster-run/muster/internal/config"
	"github.com/muster-run/muster/internal/launch"
)

func (s *session) runCommand() *cobra.Command {
	var f config.RunFlags
	cmd := &cobra.Command{
		Use: "run [flags] -- COMMAND...", Short: "Run one program as a pool of workers, without a file",
		Long: "Run starts a program as a pool of workers and stays in the foreground. Listeners are\n" +
			"bound by muster and inherited by the workers (LISTEN_FDS). It starts a worker again when\n" +
			"it fails, ends when all have ended with 0 or are given up, and passes the last exit code\n" +
			"on (128+signal; with --restart never the first). The first Ctrl-C stops gracefully, the\n" +
			"second kills.",
		Example: "  muster run -n 4 --listen :8000 -- gunicorn app:app\n" +
			"  muster run -n auto --listen 127.0.0.1:8080=http --health http://127.0.0.1:8080/up -- ./server\n" +
			"  muster run --restart never -- make test",
		Args: usage.Between(1, -1, "a command behind --"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.notHere("`run`", "add the program to muster.yaml and give `up`, or run it in another terminal"); err != nil {
				return err
			}
			f.Command = args
			loaded, err := config.FromRun(f, s.environ)
			if err == nil {
				err = launch.CheckAll(loaded.Spec, s.warn)
			}
			if err != nil {
				return err
			}
			if err := s.leftovers(cmd.Context(), s.line().Of(loaded), false); err != nil {
				return err
			}
			s.note("no configuration file: defaults, and the flags of this command")
			return s.foreground(cmd.Context(), loaded)
		},
	}
	s.serveFlags(cmd)
	fl := cmd.Flags()
	fl.SetInterspersed(false)
	fl.StringVarP(&f.N, "workers", "n", "", "number of workers, or auto: one for each CPU (default 1)")
	fl.StringArrayVar(&f.Listen, "listen", nil, "ADDR[=name]: a socket that the workers inherit; may be repeated")
	fl.StringVar(&f.Health, "health", "", "health check: http://…, tcp:ADDR or cmd:COMMAND")
	fl.StringArrayVarP(&f.Env, "env", "e", nil, "K=V for the workers, or K to pass it on; may be repeated")
	fl.StringVar(&f.Restart, "restart", "", "always, on-failure or never (default on-failure)")
	fl.StringVar(&f.Name, "name", "", "name of the app (default: that of the program)")
	fl.StringVar(&f.Dir, "dir", "", "working directory (default: this one)")
	fl.StringVar(&f.Ready, "ready", "", "notify, listening, probe, port, alive:1s or output:REGEX")
	fl.StringVar(&f.StopSignal, "stop-signal", "", "signal that ends a worker gracefully (default TERM)")
	fl.StringVar(&f.StopTimeout, "stop-timeout", "", "time until what is left is killed (default 30s)")
	return cmd
}
