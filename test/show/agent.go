package show

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/test/rig"
)

const idleApp = `version: 1
apps:
  idle: {command: sleep 1000, ready: alive}
`

// SecondAgent: a second agent of one project is refused with the pid of the
// first; `up` while one runs is a client of it.
func SecondAgent(t *testing.T) string {
	p := rig.New(t, idleApp)
	p.Up()
	first := p.Status().AgentPID
	r := p.Run("up")
	if r.Code != 0 || p.Status().AgentPID != first {
		t.Errorf("up while an agent runs: %v", r)
	}
	r = p.Run("agent")
	if r.Code == 0 {
		t.Errorf("a second agent: %v", r)
	}
	p.Down()
	return fmt.Sprintf("agent %d stays the only one", first)
}

// StaleFiles: what a keeper and an agent that were killed have left is no obstacle.
func StaleFiles(t *testing.T) string {
	p := rig.New(t, idleApp)
	p.Up()
	st := p.Status()
	first := st.AgentPID
	_ = syscall.Kill(st.KeeperPID, syscall.SIGKILL)
	_ = syscall.Kill(first, syscall.SIGKILL)
	rig.Until(t, 10*time.Second, "the agent is dead", func() bool { return !rig.Alive(first) })
	r := p.Run("status")
	if r.Code != 3 && r.Code != 5 {
		t.Errorf("status after kill -9 of everything: %v", r)
	}
	p.Up()
	second := p.Status()
	if second.AgentPID == first || len(second.Apps) != 1 {
		t.Errorf("the new agent: %+v", second)
	}
	p.Down()
	return "a new agent starts over socket and lock of a killed one"
}

// AgentKilledAlone kills the agent of `--no-keeper` with -9: its workers are its
// own children, and none may be left that a new agent knows nothing of.
func AgentKilledAlone(t *testing.T) string {
	s := deploy(t, "hello", workers("2"))
	s.Up("--no-keeper")
	old := s.PIDs("hello")
	agent := s.Status().AgentPID
	_ = syscall.Kill(agent, syscall.SIGKILL)
	rig.Until(t, 10*time.Second, "the agent is dead", func() bool { return !rig.Alive(agent) })
	s.Up("--no-keeper")
	s.mustAnswer(t, "", 2)
	known := map[int]bool{s.Status().AgentPID: true}
	for _, pid := range s.PIDs("hello") {
		known[pid] = true
	}
	for _, left := range s.Left() {
		var pid int
		_, _ = fmt.Sscan(left, &pid)
		if !known[pid] {
			t.Errorf("after kill -9 of the agent and a new up, this is left of %v: %s", old, left)
		}
	}
	s.Down()
	return "the next agent has cleared what the killed one left"
}

