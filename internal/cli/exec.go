package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
)

func (s *session) execCommand() *cobra.Command {
	return &cobra.Command{
		Use: "exec APP[#N] -- COMMAND...", Short: "Run a command in an app's surroundings",
		Long: "Exec runs a command here, on this terminal, with the environment, directory and user\n" +
			"that a worker of the app has. Its exit code is passed on. It is no worker: muster does\n" +
			"not watch it, and it gets no listening sockets.",
		Example: "  muster exec web -- env\n  muster exec web#2 -- ./manage.py shell",
		Args:    between(2, -1, "an app and, behind --, a command"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, t, err := s.connect()
			if err != nil {
				return err
			}
			l, err := c.Launch(cmd.Context(), args[0])
			if err != nil {
				return t.unreachable(err)
			}
			return become(l, args[1:])
		},
		ValidArgsFunction: s.completeSelectors,
	}
}

// become replaces this process by the command, so that the terminal, signals
// and the exit code are its own. It returns only an error.
func become(l api.Launch, argv []string) error {
	if err := os.Chdir(l.Dir); err != nil {
		return fault.New(fault.DirMissing, "cannot enter the app's directory: %w", err)
	}
	path, err := findProgram(argv[0], getenv(l.Env, "PATH"))
	if err != nil {
		return err
	}
	if err := assume(l.User, l.Group); err != nil {
		return err
	}
	err = syscall.Exec(path, argv, l.Env)
	if errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.ENOEXEC) {
		return fault.New(fault.CommandDenied, "cannot run %s: %w", path, err)
	}
	return fault.New(fault.StartFailed, "cannot run %s: %w", path, err)
}

// findProgram looks a program up in the app's PATH, not in this command's.
func findProgram(name, path string) (string, error) {
	if strings.Contains(name, "/") {
		if _, err := os.Stat(name); err != nil {
			return "", fault.New(fault.CommandNotFound, "there is no program %s", name)
		}
		return name, nil
	}
	for _, dir := range filepath.SplitList(path) {
		candidate := filepath.Join(dir, name)
		info, err := os.Stat(candidate)
		if err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return candidate, nil
		}
	}
	return "", fault.New(fault.CommandNotFound, "there is no program %s in the app's PATH (%s)", name, path)
}
