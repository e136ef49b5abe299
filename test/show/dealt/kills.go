package dealt

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/spec"
	"github.com/muster-run/muster/test/load"
	"github.com/muster-run/muster/test/rig"
)

// WorkerKills: what a killed worker had not accepted goes to others: a request may only be lost with a
// worker that had its connection.
func WorkerKills(t *testing.T, b spec.Balance, n int) string {
	file := filepath.Join(t.TempDir(), "clients")
	s := deploy(t, 3, declared(b)+"    restart: {delay: 10ms}\n", map[string]string{clientsVar: file})
	s.Up()
	l := startPorts(s.addr)
	killed := map[int]bool{}
	for range n {
		rig.For(300 * time.Millisecond)
		pids := slices.Collect(maps.Values(s.PIDs("web")))
		if len(pids) == 0 {
			continue
		}
		pid := pids[rand.IntN(len(pids))]
		killed[pid] = true
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	l.stop()
	s.Healthy()
	owners := noted(t, file)
	unseen := 0
	for port, err := range l.failed {
		pids := owners[port]
		if len(pids) == 0 {
			unseen++ // killed between accept and the note: one for each kill
		} else if !slices.ContainsFunc(pids, func(pid int) bool { return killed[pid] }) {
			t.Errorf("the connection from port %d failed, and none of the pids %v that had it was killed: %v", port, pids, err)
		}
	}
	if unseen > len(killed) {
		t.Errorf("%d connections failed that nobody had accepted, of %d kills", unseen, len(killed))
	}
	if len(killed) < n/2 || l.answers < 100 {
		t.Errorf("%d kills and %d answers are no proof", len(killed), l.answers)
	}
	s.Down()
	return fmt.Sprintf("%d kills, %d answers, %d cut off with the worker that had accepted them", len(killed), l.answers, len(l.failed))
}

// ports is a load of new connections that knows the local port of each.
type ports struct {
	end     context.CancelFunc
	all     sync.WaitGroup
	mu      sync.Mutex
	answers int
	failed  map[int]error // by the client's port; 0: not connected
}

func startPorts(addr string) *ports {
	ctx, cancel := context.WithCancel(context.Background())
	p := &ports{end: cancel, failed: map[int]error{}}
	for range clients {
		p.all.Go(func() {
			for ctx.Err() == nil {
				port, err := once(addr)
				p.mu.Lock()
				if err == nil {
					p.answers++
				} else {
					p.failed[port] = err
				}
				p.mu.Unlock()
			}
		})
	}
	return p
}

func (p *ports) stop() { p.end(); p.all.Wait() }

// once asks over a connection of its own.
func once(addr string) (port int, err error) {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	port = conn.LocalAddr().(*net.TCPAddr).Port
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err = fmt.Fprintf(conn, "GET /?ms=%d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", rand.IntN(20)); err != nil {
		return port, err
	}
	text, err := io.ReadAll(conn)
	if err == nil && !pidWord.Match(text) {
		err = fmt.Errorf("answered %q", text)
	}
	return port, err
}

// noted is which workers have accepted connections from a port.
func noted(t *testing.T, file string) map[int][]int {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	owners := map[int][]int{}
	for line := range strings.Lines(string(text)) {
		var pid, port int
		if _, err := fmt.Sscan(line, &pid, &port); err == nil {
			owners[port] = append(owners[port], pid)
		}
	}
	return owners
}

// AgentKills is the bar, 7: workers live through kill -9 of the agent, and go on taking connections
// from the next one; in a reload, too.
func AgentKills(t *testing.T, b spec.Balance, n int) string {
	s := deploy(t, 3, declared(b), nil)
	s.Up()
	run := load.Start(load.Options{Addr: s.addr, Fresh: clients, Kept: clients})
	defer run.Stop()
	for i := range n {
		before := s.PIDs("web")
		if i%2 == 0 {
			s.killAgent(t)
			if now := s.PIDs("web"); !maps.Equal(before, now) {
				t.Errorf("workers were %v and are %v", before, now)
			}
		} else {
			s.Next(nil)
			end := s.Begin(s.Cmd("reload", "web"))
			rig.For(time.Duration(rand.IntN(700)) * time.Millisecond)
			s.killAgent(t)
			end()
			s.Healthy()
		}
		run.Mark()
		rig.Until(t, 30*time.Second, "answers of 3 workers", func() bool { return len(run.Report().PIDs()) >= 3 })
	}
	end := run.Stop()
	if end.Lost() > 0 {
		t.Errorf("requests were lost: %v", end)
	}
	s.Must("reload", "web")
	s.Down()
	return fmt.Sprintf("%d kills of the agent: %v", n, end)
}

// killAgent kills the agent and returns once the next one answers.
func (s site) killAgent(t *testing.T) {
	t.Helper()
	before := s.Status()
	if err := syscall.Kill(before.AgentPID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	rig.Until(t, 20*time.Second, "another agent answers", func() bool {
		st, ok := s.TryStatus()
		return ok && st.AgentPID != before.AgentPID
	})
}
