package process_test

import (
	"strings"
	"syscall"
	"testing"

	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/process/processtest"
)

// An agent that was killed has left a worker and its grandchild in a session of
// its own; the next agent ends all, and nobody else's workers.
func TestKillLeftovers(t *testing.T) {
	dir := t.TempDir()
	d := direct(t, process.Options{NoCgroup: true})
	start := func(id, socket string) (process.Proc, int) {
		c := processtest.Program("family")
		c.Env = append(c.Env, "NOTIFY_SOCKET="+socket)
		c.Spool = t.TempDir() + "/spool"
		p := startFor(t, d, id, c)
		return p, atoi(t, strings.TrimSpace(firstLine(t, d, id)))
	}
	left, grandchild := start("a", dir+"/n/1")
	other, others := start("b", "/elsewhere"+dir+"/n/1")
	named := map[int]string{}
	list, err := process.Leftovers("NOTIFY_SOCKET", dir+"/")
	for _, l := range list {
		named[l.PID] = l.Command
	}
	if err != nil || named[left.PID] == "" || named[grandchild] == "" || named[other.PID] != "" || named[others] != "" {
		t.Errorf("left are %d and %d, not %d and %d: %v, %v", left.PID, grandchild, other.PID, others, list, err)
	}
	if n, err := process.KillLeftovers("NOTIFY_SOCKET", dir+"/"); n < 2 || err != nil {
		t.Errorf("killed %d, %v", n, err)
	}
	eventually(t, "the worker is gone", func() bool {
		empty, err := left.Empty()
		return err == nil && empty
	})
	eventually(t, "the grandchild is gone", func() bool { return syscall.Kill(grandchild, 0) != nil })
	if err := other.Signal(0); err != nil || syscall.Kill(others, 0) != nil {
		t.Errorf("another agent's worker was killed: %v", err)
	}
	if n, err := process.KillLeftovers("NOTIFY_SOCKET", dir+"/"); n != 0 || err != nil {
		t.Errorf("killed %d more, %v", n, err)
	}
}
