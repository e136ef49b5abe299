package show

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/test/load"
	"github.com/muster-run/muster/test/rig"
)

// survivor is a deployed program under load whose agent is taken away.
type survivor struct {
	site
	t      *testing.T
	p      Program
	app    string
	chat   chatter
	run    *load.Run
	client *client.Client
	random *rand.Rand
	gaps   []time.Duration // from a kill to the first answer of the next agent
	backs  []time.Duration // from a worker's kill to its replacement
}

func survive(t *testing.T, p Program) *survivor {
	t.Helper()
	v := &survivor{t: t, p: p, app: p.Name}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	v.random = rand.New(rand.NewPCG(seed, 0))
	v.site = deploy(t, p.Name, func(yaml string) string {
		yaml, v.chat = withChat(t, workers("3")(yaml))
		return yaml
	})
	v.Up()
	v.chat.talks(t)
	sockets, _ := filepath.Glob(filepath.Join(v.Runtime, "*", "control.sock"))
	if len(sockets) != 1 {
		t.Fatalf("control sockets: %v", sockets)
	}
	v.client = client.New(client.Options{Socket: sockets[0]})
	kept := clients
	if !p.Kept {
		kept = 0
	}
	v.run = load.Start(load.Options{Addr: v.addr, Fresh: clients, Kept: kept})
	return v
}

// ask is the status, if an agent answers within a moment.
func (v *survivor) ask() (api.Status, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	st, err := v.client.Status(ctx)
	return st, err == nil
}

// pids of the ready workers of the program, asked of the kernel's truth too.
func (v *survivor) pids() map[int]int {
	pids := v.PIDs(v.app)
	for slot, pid := range pids {
		if !rig.Alive(pid) {
			v.t.Errorf("worker #%d is said to be pid %d, which is gone", slot, pid)
		}
	}
	return pids
}

// killAgent kills the agent and returns once the next one answers.
func (v *survivor) killAgent() {
	v.t.Helper()
	before := v.Status()
	start := time.Now()
	if err := syscall.Kill(before.AgentPID, syscall.SIGKILL); err != nil {
		v.t.Fatal(err)
	}
	var now api.Status
	rig.Until(v.t, 20*time.Second, "another agent answers", func() bool {
		st, ok := v.ask()
		now = st
		return ok && st.AgentPID != before.AgentPID
	})
	v.gaps = append(v.gaps, time.Since(start))
	if now.KeeperPID != before.KeeperPID || now.KeeperPID == 0 {
		v.t.Errorf("the keeper was %d and is %d", before.KeeperPID, now.KeeperPID)
	}
}

// unlost fails the test when requests were lost since a report.
func (v *survivor) unlost(since load.Report, what string) {
	v.t.Helper()
	now := v.run.Report()
	if lost := now.Fresh.Total() - since.Fresh.Total(); lost > 0 && v.p.Fresh {
		v.t.Errorf("%s: %d requests of new connections lost: %v", what, lost, now)
	}
	if lost := now.Kept.Total() - since.Kept.Total(); lost > 0 && v.p.Kept {
		v.t.Errorf("%s: %d requests of kept connections lost: %v", what, lost, now)
	}
}

// decides has the present agent do what agents do: start a worker again, scale,
// reload.
func (v *survivor) decides() {
	v.t.Helper()
	v.replacesWorker()
	since := v.run.Report()
	v.Must("scale", v.app, "+1")
	v.ready(4)
	v.Must("scale", v.app, "-1")
	v.ready(3)
	v.unlost(since, "scale +1, -1")
	since = v.run.Report()
	before := v.pids()
	v.Next(nil)
	v.Must("reload", v.app)
	rig.Disjoint(v.t, before, v.pids())
	v.unlost(since, "reload")
}

func (v *survivor) ready(n int) {
	v.t.Helper()
	rig.Until(v.t, 30*time.Second, fmt.Sprintf("%d workers", n), func() bool {
		a := v.App(v.app)
		return a.Ready == n && len(a.Workers) == n
	})
}

// replacesWorker kills one worker: the same slot is back, counted once, with the
// true signal.
func (v *survivor) replacesWorker() {
	v.t.Helper()
	before := v.App(v.app).Workers
	victim := before[v.random.IntN(len(before))]
	start := time.Now()
	if err := syscall.Kill(victim.PID, syscall.SIGKILL); err != nil {
		v.t.Fatal(err)
	}
	var now api.Worker
	rig.Until(v.t, 20*time.Second, fmt.Sprintf("worker #%d is replaced", victim.Slot), func() bool {
		st, _ := v.ask()
		for _, a := range st.Apps {
			for _, w := range a.Workers {
				if a.Name == v.app && w.Slot == victim.Slot && w.State == event.Ready && w.PID != victim.PID {
					now = w
					return true
				}
			}
		}
		return false
	})
	v.backs = append(v.backs, time.Since(start))
	if now.Restarts != victim.Restarts+1 {
		v.t.Errorf("worker #%d has %d restarts, had %d", now.Slot, now.Restarts, victim.Restarts)
	}
	if e := now.LastExit; e == nil || e.PID != victim.PID || e.Signal != "SIGKILL" || e.Planned {
		v.t.Errorf("worker #%d ended as %+v, pid %d was killed", now.Slot, e, victim.PID)
	}
}

