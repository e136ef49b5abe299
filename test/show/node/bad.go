package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/muster-run/muster/spec"
	"github.com/muster-run/muster/test/rig"
)

// Rogue runs a worker that misuses the channel beside a good app: the agent goes
// on, nobody else waits, no descriptor is left over.
func Rogue(t *testing.T, kind string) string {
	c := Cell{Program: "http", Workers: 2, Balance: spec.BalanceRoundRobin}
	other := rig.Addr(t)
	s := nodeSite(t, c, fmt.Sprintf(`  rogue:
    dir: current
    command: [python3, rogue.py, %s]
    node: {cluster: on, drain: off}
    balance: round-robin
    ready: {mode: alive, for: 200ms}
    stop: {timeout: 1s}
    env: {HOST: %q, PORT: "%d"}
`, kind, strings.Split(other, ":")[0], rig.Port(t, other)))
	// Whether the rogue is told apart before it counts as ready, or after, is open.
	if r := s.Run("up", "-d"); r.Code != 0 && r.Code != 7 {
		t.Fatal(r)
	}
	rig.Until(t, 20*time.Second, "the good app is ready", func() bool { return len(s.PIDs("web")) == 2 })
	agent := s.Status().AgentPID
	count := rig.Descriptors(t, agent)
	run := startPorts(s.addr, 4)
	defer run.stop()
	if kind == "deaf" || kind == "flood" { // connections that it never takes
		for range 5 {
			go rig.Ask("http://" + other + "/")
		}
	}
	rig.For(4 * time.Second)
	run.stop()
	if len(run.failures) > 0 {
		t.Errorf("the good app lost %d requests: %+v", len(run.failures), run.failures[0])
	}
	if st := s.Status(); st.AgentPID != agent {
		t.Errorf("the agent was %d and is %d", agent, st.AgentPID)
	}
	var told []string
	for _, w := range s.App("rogue").Warnings {
		told = append(told, string(w.Code))
	}
	if len(told) > 6 {
		t.Errorf("%d warnings: %v", len(told), told)
	}
	s.Must("stop", "rogue")
	rig.Until(t, 10*time.Second, fmt.Sprintf("no more descriptors than %d, less those of the rogue", count), func() bool {
		return rig.Descriptors(t, agent) <= count
	})
	answers := run.answers
	s.Down()
	return fmt.Sprintf("%d answers of the good app beside it, 0 lost; warnings %v", answers, told)
}

// NPMStart: what `npm start` would run is run itself, and serves as a cluster.
func NPMStart(t *testing.T, c Cell) string {
	c.Program, c.Workers = "http", 2
	s := nodeSite(t, c, "")
	s.Always("package.json", `{"name": "x", "version": "1.0.0", "scripts": {"start": "node http.js"}}`)
	s.Next(nil)
	command := fmt.Sprintf("command: [%q, http.js]", rig.Node(t, c.Node))
	s.Write("muster.yaml", strings.Replace(s.text(t), command, "command: npm start", 1))
	s.Up()
	s.everyWorker(t, s.asker(t, c), "2", s.balances())
	release := s.Next(nil)
	s.Must("reload", "web")
	s.everyWorker(t, s.asker(t, c), release, s.balances())
	s.Down()
	return "two workers on one port, reloaded"
}
