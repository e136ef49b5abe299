package apart

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/muster-run/muster/fault"
)

// Program is a command and its surroundings.
type Program struct {
	Argv []string // Argv[0] is looked up in Env's PATH; a relative path is relative to Dir
	Env  []string // complete, "K=V"
	Dir  string   // absolute
	// User and Group are names or numbers; "" changes nothing.
	User, Group string
}

// Become replaces this process by the program, so that the terminal, signals and
// the exit code are its own. It returns only an error, a *fault.Fault:
// E-DIR-MISSING, E-COMMAND-NOT-FOUND, E-COMMAND-DENIED, E-USER-UNKNOWN,
// E-PERMISSION, E-START.
func Become(p Program) error {
	if err := os.Chdir(p.Dir); err != nil {
		return fault.New(fault.DirMissing, "cannot enter the app's directory: %w", err)
	}
	path, err := find(p.Argv[0], p.Env)
	if err != nil {
		return err
	}
	if err := assume(p.User, p.Group); err != nil {
		return err
	}
	err = syscall.Exec(path, p.Argv, p.Env)
	if errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.ENOEXEC) {
		return fault.New(fault.CommandDenied, "cannot run %s: %w", path, err)
	}
	return fault.New(fault.StartFailed, "cannot run %s: %w", path, err)
}

// find looks a program up in the app's PATH, not in this command's.
func find(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		if _, err := os.Stat(name); err != nil {
			return "", fault.New(fault.CommandNotFound, "there is no program %s", name)
		}
		return name, nil
	}
	path := ""
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
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