// PortInUse: the fault names the pid that holds the port.
func PortInUse(t *testing.T) string {
	l, err := net.Listen("tcp4", rig.Addr(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := rig.New(t, fmt.Sprintf("version: 1\napps:\n  web: {command: sleep 1000, listen: %q}\n", l.Addr()))
	r := p.Run("up", "-d")
	if r.Code != 1 || !strings.Contains(r.Stderr, "E-PORT-IN-USE") || !strings.Contains(r.Stderr, fmt.Sprint(os.Getpid())) {
		t.Errorf("want exit code 1, E-PORT-IN-USE and pid %d: %v", os.Getpid(), r)
	}
	p.Run("down")
	p.NothingLeft()
	return "names the pid"
}

// PID1 runs muster as the first process of a PID namespace: it must reap what
// is left to it, and end with its workers' code.
func PID1(t *testing.T) string {
	p := rig.New(t, "")
	ready := filepath.Join(t.TempDir(), "zombies")
	cmd := exec.Command("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--",
		rig.Muster(), "run", "--restart", "never", "--", "/bin/sh", "-c",
		rig.Prop()+` orphans 20 & sleep 1; for i in 1 2 3 4 5 6 7 8 9 10; do
			sleep 0.5; n=$(grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l); [ $n = 0 ] && break; done
			echo $n > `+ready+`; cat /proc/1/comm; kill -TERM $!; exit 7`)
	cmd.Dir, cmd.Env = p.Dir, p.Env
	r := p.Finish(cmd)
	if r.Code != 7 || !strings.Contains(r.Stdout, "muster") {
		t.Errorf("want the worker's exit code 7: %v", r)
	}
	text, _ := os.ReadFile(ready)
	if got := strings.TrimSpace(string(text)); got != "0" {
		t.Errorf("%s zombies as PID 1", got)
	}
	return "20 orphans reaped, exit code passed on"
}

// RunCodes: `muster run` passes exit codes on, ends on Ctrl-C, and on a second
// one at once.
func RunCodes(t *testing.T) string {
	p := rig.New(t, "")
	for _, tc := range []struct {
		args []string
		want int
	}{
		{[]string{"run", "--", "true"}, 0},
		{[]string{"run", "--restart", "never", "--", "sh", "-c", "exit 9"}, 9},
		{[]string{"run", "--restart", "never", "--", "sh", "-c", "kill -9 $$"}, 128 + 9},
		{[]string{"run", "--", "./no-such-program"}, 1},
		{[]string{"run", "--no-such-flag", "--", "true"}, 2},
		{[]string{"run"}, 2},
	} {
		if r := p.Run(tc.args...); r.Code != tc.want || r.Took > 10*time.Second {
			t.Errorf("muster %v: want %d, soon: %v", tc.args, tc.want, r)
		}
	}
	graceful := interrupt(t, p, 1, "sh", "-c", `trap 'sleep 0.3; echo clean end; exit 0' TERM; echo up; while :; do sleep 0.05; done`)
	if !strings.Contains(graceful.Stdout, "clean end") || graceful.Code != 0 && graceful.Code != 130 {
		t.Errorf("one Ctrl-C: %v", graceful)
	}
	forced := interrupt(t, p, 2, "sh", "-c", `trap '' TERM; echo up; while :; do sleep 0.05; done`)
	if forced.Took > 10*time.Second {
		t.Errorf("two Ctrl-C: %v", forced)
	}
	p.NothingLeft()
	return fmt.Sprintf("codes passed on; Ctrl-C twice ends a TERM-ignoring worker in %.1fs", forced.Took.Seconds())
}

// interrupt runs a command, waits for its word "up", and sends SIGINT so often.
func interrupt(t *testing.T, p *rig.Project, times int, argv ...string) rig.Result {
	t.Helper()
	cmd := p.Cmd(append([]string{"run", "--"}, argv...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	end := p.Begin(cmd)
	rig.Until(t, 20*time.Second, "the worker is up", func() bool {
		s, ok := p.TryStatus()
		return ok && len(s.Apps) == 1 && len(s.Apps[0].Workers) == 1 && strings.Contains(s.Apps[0].Workers[0].LastLine, "up")
	})
	for range times {
		_ = cmd.Process.Signal(os.Interrupt)
		rig.For(300 * time.Millisecond)
	}
	return end()
}

// ReallyUp: `go run ./cmd/muster up` of the first example in a fresh copy of the
// tree serves, as README says.
func ReallyUp(t *testing.T) string {
	p := rig.New(t, "")
	cmd := exec.Command("go", "run", "./cmd/muster", "up", "-c", "examples/hello/muster.yaml")
	cmd.Dir, cmd.Env = freshCopy(t), p.Env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out := filepath.Join(t.TempDir(), "out")
	f, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		<-ended
		p.NothingLeft()
	}()
	serves := false
	rig.Within(3*time.Minute, func() bool {
		serves = strings.Contains(rig.Ask("http://127.0.0.1:8080/"), "release=1")
		return serves || closed(ended)
	})
	if !serves {
		text, _ := os.ReadFile(out)
		t.Fatalf("does not serve:\n%s", text)
	}
	return fmt.Sprintf("serves after %.1fs, build included", time.Since(start).Seconds())
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// freshCopy is the tree without what git ignores, and git's own.
func freshCopy(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	entries, err := os.ReadDir(rig.Root())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := e.Name()
		from, to := filepath.Join(rig.Root(), name), filepath.Join(dir, name)
		switch {
		case strings.HasPrefix(name, "."), name == "bin", name == "dist", name == "node_modules":
		case e.IsDir():
			err = os.CopyFS(to, os.DirFS(from))
		default:
			var text []byte
			if text, err = os.ReadFile(from); err == nil {
				err = os.WriteFile(to, text, 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	_ = os.Remove(filepath.Join(dir, "examples", "hello", "hello"))
	return dir
}

// HealthCheck: a worker that stops answering its check is replaced.
func HealthCheck(t *testing.T) string {
	s := deploy(t, "hello", func(yaml string) string {
		return strings.Replace(yaml, "    workers: 2\n", "    workers: 1\n    health: {http: 'http://ADDR/', interval: 200ms, timeout: 300ms, failures: 2}\n    stop: {timeout: 2s}\n", 1)
	})
	s.Write("muster.yaml", strings.Replace(read(t, s, "muster.yaml"), "ADDR", s.addr, 1))
	s.Up()
	pid := s.PIDs("hello")[0]
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	start := time.Now()
	rig.Until(t, 60*time.Second, "the hanging worker is replaced", func() bool {
		now := s.PIDs("hello")
		return len(now) == 1 && now[0] != pid
	})
	took := time.Since(start)
	if a := s.App("hello"); a.Status != event.Healthy {
		t.Errorf("the app is %s: %s", a.Status, a.Why)
	}
	s.Down()
	return fmt.Sprintf("a worker that hangs is replaced after %.1fs", took.Seconds())
}

func read(t *testing.T, s site, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.Dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
