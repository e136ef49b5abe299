package keeper

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/process/processtest"
)

// victimEnv makes TestVictim the agent that TestAgentKilled kills.
const victimEnv = "MUSTER_TEST_VICTIM"

const (
	victimLines   = 30_000
	victimWorkers = 4
)

// busy is a program that prints numbered lines for some time, and ends with code.
func busy(dir, id string, lines, code int) process.Command {
	script := fmt.Sprintf(`i=0; while [ $i -lt %d ]; do echo $i; i=$((i+1)); done; exit %d`, lines, code)
	return process.Command{ID: id, Argv: []string{"/bin/sh", "-c", script}, Dir: "/", Spool: dir + "/" + id}
}

// TestVictim is no test but an agent, in a process of its own: it starts workers,
// reads their output into files, commits what is there, and all the while uses
// the keeper for other things, until it is killed.
func TestVictim(t *testing.T) {
	dir := os.Getenv(victimEnv)
	if dir == "" {
		return
	}
	c, _, err := Dial(3)
	if err != nil {
		t.Fatal(err)
	}
	for i := range victimWorkers {
		id := fmt.Sprint("w", i)
		start(t, c, busy(dir, id, victimLines, i))
		go follow(c, dir, id)
	}
	_ = c.Up()
	for n := 0; ; n++ {
		_ = process.Records{Store: c.Store()}.Save("count", []byte(strconv.Itoa(n)))
		_ = c.SetMeta("w0", []byte(strconv.Itoa(n)))
		id := fmt.Sprint("short", n)
		_, _ = c.Start(process.Command{ID: id, Argv: []string{"/bin/true"}, Dir: "/"})
		c.List()
		c.Ack(id)
	}
}

// follow appends the output of a process to a file until it ends, and commits.
// The place of what is written is in the name of the file: so a successor knows
// what to drop when this process is killed between write and commit.
func follow(c *Client, dir, id string) {
	out, err := c.Output(id)
	if err != nil {
		panic(err)
	}
	defer out.Close()
	for {
		_, data, _, err := out.Next(context.Background())
		if err != nil {
			return
		}
		pos, next, skipped := out.Where()
		name := fmt.Sprintf("%s/%s.%016x", dir, id, pos)
		if skipped > 0 || os.WriteFile(name+".new", data, 0o600) != nil || os.Rename(name+".new", name) != nil {
			panic("cannot record")
		}
		if out.Commit(next, [2]int64{}) != nil {
			return
		}
	}
}

// recorded is what follow has written, chunk by chunk.
func recorded(t *testing.T, dir, id string) string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, f := range list { // sorted by name
		if strings.HasPrefix(f.Name(), id+".") && !strings.HasSuffix(f.Name(), ".new") {
			data, err := os.ReadFile(dir + "/" + f.Name())
			if err != nil {
				t.Fatal(err)
			}
			text.Write(data)
		}
	}
	return text.String()
}

// An agent is killed while it does all at once, five times; the last one finds the
// same processes, their exits, and their output once and in order.
func TestAgentKilled(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l, dir := newLab(t, process.Options{}), t.TempDir()
	var pids []int
	for n := range 5 {
		x, fd := l.attach(Hello{})
		end := os.NewFile(uintptr(fd), "agent's end")
		agent := exec.Command(self, "-test.run=^TestVictim$")
		agent.Env = append(os.Environ(), victimEnv+"="+dir)
		agent.ExtraFiles = []*os.File{end}
		agent.Stderr = os.Stderr
		if err := agent.Start(); err != nil {
			t.Fatal(err)
		}
		end.Close()
		until(t, "the agent serves", func() bool { return len(l.orders.words()) > n })
		<-time.After(time.Duration(n*n) * 10 * time.Millisecond)
		if err := agent.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = agent.Wait()
		x.close()
		var now []int
		for _, p := range l.direct.List() {
			if strings.HasPrefix(p.ID, "w") {
				now = append(now, p.PID)
			}
		}
		if n == 0 {
			pids = now
		}
		if len(now) != victimWorkers || !slices.Equal(now, pids) {
			t.Fatalf("after kill %d: %v were %v", n+1, now, pids)
		}
	}
	c, x := l.dial()
	defer x.close()
	defer c.Close()
	var reading sync.WaitGroup
	for i := range victimWorkers {
		reading.Go(func() { follow(c, dir, fmt.Sprint("w", i)) })
	}
	for ended := map[string]bool{}; len(ended) < victimWorkers; {
		e := nextExit(t, c)
		if !strings.HasPrefix(e.ID, "w") {
			continue
		}
		if want := "w" + strconv.Itoa(e.Code); want != e.ID || ended[e.ID] || !slices.Contains(pids, e.PID) {
			t.Errorf("%+v", e)
		}
		ended[e.ID] = true
	}
	reading.Wait()
	var want strings.Builder
	for i := range victimLines {
		fmt.Fprintln(&want, i)
	}
	for i := range victimWorkers {
		if got := recorded(t, dir, fmt.Sprint("w", i)); got != want.String() {
			t.Errorf("w%d: %d bytes of %d, or not in order", i, len(got), want.Len())
		}
	}
}

// The connection ends in the middle of many calls: all of them end, and the
// keeper serves the next agent.
func TestAgentCutOff(t *testing.T) {
	l := newLab(t, process.Options{})
	kept := program(t, "kept", "sleep")
	pid := 0
	for round := range 10 {
		c, x := l.dial()
		if p := start(t, c, kept); pid != 0 && p.PID != pid {
			t.Fatalf("round %d: another process", round)
		} else {
			pid = p.PID
		}
		var calls sync.WaitGroup
		for i := range 8 {
			calls.Go(func() {
				for n := range 1000 {
					id := fmt.Sprintf("%d.%d.%d", round, i, n)
					cmd := processtest.Program("exit", "0")
					cmd.ID = id
					if _, err := c.Start(cmd); err != nil {
						return
					}
					if c.Store().Put(id, os.Stdin) != nil {
						return
					}
				}
			})
		}
		<-time.After(30 * time.Millisecond)
		_ = syscall.Shutdown(x.fd, syscall.SHUT_RDWR)
		calls.Wait()
		<-c.Lost()
		c.Close()
		x.close()
	}
	c, x := l.dial()
	defer x.close()
	defer c.Close()
	list := c.List()
	for _, p := range list {
		if p.ID != "kept" && p.Exit == nil {
			nextExit(t, c)
		}
		c.Ack(p.ID)
	}
	until(t, "only one is left", func() bool {
		for _, p := range c.List() {
			c.Ack(p.ID)
		}
		return len(c.List()) == 1
	})
}
