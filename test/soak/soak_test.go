//go:build soak

package soak

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-run/muster/spec"
	"github.com/muster-run/muster/test/rig"
	"github.com/muster-run/muster/test/show"
	"github.com/muster-run/muster/test/show/dealt"
	"github.com/muster-run/muster/test/show/node"
	"github.com/muster-run/muster/test/show/talk"
)

func TestMain(m *testing.M) {
	if dealt.IsWorker() {
		os.Exit(dealt.Work())
	}
	os.Exit(rig.Main(m))
}

// reloads in a row, of each program.
const reloads = 10

type row struct {
	claim, figures string
	ok             bool
}

// table runs cells one after the other and prints what they measured.
type table struct {
	t    *testing.T
	mu   sync.Mutex
	rows []row
}

func (tb *table) cell(claim string, cell func(*testing.T) string) {
	figures, ran := "", false
	ok := tb.t.Run(strings.ReplaceAll(claim, " ", "-"), func(t *testing.T) {
		ran = true
		figures = cell(t)
	})
	if ran { // -run may have chosen others
		tb.add(row{claim, figures, ok})
	}
}

func (tb *table) add(r row) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	tb.rows = append(tb.rows, r)
}

// side runs cells that measure no times beside each other.
type side struct {
	*table
	t *testing.T
}

func (tb *table) beside(name string, cells func(side)) {
	tb.t.Run(name, func(t *testing.T) { cells(side{tb, t}) })
}

func (s side) cell(claim string, cell func(*testing.T) string) {
	s.t.Run(strings.ReplaceAll(claim, " ", "-"), func(t *testing.T) {
		t.Parallel()
		figures := ""
		defer func() { s.add(row{claim, figures, !t.Failed()}) }()
		figures = cell(t)
	})
}

func (tb *table) print() {
	failed, width := 0, 0
	for _, r := range tb.rows {
		width = max(width, len(r.claim))
	}
	fmt.Println()
	for _, r := range tb.rows {
		mark := "ok    "
		if !r.ok {
			mark, failed = "FAILED", failed+1
		}
		fmt.Printf("%s  %-*s  %s\n", mark, width, r.claim, r.figures)
	}
	fmt.Printf("\n%d claims hold, %d do not\n", len(tb.rows)-failed, failed)
}

func TestSoak(t *testing.T) {
	tb := &table{t: t}
	defer tb.print()
	tb.programs()
	tb.reloads()
	tb.faults()
	tb.output()
	tb.agent()
	tb.boot()
	tb.keeper()
	tb.beside("node", nodeCells)
	tb.nodeUnderLoad()
	tb.dealt()
	tb.operations()
}

func (tb *table) dealt() {
	for _, b := range dealt.Balances() {
		tb.cell("Go workers, 40 connections: "+string(b), func(t *testing.T) string { return dealt.Spread(t, b) })
		tb.cell("Go workers, reload under load: "+string(b), func(t *testing.T) string { return dealt.Reloads(t, b, reloads) })
		tb.cell("Go workers killed: "+string(b), func(t *testing.T) string { return dealt.WorkerKills(t, b, kills) })
		tb.cell("agent killed beside Go workers: "+string(b), func(t *testing.T) string { return dealt.AgentKills(t, b, kills) })
	}
	tb.cell("Go workers, 200 connections at once", dealt.Burst)
	tb.cell("Go workers that warm up", dealt.WarmUp)
	for _, place := range dealt.Places() {
		tb.cell("Go workers listen: "+place, func(t *testing.T) string { return dealt.Listen(t, place) })
	}
	tb.cell("dealt to a program without the SDK", dealt.WithoutTheSDK)
	tb.cell("Go worker told to end by others", dealt.SignalFromOutside)
	for _, b := range append(dealt.Balances(), "") {
		tb.cell("a pool of itself: "+cmp.Or(string(b), "auto"), func(t *testing.T) string { return dealt.Pool(t, b) })
	}
}

func (tb *table) operations() {
	tb.cell("chat room in three languages", talk.Chat)
	tb.cell("bad input to operations", talk.BadInput)
	tb.cell("a worker that is silent", talk.Silence)
	tb.cell("a worker that crashes", talk.Crashes)
	tb.cell("orders of an operator", talk.Orders)
	tb.cell("killed from inside", talk.KilledFromInside)
	for _, language := range talk.Languages() {
		tb.cell("owner of a lock killed: "+language, func(t *testing.T) string { return talk.OwnerKilled(t, language) })
	}
	tb.cell("agent killed under the chat room", func(t *testing.T) string { return talk.AgentKilled(t, kills) })
}

// nodeCells runs every program under every release of Node.js, in every mode and size.
func nodeCells(tb side) {
	for _, major := range node.Majors() {
		for _, program := range node.Programs() {
			for _, balance := range node.Balances() {
				if program == "unix" && balance == spec.BalanceSlots || program == "dgram" && balance != spec.BalanceShared {
					continue
				}
				for _, n := range []int{1, 2, 8} {
					c := node.Cell{Program: program, Node: major, Workers: n, Balance: balance}
					tb.cell(c.String(), func(t *testing.T) string { return node.Program(t, c) })
				}
			}
		}
		for name, cell := range node.Odd() {
			c := node.Cell{Node: major, Workers: 2}
			tb.cell(name+", "+c.String(), func(t *testing.T) string { return cell(t, c) })
		}
	}
	for _, kind := range node.Rogues() {
		tb.cell("rogue worker: "+kind, func(t *testing.T) string { return node.Rogue(t, kind) })
	}
}

