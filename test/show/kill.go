package show

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/test/load"
	"github.com/muster-run/muster/test/rig"
)

// KillEachWorker kills each worker in turn under load. A request in flight may
// be lost with its worker, but nobody may be refused or hang, and the worker is
// replaced within the back-off.
func KillEachWorker(t *testing.T, p Program) string {
	s := deploy(t, p.Name, workers("3"))
	s.Up()
	run := load.Start(load.Options{Addr: s.addr, Fresh: clients, Kept: clients})
	defer run.Stop()
	var slowest time.Duration
	for slot, pid := range s.PIDs(p.Name) {
		start := time.Now()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		rig.Until(t, 30*time.Second, fmt.Sprintf("worker #%d is replaced", slot), func() bool {
			now := s.PIDs(p.Name)
			return len(now) == 3 && now[slot] != pid
		})
		slowest = max(slowest, time.Since(start))
	}
	end := run.Stop()
	if end.Of(load.Refused) > 0 || end.Of(load.Hung) > 0 {
		t.Errorf("refused or hung: %v", end)
	}
	for _, w := range s.App(p.Name).Workers {
		if w.Restarts != 1 || w.LastExit == nil || w.LastExit.Signal != "SIGKILL" || w.LastExit.Planned {
			t.Errorf("worker #%d: %d restarts, last exit %+v", w.Slot, w.Restarts, w.LastExit)
		}
	}
	s.Down()
	return fmt.Sprintf("%d answers, %d refused, %d hung, %d cut off with their worker; ready again after at most %.2fs",
		end.Answers(), end.Of(load.Refused), end.Of(load.Hung), end.Lost(), slowest.Seconds())
}

// Stray starts a worker with a grandchild in its own session that ignores every
// polite signal: it must be gone after stop.
func Stray(t *testing.T, cgroup bool) string {
	file := filepath.Join(t.TempDir(), "pid")
	p := rig.New(t, fmt.Sprintf(`version: 1
apps:
  web:
    command: [%q, stubborn, %q]
    stop: {timeout: 1s}
`, rig.Prop(), file))
	args := []string{}
	if !cgroup {
		args = append(args, "--no-cgroup")
	}
	p.Up(args...)
	var pid int
	rig.Until(t, 10*time.Second, "the grandchild runs", func() bool {
		text, _ := os.ReadFile(file)
		_, err := fmt.Sscan(string(text), &pid)
		return err == nil && rig.Alive(pid)
	})
	if own := inOwnCgroup(pid); own != cgroup {
		t.Errorf("the grandchild is in a cgroup of the worker: %v, want %v", own, cgroup)
	}
	start := time.Now()
	p.Must("stop", "web")
	took := time.Since(start)
	if rig.Alive(pid) {
		t.Errorf("the grandchild %d lives after stop", pid)
	}
	p.Down()
	return fmt.Sprintf("gone with the stop, %.2fs", took.Seconds())
}

// inOwnCgroup says whether a process is in another cgroup v2 than this one.
func inOwnCgroup(pid int) bool {
	unified := func(pid string) string {
		text, _ := os.ReadFile("/proc/" + pid + "/cgroup")
		for line := range strings.Lines(string(text)) {
			if path, ok := strings.CutPrefix(line, "0::"); ok {
				return path
			}
		}
		return ""
	}
	return unified(fmt.Sprint(pid)) != unified("self")
}

// MissingExecutable removes the program, kills its worker and brings the
// program back: so must the worker.
func MissingExecutable(t *testing.T) string {
	p := rig.New(t, `version: 1
apps:
  web:
    command: [./server, ignore]
    stop: {timeout: 1s}
    ready: alive
`)
	server := filepath.Join(p.Dir, "server")
	text, err := os.ReadFile(rig.Prop())
	if err != nil {
		t.Fatal(err)
	}
	put := func() {
		if err := os.WriteFile(server+".new", text, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(server+".new", server); err != nil {
			t.Fatal(err)
		}
	}
	put()
	p.Up()
	if err := os.Remove(server); err != nil {
		t.Fatal(err)
	}
	pid := p.PIDs("web")[0]
	_ = syscall.Kill(pid, syscall.SIGKILL)
	rig.Until(t, 10*time.Second, "a start failed", func() bool {
		w := p.App("web").Workers[0]
		return w.State == event.Backoff && w.PID == 0 && w.Restarts+len(w.Why) > 1
	})
	why := p.App("web").Workers[0].Why
	put()
	start := time.Now()
	rig.Until(t, 40*time.Second, "the worker is back", func() bool { return len(p.PIDs("web")) == 1 })
	back := time.Since(start)
	p.Down()
	return fmt.Sprintf("%q, back %.1fs after the program", why, back.Seconds())
}

// CrashLoop runs a program that fails at once: its worker is given up, and
// until then it costs hardly any processor time, its own and its starts
// included.
func CrashLoop(t *testing.T) string {
	p := rig.New(t, fmt.Sprintf(`version: 1
apps:
  bad:
    command: [%s, exit, "3"]
    restart: {limit: 4}
  loop:
    command: [%s, exit, "4"]
    restart: {limit: 0}
`, rig.Prop(), rig.Prop()))
	if r := p.Run("up", "-d"); r.Code != 1 && r.Code != 7 {
		t.Errorf("up of apps that fail: %v", r)
	}
	rig.Until(t, 30*time.Second, "bad is failed", func() bool { return p.App("bad").Status == event.AppFailed })
	w := p.App("bad").Workers[0]
	if w.State != event.Failed || w.LastExit == nil || w.LastExit.Code != 3 {
		t.Errorf("want failed with the last exit code 3: %+v", w)
	}
	if r := p.Run("status"); r.Code != 3 {
		t.Errorf("status of a failed app: %v", r)
	}
	agent, span := p.Status().AgentPID, 30*time.Second
	before, tried := rig.CPU(t, agent), p.App("loop").Workers[0].Restarts
	rig.For(span)
	percent := 100 * (rig.CPU(t, agent) - before).Seconds() / span.Seconds()
	if percent >= 1 {
		t.Errorf("a crash loop costs %.2f %% CPU", percent)
	}
	tries := p.App("loop").Workers[0].Restarts - tried
	if tries < 1 {
		t.Error("no restart any more")
	}
	p.Down()
	return fmt.Sprintf("given up after its limit; %.2f %% CPU over 30 s of an endless one, with its %d restarts", percent, tries)
}

// TaskAndOrder: up runs the migration to its end before the server starts, and
// stops in the reverse order.
func TaskAndOrder(t *testing.T) string {
	p := rig.New(t, `version: 1
apps:
  web:
    command: sh -c 'cat migrated; echo web >> order; trap "echo web-down >> order; exit 0" TERM; while :; do sleep 0.1; done'
    shell: false
    ready: alive
    depends_on: {db: ready, migrate: completed}
  migrate:
    type: task
    command: sh -c 'sleep 0.5; echo migrate >> order; echo yes > migrated'
    depends_on: [db]
  db:
    command: sh -c 'echo db >> order; trap "echo db-down >> order; exit 0" TERM; while :; do sleep 0.1; done'
    ready: alive
`)
	p.Up()
	p.Down()
	text, _ := os.ReadFile(filepath.Join(p.Dir, "order"))
	got := strings.Fields(string(text))
	if want := []string{"db", "migrate", "web", "web-down", "db-down"}; !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
	return strings.Join(got, " → ")
}
