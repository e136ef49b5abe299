package talk

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/peer"
	"github.com/muster-run/muster/test/rig"
)

// kept are two workers of `prop keeps`.
type kept struct {
	*rig.Project
	t *testing.T
}

// state is what a worker says of what it has.
func (k *kept) state(c *peer.Peer, slot int) map[string]string {
	k.t.Helper()
	var text string
	if err := c.Request(k.t.Context(), fmt.Sprintf("kept#%d", slot), "state", nil, &text); err != nil {
		k.t.Fatal(err)
	}
	state := map[string]string{}
	for _, line := range strings.Split(text, "\n") {
		name, value, _ := strings.Cut(line, " ")
		state[name] = value
	}
	return state
}

// Kept: what a Go worker has asked an agent for, it has with the next ones too, without
// asking anew: subscriptions, queues, listening, commands, a lock. Its cache is empty,
// and it is told of each agent.
func Kept(t *testing.T) string {
	k := &kept{t: t, Project: rig.New(t, fmt.Sprintf("version: 1\napps:\n  kept:\n    command: %q\n    workers: 2\n    ready: notify\n", rig.Prop()+" keeps"))}
	k.Up()
	const deaths, each = 3, 20
	fence := ""
	for death := range deaths + 1 {
		c := join(t, k.Project, "asker")
		before := [2]map[string]string{k.state(c, 0), k.state(c, 1)}
		for slot, state := range before {
			if state["agents"] != fmt.Sprint(death) || state["cached"] != "false" || state["gaps"] != "0" {
				t.Errorf("kept#%d after %d deaths: %v", slot, death, state)
			}
		}
		if fence == "" {
			fence, _, _ = strings.Cut(before[0]["lock"], " ")
		}
		if got := before[0]["lock"]; got != fence+" <nil>" {
			t.Errorf("after %d deaths its lock is %s, the fence was %s", death, got, fence)
		}
		if _, owner, err := c.Lock("keep", peer.LockOptions{}).Try(t.Context()); err != nil || owner != "kept#0" {
			t.Errorf("the lock is had by %q: %v", owner, err)
		}
		k.heardAfter(c, each, (death+1)*each)
		k.reached(c)
		c.Close()
		if death == deaths {
			break
		}
		agent := k.Status().AgentPID
		_ = syscall.Kill(agent, syscall.SIGKILL)
		rig.Until(t, 20*time.Second, "another agent answers", func() bool {
			st, ok := k.TryStatus()
			return ok && st.AgentPID != agent
		})
	}
	k.Down()
	return fmt.Sprintf("%d agents killed: subscriptions, queue, listener, command, lock (fence %s) stay; caches are emptied", deaths, fence)
}

// heardAfter publishes messages: all hear each, and one in the queue.
func (k *kept) heardAfter(c *peer.Peer, each, total int) {
	k.t.Helper()
	for i := range each {
		if told, err := c.Publish(k.t.Context(), "keep", i); err != nil || told.Receivers != 3 || len(told.Missed) > 0 {
			k.t.Errorf("a message has %+v, %v; want 2 plainly and 1 of the queue", told, err)
		}
	}
	var states [2]map[string]string
	if !rig.Within(10*time.Second, func() bool {
		queued := 0
		plain := true
		for slot := range states {
			states[slot] = k.state(c, slot)
			n := 0
			_, _ = fmt.Sscan(states[slot]["queued"], &n)
			queued += n
			plain = plain && states[slot]["plain"] == fmt.Sprint(total)
		}
		return plain && queued == total
	}) {
		k.t.Errorf("after %d messages: %v", total, states)
	}
}

// reached: its listener answers, and its command runs.
func (k *kept) reached(c *peer.Peer) {
	k.t.Helper()
	var who string
	if err := c.Request(k.t.Context(), "", "keep:who", nil, &who); err != nil || !strings.HasPrefix(who, "kept#") {
		k.t.Errorf("a listener answers %q, %v", who, err)
	}
	list, err := c.Commands(k.t.Context())
	text, _ := json.Marshal(list)
	if err != nil || string(text) != `[{"name":"keeping","of":["kept#0","kept#1"]}]` {
		k.t.Errorf("commands: %s, %v", text, err)
	}
	cmd := k.Cmd("console")
	cmd.Stdin = strings.NewReader("keeping\n")
	if r := k.Finish(cmd); r.Code != 0 || !strings.Contains(r.Stdout, "kept by kept#0") || !strings.Contains(r.Stdout, "kept by kept#1") {
		k.t.Errorf("the command: %v", r)
	}
}