func (tb *table) nodeUnderLoad() {
	short, long := [2]time.Duration{0, 20 * time.Millisecond}, [2]time.Duration{500 * time.Millisecond, 2500 * time.Millisecond}
	for _, balance := range node.Balances() {
		c := node.Cell{Program: "ws", Workers: 2, Balance: balance}
		tb.cell("Node.js reload, 0–20 ms: "+string(balance), func(t *testing.T) string { return node.Reloads(t, c, short, reloads) })
		tb.cell("Node.js reload, 0.5–2.5 s: "+string(balance), func(t *testing.T) string { return node.Reloads(t, c, long, reloads) })
		c.Program = "http"
		tb.cell("Node.js workers killed for a minute: "+string(balance), func(t *testing.T) string {
			return node.Kills(t, c, 700*time.Millisecond, time.Minute)
		})
		allowed := 0
		if balance == spec.BalanceRoundRobin {
			allowed = 1
		}
		tb.cell("agent killed beside Node.js: "+string(balance), func(t *testing.T) string { return node.AgentKills(t, c, kills, allowed) })
		tb.cell("a worker blocked for 4 s: "+string(balance), func(t *testing.T) string { return node.Blocked(t, c) })
		tb.cell("200 connections: "+string(balance), func(t *testing.T) string { return node.Spread(t, c) })
	}
}

func (tb *table) programs() {
	for _, p := range show.Programs() {
		tb.cell("started, checked, scaled, reloaded, stopped: "+p.Name, func(t *testing.T) string { return show.Lifecycle(t, p) })
	}
	tb.cell("started, checked, scaled, reloaded, stopped: redis", show.Redis)
	tb.cell("first example from a fresh copy", show.ReallyUp)
}

func (tb *table) reloads() {
	for _, p := range show.Programs() {
		tb.cell("reload under load: "+p.Name, func(t *testing.T) string { return show.ReloadUnderLoad(t, p, reloads) })
	}
	for _, flags := range []string{"", "--worker-class gthread --threads 16 --keep-alive 30"} {
		tb.cell(strings.TrimSpace("keep-alive beside HUP: gunicorn "+flags), func(t *testing.T) string {
			return show.KeptAliveBesideHUP(t, reloads, flags)
		})
	}
	tb.cell("boot of 4 s", func(t *testing.T) string { return show.SlowBoot(t, 200*time.Millisecond) })
	for _, p := range show.Programs() {
		tb.cell("failing release: "+p.Name, func(t *testing.T) string { return show.FailingRelease(t, p, false) })
	}
	tb.cell("failing in the second slot", func(t *testing.T) string {
		return show.FailingRelease(t, show.ByName("hello"), true)
	})
}

func (tb *table) faults() {
	for _, p := range show.Programs() {
		tb.cell("kill -9 of each worker: "+p.Name, func(t *testing.T) string { return show.KillEachWorker(t, p) })
	}
	tb.cell("grandchild, cgroup2", func(t *testing.T) string { return show.Stray(t, true) })
	tb.cell("grandchild, --no-cgroup", func(t *testing.T) string { return show.Stray(t, false) })
	tb.cell("missing executable", show.MissingExecutable)
	tb.cell("crash loop", show.CrashLoop)
	tb.cell("health check", show.HealthCheck)
	tb.cell("task and order", show.TaskAndOrder)
}

func (tb *table) output() {
	tb.cell("200,000 lines, then exit", func(t *testing.T) string { return show.AllLines(t, 200_000) })
	tb.cell("2,000 lines, 2,000 records", func(t *testing.T) string { return show.AllLines(t, 2_000) })
	tb.cell("slow follower", show.SlowFollower)
	tb.cell("full disk", show.FullDisk)
}

func (tb *table) agent() {
	tb.cell("second agent", show.SecondAgent)
	tb.cell("stale files", show.StaleFiles)
	tb.cell("agent killed, --no-keeper", show.AgentKilledAlone)
	tb.cell("--no-keeper", show.NoKeeper)
	tb.cell("port in use", show.PortInUse)
	tb.cell("as PID 1", show.PID1)
	tb.cell("run", show.RunCodes)
	tb.cell("long socket path", show.LongSocketPath)
	tb.cell("bad input", show.BadInput)
}

// kills of the agent, and upgrades, of each program.
const (
	kills    = 20
	upgrades = 10
)

func (tb *table) keeper() {
	for _, name := range []string{"gunicorn", "hello", "node"} {
		tb.cell("kill -9 of the agent: "+name, func(t *testing.T) string { return show.AgentKills(t, show.ByName(name), kills) })
		tb.cell("upgrade: "+name, func(t *testing.T) string { return show.Upgrades(t, show.ByName(name), upgrades) })
		tb.cell("agent suspended for 30 s: "+name, func(t *testing.T) string {
			return show.AgentStopped(t, show.ByName(name), 30*time.Second)
		})
	}
	tb.cell("upgrade that fails", show.UpgradeFails)
	tb.cell("ends while no agent is there", show.ExitWhileAway)
	tb.cell("keeper killed", show.KeeperKilled)
	tb.cell("keeper and agent killed", show.BothKilled)
}

// boot needs root: it starts a machine with a systemd of its own.
func (tb *table) boot() {
	tb.cell("Debian package", show.Package)
	tb.cell("systemd unit, reboot, power cut, package", show.Systemd)
}
