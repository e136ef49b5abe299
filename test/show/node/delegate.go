package node

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/test/rig"
)

// delegated deploys a program that is its own primary, and waits for its forks.
func delegated(t *testing.T, c Cell) site {
	c.Program, c.Workers = "delegate", 1
	s := nodeSite(t, c, "    node: {cluster: delegate}\n")
	s.Up()
	s.printedUntil(t, "both forks listen", "listening ", 2)
	s.printedUntil(t, "messages go both ways", "answered ", 2)
	return s
}

// printedUntil waits for so many lines of the app's log that begin so.
func (s site) printedUntil(t *testing.T, what, prefix string, n int) {
	t.Helper()
	rig.Until(t, 20*time.Second, what, func() bool { return len(s.printed(t, prefix)) >= n })
}

// Delegate: a program that is its own primary.
func Delegate(t *testing.T, c Cell) string {
	s := delegated(t, c)
	if text := rig.Ask("http://" + s.addr + "/"); !strings.Contains(text, "colour=blue") {
		t.Errorf("answer %q", text)
	}
	rig.Ask("http://" + s.addr + "/more")
	rig.Until(t, 20*time.Second, "three forks", func() bool { return len(s.forks()) == 3 })
	if text := s.socketToPrimary(t); !strings.Contains(text, "has it") {
		t.Errorf("the primary answers %q on a socket of its fork", text)
	}
	run := startPorts(s.addr, clients)
	defer run.stop()
	s.Next(nil)
	s.Must("reload", "web")
	run.stop()
	if len(run.failures) > 0 {
		t.Errorf("%d requests were lost in a reload of %d: %+v", len(run.failures), run.answers, run.failures[0])
	}
	if text := rig.Ask("http://" + s.addr + "/"); !strings.Contains(text, "release=2") {
		t.Errorf("answer %q", text)
	}
	answers := run.answers
	s.Down()
	return fmt.Sprintf("forked by muster, messages and a socket, reloaded with %d answers and 0 lost", answers)
}

// socketToPrimary has a fork give its connection to the primary, who answers there.
func (s site) socketToPrimary(t *testing.T) string {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /socket HTTP/1.1\r\nHost: x\r\n\r\n")
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 200)
	n, _ := conn.Read(buf)
	return string(buf[:n])
}

// forks are those of the only worker that listen, id → pid.
func (s site) forks() map[int]int {
	pids := map[int]int{}
	for _, w := range s.App("web").Workers {
		if w.Node == nil {
			continue
		}
		for _, f := range w.Node.Forks {
			if f.State == "listening" {
				pids[f.ID] = f.PID
			}
		}
	}
	return pids
}

// newForks waits until there are two, without one of these pids.
func (s site) newForks(t *testing.T, gone ...int) map[int]int {
	t.Helper()
	var now map[int]int
	rig.Until(t, 20*time.Second, "two forks", func() bool {
		now = s.forks()
		return len(now) == 2 && !slices.ContainsFunc(slices.Collect(maps.Values(now)), func(pid int) bool { return slices.Contains(gone, pid) })
	})
	return now
}

// killAgent ends the agent by force, does more, and waits for the next one.
func (s site) killAgent(t *testing.T, more func()) {
	t.Helper()
	agent := s.Status().AgentPID
	_ = syscall.Kill(agent, syscall.SIGKILL)
	more()
	rig.Until(t, 20*time.Second, "another agent answers", func() bool {
		st, ok := s.TryStatus()
		return ok && st.AgentPID != agent
	})
}

// DelegateKilled kills a fork, the agent, a fork and the agent at once, and the program.
func DelegateKilled(t *testing.T, c Cell) string {
	s := delegated(t, c)
	kill := func(pid int) { _ = syscall.Kill(pid, syscall.SIGKILL) }
	old := s.newForks(t)[1]
	kill(old)
	s.printedUntil(t, "the program hears of it", "exit 1 null SIGKILL false", 1)
	forks, program := s.newForks(t, old), s.PIDs("web")

	s.killAgent(t, func() {})
	if now := s.newForks(t); !maps.Equal(now, forks) || !maps.Equal(s.PIDs("web"), program) {
		t.Errorf("the forks were %v and are %v", forks, now)
	}
	rig.Ask("http://" + s.addr + "/hello?n=again")
	s.printedUntil(t, "messages go both ways after that", "answered again", 1)
	kill(forks[2])
	s.printedUntil(t, "an exit after that", "exit 2 null SIGKILL false", 1)
	forks = s.newForks(t, forks[2])

	s.killAgent(t, func() { kill(forks[3]) })
	s.printedUntil(t, "an exit that no agent heard", "exit 3 null SIGKILL false", 1)
	forks = s.newForks(t, forks[3])

	kill(program[0])
	now := s.newForks(t, slices.Collect(maps.Values(forks))...)
	for _, pid := range forks {
		if rig.Alive(pid) {
			t.Errorf("fork %d has outlived its program", pid)
		}
	}
	rig.Until(t, 20*time.Second, "another process of the program is ready", func() bool {
		pid := s.PIDs("web")[0]
		return pid != 0 && pid != program[0]
	})
	s.Down()
	for _, pid := range now {
		if rig.Alive(pid) {
			t.Errorf("fork %d is left", pid)
		}
	}
	return "forks, program and agent killed; all back"
}
