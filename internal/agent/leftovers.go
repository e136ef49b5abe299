package agent

import (
	"errors"
	"os"

	"github.com/muster-run/muster/internal/process"
)

// leftoverVar is in the environment of every worker, with a path below the
// project's runtime directory: what runs with it and without an agent is left.
const leftoverVar = "NOTIFY_SOCKET"

func (p Paths) leftoverPrefix() string { return p.Runtime + "/" }

// Leftovers lists what still runs of a project whose keeper and agent are gone;
// ask only where nobody holds the lock.
func Leftovers(p Paths) ([]process.Leftover, error) {
	return process.Leftovers(leftoverVar, p.leftoverPrefix())
}

// EndLeftovers ends what Leftovers lists, and returns how many processes that
// were. Where somebody holds the project's lock it is theirs to do:
// E-AGENT-RUNNING.
func EndLeftovers(p Paths) (int, error) {
	lock, err := takeLock(p.Lock, os.Getpid())
	if err != nil {
		return 0, err
	}
	n, err := process.KillLeftovers(leftoverVar, p.leftoverPrefix())
	return n, errors.Join(err, lock.release())
}

func (a *Agent) killLeftovers() (int, error) {
	return process.KillLeftovers(leftoverVar, a.paths.leftoverPrefix())
}
