package e2e

import (
	"os"
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

// side runs a cell beside others: it measures no times.
func side(t *testing.T, cell func(*testing.T) string) {
	t.Helper()
	t.Parallel()
	t.Log(cell(t))
}

func TestPrograms(t *testing.T) {
	for _, p := range show.Programs() {
		t.Run(p.Name, func(t *testing.T) {
			side(t, func(t *testing.T) string { return show.Lifecycle(t, p) })
		})
	}
	t.Run("redis", func(t *testing.T) { side(t, show.Redis) })
}

// The bar of product.md, 1 and 2.
func TestReload(t *testing.T) {
	hello := show.ByName("hello")
	t.Run("under load", func(t *testing.T) { t.Log(show.ReloadUnderLoad(t, hello, 3)) })
	t.Run("slow boot", func(t *testing.T) { t.Log(show.SlowBoot(t, 200*time.Millisecond)) })
	t.Run("failing release", func(t *testing.T) { t.Log(show.FailingRelease(t, show.ByName("gunicorn"), false)) })
	t.Run("second slot fails", func(t *testing.T) { t.Log(show.FailingRelease(t, hello, true)) })
}

// S1.6, S1.12.
func TestKeptAlive(t *testing.T) {
	t.Run("kill each worker", func(t *testing.T) { t.Log(show.KillEachWorker(t, show.ByName("hello"))) })
	t.Run("crash loop", func(t *testing.T) { t.Log(show.CrashLoop(t)) })
	t.Run("health check", func(t *testing.T) { side(t, show.HealthCheck) })
	t.Run("missing executable", func(t *testing.T) { side(t, show.MissingExecutable) })
	t.Run("task and order", func(t *testing.T) { side(t, show.TaskAndOrder) })
}

func TestNothingIsLeft(t *testing.T) {
	t.Run("cgroup", func(t *testing.T) {
		side(t, func(t *testing.T) string { return show.Stray(t, true) })
	})
	t.Run("no cgroup", func(t *testing.T) {
		side(t, func(t *testing.T) string { return show.Stray(t, false) })
	})
	t.Run("as PID 1", func(t *testing.T) { side(t, show.PID1) })
}

func TestOutput(t *testing.T) {
	t.Run("records", func(t *testing.T) {
		side(t, func(t *testing.T) string { return show.AllLines(t, 2000) })
	})
	t.Run("slow follower", func(t *testing.T) { side(t, show.SlowFollower) })
	t.Run("full disk", func(t *testing.T) { side(t, show.FullDisk) })
}

// S1.1, S1.2.
func TestAgent(t *testing.T) {
	for name, cell := range map[string]func(*testing.T) string{
		"second agent": show.SecondAgent, "stale files": show.StaleFiles, "killed alone": show.AgentKilledAlone,
		"port in use": show.PortInUse, "run": show.RunCodes, "long socket path": show.LongSocketPath,
	} {
		t.Run(name, func(t *testing.T) { side(t, cell) })
	}
}

// The bar, 7 and 8: workers, connections and log lines do not notice what becomes
// of the agent.
func TestKeeper(t *testing.T) {
	t.Run("agent killed", func(t *testing.T) { t.Log(show.AgentKills(t, show.ByName("hello"), 4)) })
	t.Run("agent killed beside gunicorn", func(t *testing.T) { t.Log(show.AgentKills(t, show.ByName("gunicorn"), 2)) })
	t.Run("upgrade", func(t *testing.T) { t.Log(show.Upgrades(t, show.ByName("node"), 2)) })
	t.Run("agent suspended", func(t *testing.T) { t.Log(show.AgentStopped(t, show.ByName("hello"), 2*time.Second)) })
	t.Run("keeper killed", func(t *testing.T) { t.Log(show.KeeperKilled(t)) })
	for name, cell := range map[string]func(*testing.T) string{
		"upgrade fails": show.UpgradeFails, "ends while no agent is there": show.ExitWhileAway,
		"keeper and agent killed": show.BothKilled, "no keeper": show.NoKeeper,
	} {
		t.Run(name, func(t *testing.T) { side(t, cell) })
	}
}

// S3: unmodified Node.js programs.
func TestNode(t *testing.T) {
	for i, program := range node.Programs() {
		majors, balances := node.Majors(), append(node.Balances(), "")
		c := node.Cell{Program: program, Node: majors[i%len(majors)], Workers: 2, Balance: balances[i%len(balances)]}
		if program == "unix" && c.Balance == spec.BalanceSlots || program == "dgram" {
			c.Balance = ""
		}
		t.Run(c.String(), func(t *testing.T) { side(t, func(t *testing.T) string { return node.Program(t, c) }) })
	}
}

func TestNodeOdd(t *testing.T) {
	for name, cell := range node.Odd() {
		t.Run(name, func(t *testing.T) {
			side(t, func(t *testing.T) string { return cell(t, node.Cell{Workers: 2}) })
		})
	}
	for _, kind := range node.Rogues() {
		t.Run("rogue "+kind, func(t *testing.T) {
			side(t, func(t *testing.T) string { return node.Rogue(t, kind) })
		})
	}
}

// The bar of product.md, 3, 5 and 7, for Node.js.
func TestNodeUnderLoad(t *testing.T) {
	short := [2]time.Duration{0, 20 * time.Millisecond}
	for _, balance := range node.Balances() {
		c := node.Cell{Program: "ws", Workers: 2, Balance: balance}
		t.Run("reload "+string(balance), func(t *testing.T) { t.Log(node.Reloads(t, c, short, 1)) })
		c.Program = "http"
		t.Run("kill "+string(balance), func(t *testing.T) {
			t.Log(node.Kills(t, c, 700*time.Millisecond, 3*time.Second))
		})
		allowed := 0
		if balance == spec.BalanceRoundRobin {
			allowed = 1
		}
		t.Run("agent killed "+string(balance), func(t *testing.T) { t.Log(node.AgentKills(t, c, 2, allowed)) })
	}
	t.Run("blocked", func(t *testing.T) {
		t.Log(node.Blocked(t, node.Cell{Program: "http", Workers: 2, Balance: spec.BalanceSlots}))
	})
	t.Run("spread", func(t *testing.T) {
		t.Log(node.Spread(t, node.Cell{Program: "http", Balance: spec.BalanceRoundRobin}))
	})
}

// The bar of product.md, 3, 5 and 7, for Go programs with package worker.
func TestDealt(t *testing.T) {
	t.Run("reload", func(t *testing.T) { t.Log(dealt.Reloads(t, spec.BalanceLeast, 1)) })
	t.Run("kill", func(t *testing.T) { t.Log(dealt.WorkerKills(t, spec.BalanceRoundRobin, 4)) })
	t.Run("agent killed", func(t *testing.T) { t.Log(dealt.AgentKills(t, spec.BalanceRoundRobin, 2)) })
	t.Run("pool", func(t *testing.T) { t.Log(dealt.Pool(t, spec.BalanceRoundRobin)) })
	t.Run("without the SDK", func(t *testing.T) { side(t, dealt.WithoutTheSDK) })
	t.Run("not declared", func(t *testing.T) {
		side(t, func(t *testing.T) string { return dealt.Listen(t, "not declared") })
	})
}

// S1.4.
func TestBadInput(t *testing.T) { show.BadInput(t) }

func TestFirstExample(t *testing.T) { t.Log(show.ReallyUp(t)) }

// S0: three languages in one room, and what becomes of it when things are killed.
func TestOperations(t *testing.T) {
	t.Run("chat", func(t *testing.T) { t.Log(talk.Chat(t)) })
	t.Run("agent killed", func(t *testing.T) { t.Log(talk.AgentKilled(t, 3)) })
	for name, cell := range map[string]func(*testing.T) string{
		"bad input": talk.BadInput, "silence": talk.Silence, "crashes": talk.Crashes, "orders": talk.Orders,
		"killed from inside": talk.KilledFromInside, "settings": talk.Tuned, "life": talk.Life, "kept": talk.Kept,
	} {
		t.Run(name, func(t *testing.T) { side(t, cell) })
	}
	for _, language := range talk.Languages() {
		t.Run("owner of a lock killed, "+language, func(t *testing.T) {
			side(t, func(t *testing.T) string { return talk.OwnerKilled(t, language) })
		})
	}
}
