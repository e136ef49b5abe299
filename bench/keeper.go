package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/internal/channel"
)

// succession kills the agent beside 100 idle workers and takes the time until
// the next one answers, and until it has replaced a worker; and replaces it by
// `muster upgrade`.
func (b *bench) succession() error {
	note("kill -9 of the agent, upgrade")
	answers := b.newRow("kill -9 of the agent → next one decides", "ms")
	replaced := b.newRow("kill -9 of agent and a worker → replacement", "ms")
	upgraded := b.newRow("muster upgrade", "ms")
	m := b.peers[0].(*muster)
	dir, w, err := b.marks(m)
	if err != nil {
		return err
	}
	w.n = min(100, b.most)
	if err := m.start(w); err != nil {
		return err
	}
	defer func() { _ = m.stop() }()
	<-time.After(2 * time.Second) // over min_uptime
	for range b.rounds {
		took, err := m.succeed(func() error { return nil })
		if err != nil {
			return err
		}
		answers.add(m, took)
		start := time.Now()
		if _, err := m.succeed(func() error { _, err := kill(dir); return err }); err != nil {
			return err
		}
		replaced.add(m, float64(time.Since(start).Microseconds())/1000)
		start = time.Now()
		if err := m.command("upgrade"); err != nil {
			return err
		}
		upgraded.add(m, float64(time.Since(start).Microseconds())/1000)
	}
	return nil
}

// succeed kills the agent, does something, and returns how many milliseconds it
// took until another agent answered.
func (m *muster) succeed(then func() error) (float64, error) {
	pids, err := m.pids()
	if err != nil || len(pids) < 2 {
		return 0, fmt.Errorf("no keeper beside agent %v: %w", pids, err)
	}
	sockets, err := filepath.Glob(filepath.Join(m.home, "r", "*", "control.sock"))
	if err != nil || len(sockets) != 1 {
		return 0, fmt.Errorf("control sockets: %v, %w", sockets, err)
	}
	c := client.New(client.Options{Socket: sockets[0]})
	start := time.Now()
	if err := syscall.Kill(pids[1], syscall.SIGKILL); err != nil {
		return 0, err
	}
	if err := then(); err != nil {
		return 0, err
	}
	if !wait(20*time.Second, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		st, err := c.Status(ctx)
		return err == nil && st.AgentPID != pids[1]
	}) {
		return 0, errors.New("no other agent answers")
	}
	return float64(time.Since(start).Microseconds()) / 1000, nil
}

// echo answers every message with itself; turns is how often it is asked.
const (
	echo  = `process.on("message", (m) => process.send(m))`
	turns = 2000
	// ask is the same from Node.js itself, with a child of its own.
	ask = `
const child = require("child_process").fork(process.argv[2]);
const turns = Number(process.argv[3]);
let n = 0, start;
child.on("message", () => {
  if (n === 0) start = process.hrtime.bigint();
  if (n++ === turns) { console.log(Number(process.hrtime.bigint() - start) / 1000 / turns); child.kill(); return; }
  child.send({ n });
});
child.send({ n });`
)

// roundTrip sends small messages to a Node.js process and back: over muster's
// channel, and by Node's own child_process.
func (b *bench) roundTrip() error {
	note("channel round trip")
	ours := b.newRow("channel, there and back, a Node.js worker", "µs")
	theirs := b.newRow("Node's own child_process, there and back", "µs")
	child, parent := filepath.Join(b.dir, "echo.js"), filepath.Join(b.dir, "ask.js")
	if err := errors.Join(os.WriteFile(child, []byte(echo), 0o600), os.WriteFile(parent, []byte(ask), 0o600)); err != nil {
		return err
	}
	for range b.rounds {
		took, err := turnsWith(child)
		if err != nil {
			return err
		}
		ours.add(b.peers[0], took)
		out, err := output("node", parent, child, fmt.Sprint(turns))
		if err != nil {
			return err
		}
		var micros float64
		if _, err := fmt.Sscan(out, &micros); err != nil {
			return err
		}
		theirs.add(b.peers[0], micros)
	}
	return nil
}

// turnsWith is one round over muster's channel, in microseconds for each turn.
func turnsWith(child string) (float64, error) {
	fd, other, err := channel.Pair()
	if err != nil {
		return 0, err
	}
	theirs := os.NewFile(uintptr(other), "channel")
	cmd := exec.Command("node", child)
	cmd.Env = append(os.Environ(), "NODE_CHANNEL_FD=3")
	cmd.ExtraFiles, cmd.Stderr = []*os.File{theirs}, os.Stderr
	err = cmd.Start()
	theirs.Close()
	conn := channel.Open(fd, channel.Options{Peek: true})
	if err != nil {
		return 0, errors.Join(err, conn.Close())
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait(); _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var start time.Time
	for n := range turns + 1 {
		if n == 1 { // the first one waited for its start
			start = time.Now()
		}
		if err := conn.Send(fmt.Appendf(nil, `{"n":%d}`, n)); err != nil {
			return 0, err
		}
		if _, err := conn.Receive(ctx); err != nil {
			return 0, err
		}
	}
	return float64(time.Since(start).Microseconds()) / turns, nil
}