// quiet kills the agent at a random moment while nothing else happens: nobody
// may notice.
func (v *survivor) quiet() {
	v.t.Helper()
	before, since := v.pids(), v.run.Report()
	rig.For(time.Duration(v.random.IntN(300)) * time.Millisecond)
	v.killAgent()
	if now := v.pids(); !maps.Equal(before, now) {
		v.t.Errorf("workers were %v and are %v", before, now)
	}
	v.unlost(since, "kill -9 of the agent")
}

// inReload kills the agent at a random moment of a reload: it goes on.
func (v *survivor) inReload() {
	v.t.Helper()
	before, since := v.pids(), v.run.Report()
	v.Next(nil)
	start := time.Now()
	end := v.Begin(v.Cmd("reload", v.app))
	rig.For(time.Duration(v.random.IntN(700)) * time.Millisecond)
	v.killAgent()
	end()
	rig.Until(v.t, 60*time.Second, "the reload has ended", func() bool {
		a := v.App(v.app)
		return a.Status == event.Healthy && len(a.Workers) == 3
	})
	now := v.pids()
	releases := map[string]bool{}
	for _, w := range v.App(v.app).Workers {
		releases[w.Release] = true
	}
	if len(releases) != 1 {
		v.t.Errorf("after a reload whose agent was killed after %v: releases %v", time.Since(start), releases)
	}
	if !maps.Equal(before, now) { // else it was killed before the order came
		rig.Disjoint(v.t, before, now)
	}
	v.unlost(since, "kill -9 of the agent in a reload")
}

// finish ends the load and the project, and checks the numbered lines.
func (v *survivor) finish() string {
	v.t.Helper()
	end := v.run.Stop()
	v.Down()
	lines, processes := v.chat.complete(v.t, v.Project)
	return fmt.Sprintf("next agent answers after %s, worker back after %s; %d answers; %d lines of %d processes, each once",
		spread(v.gaps), spread(v.backs), end.Answers(), lines, processes)
}

// spread is the median and the longest.
func spread(d []time.Duration) string {
	if len(d) == 0 {
		return "-"
	}
	sorted := slices.Sorted(slices.Values(d))
	return fmt.Sprintf("%d ms (at most %d)", sorted[len(sorted)/2].Milliseconds(), sorted[len(sorted)-1].Milliseconds())
}

// descriptors counts what a process has open.
func descriptors(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// AgentKills kills the agent with -9 many times under load, every second time
// inside a reload. No request may be lost, no worker replaced, no line lost or
// doubled; and each next agent must be able to do everything.
func AgentKills(t *testing.T, p Program, times int) string {
	v := survive(t, p)
	defer v.run.Stop()
	var keeper, agent int
	for i := range times {
		if i%2 == 0 {
			v.quiet()
		} else {
			v.inReload()
		}
		v.decides()
		if i == 1 { // everything has happened once
			keeper, agent = v.openFiles()
		}
	}
	keeperNow, agentNow := v.openFiles()
	if keeperNow > keeper || agentNow > agent {
		t.Errorf("open descriptors: the keeper had %d and has %d, the agent had %d and has %d", keeper, keeperNow, agent, agentNow)
	}
	return fmt.Sprintf("%d kills; %s", times, v.finish())
}

// openFiles counts the descriptors of keeper and agent once they are at rest:
// the smallest of several looks, because requests come and go.
func (v *survivor) openFiles() (keeper, agent int) {
	v.t.Helper()
	st := v.Status()
	keeper, agent = 1<<20, 1<<20
	for range 20 {
		keeper = min(keeper, descriptors(v.t, st.KeeperPID))
		agent = min(agent, descriptors(v.t, st.AgentPID))
		rig.For(25 * time.Millisecond)
	}
	return keeper, agent
}

// Upgrades replaces the agent many times under load by `muster upgrade`.
func Upgrades(t *testing.T, p Program, times int) string {
	v := survive(t, p)
	defer v.run.Stop()
	for range times {
		before, since, agent := v.pids(), v.run.Report(), v.Status().AgentPID
		start := time.Now()
		v.Must("upgrade")
		v.gaps = append(v.gaps, time.Since(start))
		if st := v.Status(); st.AgentPID == agent || st.Upgrade == nil || st.Upgrade.Fault != nil {
			t.Errorf("after upgrade: agent %d, was %d, %+v", st.AgentPID, agent, st.Upgrade)
		}
		if now := v.pids(); !maps.Equal(before, now) {
			t.Errorf("workers were %v and are %v", before, now)
		}
		v.unlost(since, "upgrade")
		v.decides()
	}
	return fmt.Sprintf("%d upgrades; %s", times, v.finish())
}

// UpgradeFails hands the agent binaries that are none, or that do not come up:
// the one that runs stays, or comes back.
func UpgradeFails(t *testing.T) string {
	s := deploy(t, "hello", nil)
	s.Up()
	before := s.PIDs("hello")
	s.Write("text", "no program\n")
	s.Write("silent", "#!/bin/sh\nexec sleep 1000\n")
	s.Write("dies", "#!/bin/sh\nexit 3\n")
	for _, name := range []string{"missing", "text", "silent", "dies", "."} {
		path := filepath.Join(s.Dir, name)
		_ = os.Chmod(path, 0o755)
		if r := s.Run("upgrade", path); r.Code != 1 || !contains(r.Stderr, "E-UPGRADE") {
			t.Errorf("upgrade to %s: %v", name, r)
		}
		if now := s.PIDs("hello"); !maps.Equal(before, now) {
			t.Errorf("workers were %v and are %v", before, now)
		}
	}
	s.Must("reload", "hello")
	s.Down()
	return "refused, with the reason; the agent before decides on"
}

// AgentStopped suspends the agent: the workers serve on.
func AgentStopped(t *testing.T, p Program, span time.Duration) string {
	v := survive(t, p)
	defer v.run.Stop()
	before, since, agent := v.pids(), v.run.Report(), v.Status().AgentPID
	_ = syscall.Kill(agent, syscall.SIGSTOP)
	rig.For(span)
	v.unlost(since, "a suspended agent")
	_ = syscall.Kill(agent, syscall.SIGCONT)
	if now := v.pids(); !maps.Equal(before, now) || v.Status().AgentPID != agent {
		t.Errorf("workers were %v and are %v; agent %d is %d", before, now, agent, v.Status().AgentPID)
	}
	v.decides()
	return fmt.Sprintf("suspended for %v; %s", span, v.finish())
}

// ExitWhileAway kills a worker, and has a task end, while no agent is there: the
// next one knows how they ended.
func ExitWhileAway(t *testing.T) string {
	s := deploy(t, "hello", func(yaml string) string {
		return yaml + "  job:\n    type: task\n    command: sh -c 'while [ ! -e ../go ]; do sleep 0.05; done; echo done; exit 7'\n    dir: current\n    ready: alive\n    restart: never\n"
	})
	end := s.Begin(s.Cmd("up", "-d"))
	rig.Until(t, 30*time.Second, "everything runs", func() bool {
		st, ok := s.TryStatus()
		n := 0
		for _, a := range st.Apps {
			for _, w := range a.Workers {
				if w.PID != 0 && (a.Name == "job" || w.State == event.Ready) {
					n++
				}
			}
		}
		return ok && n == 3
	})
	before := s.Status()
	victim := s.App("hello").Workers[1]
	_ = syscall.Kill(before.AgentPID, syscall.SIGSTOP) // so that it cannot see it
	_ = syscall.Kill(victim.PID, syscall.SIGKILL)
	s.Write("releases/go", "")
	s.Write("go", "")
	rig.For(500 * time.Millisecond)
	_ = syscall.Kill(before.AgentPID, syscall.SIGKILL)
	end()
	rig.Until(t, 20*time.Second, "the worker is replaced", func() bool {
		st, ok := s.TryStatus()
		return ok && st.AgentPID != before.AgentPID && s.App("hello").Ready == 2
	})
	w := s.App("hello").Workers[1]
	if w.Restarts != 1 || w.LastExit == nil || w.LastExit.Signal != "SIGKILL" || w.LastExit.PID != victim.PID {
		t.Errorf("worker #1: %d restarts, last exit %+v", w.Restarts, w.LastExit)
	}
	rig.Until(t, 20*time.Second, "the task has failed", func() bool { return s.App("job").Status == event.AppFailed })
	if e := s.App("job").Workers[0].LastExit; e == nil || e.Code != 7 || !slices.Equal(e.Lines, []string{"done"}) {
		t.Errorf("the task ended as %+v", e)
	}
	s.Down()
	return "codes, signals and last lines of what ended meanwhile are known"
}
