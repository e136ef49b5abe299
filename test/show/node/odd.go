package node

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/spec"
	"github.com/muster-run/muster/test/rig"
)

// Odd are the cases that are no ordinary life.
func Odd() map[string]func(*testing.T, Cell) string {
	return map[string]func(*testing.T, Cell) string{
		"several ports": Ports, "IPv6 and dual stack": Families, "address in use": InUse, "TLS tickets": Tickets,
		"killed with a connection": Unanswered, "out of descriptors": NoDescriptors, "maxConnections": Full,
		"leaves by itself": Leaves, "never listens": Silent, "ends by itself": Ends, "threads": Threads,
		"npm start": NPMStart, "delegate": Delegate, "delegate killed": DelegateKilled,
	}
}

// Rogues are the ways to misuse the channel.
func Rogues() []string { return []string{"nonsense", "endless", "deaf", "flood"} }

// printed are the lines of an app's log that begin so, without that.
func (s site) printed(t *testing.T, prefix string) (rest []string) {
	t.Helper()
	for _, r := range s.Records("web") {
		if text, ok := strings.CutPrefix(r.Line, prefix); ok {
			rest = append(rest, text)
		}
	}
	return rest
}

// Ports: several addresses in one program, and two ports chosen by the system,
// which are the same in every worker.
func Ports(t *testing.T, c Cell) string {
	c.Program = "ports"
	second := rig.Addr(t)
	s := nodeSite(t, c, fmt.Sprintf("      PORT2: \"%d\"\n", rig.Port(t, second)))
	s.Up()
	host, _, _ := net.SplitHostPort(s.addr)
	chosen := map[string]bool{}
	rig.Until(t, 10*time.Second, "every worker has said its ports", func() bool {
		lines := s.printed(t, "chosen ")
		for _, l := range lines {
			chosen[l] = true
		}
		return len(lines) == 2*c.Workers
	})
	if len(chosen) != 2 {
		t.Errorf("the workers do not have the same two ports: %v", chosen)
	}
	addrs := []string{s.addr, net.JoinHostPort(host, fmt.Sprint(rig.Port(t, second)))}
	for line := range chosen {
		addrs = append(addrs, net.JoinHostPort(host, strings.Fields(line)[1]))
	}
	for _, addr := range addrs {
		if text := rig.Ask("http://" + addr + "/"); !answerPattern.MatchString(text) {
			t.Errorf("%s answers %q", addr, text)
		}
	}
	s.Must("reload", "web")
	for _, addr := range addrs {
		if text := rig.Ask("http://" + addr + "/"); !answerPattern.MatchString(text) {
			t.Errorf("after a reload %s answers %q", addr, text)
		}
	}
	s.Down()
	return fmt.Sprintf("%d addresses served, two of them chosen by the system and kept over a reload", len(addrs))
}

// Families: a port of every address (dual stack), and one of IPv6 only.
func Families(t *testing.T, c Cell) string {
	c.Program = "http"
	for _, host := range []string{"", "::1"} {
		s := nodeSite(t, c, "")
		port := rig.WidePort(t)
		yaml := strings.Replace(s.text(t), fmt.Sprintf("HOST: %q\n", strings.Split(s.addr, ":")[0]), fmt.Sprintf("HOST: %q\n", host), 1)
		s.Write("muster.yaml", strings.Replace(yaml, fmt.Sprintf("PORT: \"%d\"", rig.Port(t, s.addr)), fmt.Sprintf("PORT: \"%d\"", port), 1))
		s.Up()
		for _, from := range []string{"127.0.0.1", "[::1]"} {
			text := rig.Ask(fmt.Sprintf("http://%s:%d/", from, port))
			if want := host == "" || from == "[::1]"; answerPattern.MatchString(text) != want {
				t.Errorf("listening on %q, %s answers %q", host, from, text)
			}
		}
		s.Must("reload", "web")
		s.Down()
	}
	return "dual stack answers on both, ::1 on one"
}

// InUse: the address is taken. Every worker sees the system's own error, and its
// next try goes through once the address is free.
func InUse(t *testing.T, c Cell) string {
	c.Program = "errors"
	s := nodeSite(t, c, "    ready: {mode: alive, for: 100ms}\n")
	holder, err := net.Listen("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	s.Up()
	host, port, _ := net.SplitHostPort(s.addr)
	want := fmt.Sprintf("EADDRINUSE bind %s %s", host, port)
	rig.Until(t, 10*time.Second, "each worker is told", func() bool { return len(s.printed(t, want)) >= 2*c.Workers })
	holder.Close()
	rig.Until(t, 10*time.Second, "each worker listens", func() bool { return len(s.printed(t, "listening")) == c.Workers })
	if text := rig.Ask("http://" + s.addr + "/"); strings.Contains(text, "refused") {
		t.Errorf("nobody listens: %s", text)
	}
	s.Down()
	return want + " in every worker, then listening"
}

// Tickets: a TLS session of one worker is resumed at every other, also after a
// reload.
func Tickets(t *testing.T, c Cell) string {
	c.Program = "https"
	s := nodeSite(t, c, "")
	s.Up()
	cache := &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(1), MaxVersion: tls.VersionTLS12}
	tell := func() string {
		text, err := get(&http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: cache}}, "https://"+s.addr+"/")
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	tell()
	seen := map[string]bool{}
	again := func(what string) {
		rig.Until(t, 20*time.Second, "answers of 2 workers "+what, func() bool {
			text := tell()
			seen[answerPattern.FindString(text)] = true
			if !strings.Contains(text, "resumed=true") {
				t.Errorf("%s a session was not resumed: %s", what, text)
				return true
			}
			return len(seen) >= 2 || c.Balance == spec.BalanceShared
		})
	}
	again("before the reload")
	clear(seen)
	s.Must("reload", "web") // of the same files: Node's session context is made of the script's path
	again("after the reload")
	s.Down()
	return "sessions are resumed at every worker, before and after a reload"
}

// Unanswered: a connection given to a worker that dies before it has taken it
// goes to another one.
func Unanswered(t *testing.T, c Cell) string {
	c.Program, c.Workers, c.Balance = "http", 2, spec.BalanceRoundRobin
	s := nodeSite(t, c, "")
	s.Up()
	agent := s.Status().AgentPID
	before := rig.Descriptors(t, agent)
	pid := s.PIDs("web")[0]
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	const n = 20
	answers := make(chan string, n)
	for range n {
		go func() { answers <- rig.Ask("http://" + s.addr + "/") }()
	}
	for range n - 1 { // one is with the suspended worker
		if text := <-answers; !answerPattern.MatchString(text) {
			t.Errorf("answer %q", text)
		}
	}
	select {
	case text := <-answers:
		t.Errorf("nothing waits for the suspended worker: %q", text)
	case <-time.After(300 * time.Millisecond):
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	select {
	case text := <-answers:
		if !answerPattern.MatchString(text) {
			t.Errorf("the connection of the killed worker got %q", text)
		}
	case <-time.After(5 * time.Second):
		t.Error("the connection of the killed worker hangs")
	}
	s.Healthy()
	rig.Until(t, 10*time.Second, "no descriptor is left over", func() bool { return rig.Descriptors(t, agent) <= before })
	s.Down()
	return "19 of 20 answered at once, the one that the killed worker had not taken by the other"
}

// NoDescriptors: a worker that has no descriptor free refuses connections, which
// go to the other one.
func NoDescriptors(t *testing.T, c Cell) string {
	c.Program, c.Workers, c.Balance = "fds", 2, spec.BalanceRoundRobin
	s := nodeSite(t, c, "    limits: {nofile: 200}\n")
	s.Up()
	if text := rig.Ask("http://" + s.addr + "/exhaust"); !answerPattern.MatchString(text) {
		t.Fatalf("answer %q", text)
	}
	rig.Until(t, 10*time.Second, "a worker has no descriptor left", func() bool { return len(s.printed(t, "exhausted ")) == 1 })
	for i := range 40 {
		if text := rig.Ask("http://" + s.addr + "/"); !answerPattern.MatchString(text) {
			t.Fatalf("connection %d: %q", i, text)
		}
	}
	s.Down()
	return "40 of 40 connections answered by the other worker"
}

// Full: every worker has all the connections that it wants. The others wait, at
// no cost, and are served when there is room.
func Full(t *testing.T, c Cell) string {
	c.Program, c.Workers, c.Balance = "http", 2, spec.BalanceRoundRobin
	s := nodeSite(t, c, "      MAX_CONNECTIONS: \"1\"\n")
	s.Up()
	var held []net.Conn
	for range 2 {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		held = append(held, conn)
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	const waiting = 8
	answers := make(chan string, waiting)
	for range waiting {
		go func() { answers <- rig.Ask("http://" + s.addr + "/") }()
	}
	agent, span := s.Status().AgentPID, 3*time.Second
	before := rig.CPU(t, agent)
	rig.For(span)
	percent := 100 * (rig.CPU(t, agent) - before).Seconds() / span.Seconds()
	if percent > 5 {
		t.Errorf("%d connections that nobody takes cost %.1f %% CPU", waiting, percent)
	}
	if len(answers) > 0 {
		t.Errorf("a worker with maxConnections = 1 took another one: %q", <-answers)
	}
	for _, conn := range held {
		conn.Close()
	}
	for range waiting {
		select {
		case text := <-answers:
			if !answerPattern.MatchString(text) {
				t.Errorf("answer %q", text)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("a connection hangs though there is room")
		}
	}
	s.Down()
	return fmt.Sprintf("%d connections that nobody takes cost %.1f %% CPU, and were served later", waiting, percent)
}

// Leaves: a worker that leaves by itself, in each way that Node.js knows.
func Leaves(t *testing.T, c Cell) string {
	c.Program, c.Workers = "leave", 2
	s := nodeSite(t, c, "")
	s.Up()
	var told []string
	for way, asked := range map[string]bool{"worker.disconnect": true, "worker.kill": true, "process.disconnect": false, "exit": false} {
		before := s.App("web").Workers[0]
		s.Must("message", "web#0", fmt.Sprintf(`{"leave":%q}`, way))
		rig.Until(t, 20*time.Second, "another process after "+way, func() bool {
			w := s.App("web").Workers[0]
			return w.State == event.Ready && w.PID != before.PID
		})
		w := s.App("web").Workers[0]
		if w.ID <= before.ID {
			t.Errorf("%s: id %d after %d", way, w.ID, before.ID)
		}
		code := 0
		if way == "exit" {
			code = 3
		}
		if w.LastExit == nil || w.LastExit.Code != code || w.LastExit.PID != before.PID {
			t.Errorf("%s: last exit %+v, code %d is wanted", way, w.LastExit, code)
		}
		got := s.exitEvent(t, before.PID)
		if got.AfterDisconnect != asked {
			t.Errorf("%s: exitedAfterDisconnect is %v", way, got.AfterDisconnect)
		}
		told = append(told, way)
	}
	slices.Sort(told)
	s.Down()
	return strings.Join(told, ", ")
}

// exitEvent is the event of a process's end.
func (s site) exitEvent(t *testing.T, pid int) event.WorkerExit {
	t.Helper()
	out := s.Must("events", "-o", "jsonl").Stdout
	for line := range strings.Lines(out) {
		var e event.Event
		if json.Unmarshal([]byte(line), &e) == nil && e.PID == pid {
			if exit, ok := e.Data.(event.WorkerExit); ok {
				return exit
			}
		}
	}
	t.Fatalf("no event of the end of %d:\n%s", pid, out)
	return event.WorkerExit{}
}

// text is muster.yaml as it is.
func (s site) text(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.Dir, "muster.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Silent: a program that never listens is ready, is reached by messages, and is
// replaced by a reload.
func Silent(t *testing.T, c Cell) string {
	c.Program = "silent"
	s := nodeSite(t, c, "")
	s.Up()
	r := s.Must("message", "web", `{"hello":1}`, "--wait")
	if strings.Count(r.Stdout, `{"got":{"hello":1}}`) != c.Workers {
		t.Errorf("answers: %v", r)
	}
	before := s.PIDs("web")
	s.Next(nil)
	start := time.Now()
	s.Must("reload", "web")
	took := time.Since(start)
	rig.Disjoint(t, before, s.PIDs("web"))
	if took > 20*time.Second {
		t.Errorf("the reload took %v", took)
	}
	s.Down()
	return fmt.Sprintf("ready, answers messages, reloaded in %.1fs", took.Seconds())
}

// Ends: a script that has nothing more to do ends with its own code, as it would
// without muster.
func Ends(t *testing.T, c Cell) string {
	c.Program, c.Workers = "silent", 1
	for code := range 2 {
		s := nodeSite(t, c, "    restart: never\n")
		s.Next(map[string]string{"silent.js": fmt.Sprintf("setTimeout(() => { process.exitCode = %d; console.log('done'); }, 100);\n", code)})
		s.Run("up", "-d")
		rig.Until(t, 20*time.Second, "the script has ended", func() bool {
			st, ok := s.TryStatus()
			return ok && len(st.Apps) == 1 && len(st.Apps[0].Workers) == 1 && st.Apps[0].Workers[0].LastExit != nil
		})
		if e := s.App("web").Workers[0].LastExit; e.Code != code {
			t.Errorf("exit %+v, code %d is wanted", e, code)
		}
		s.Down()
	}
	return "codes 0 and 1 passed on"
}

// Threads: threads of a worker do not take themselves for workers.
func Threads(t *testing.T, c Cell) string {
	c.Program = "threads"
	s := nodeSite(t, c, "")
	s.Up()
	text := rig.Ask("http://" + s.addr + "/")
	if !answerPattern.MatchString(text) || !strings.Contains(text, "thread=true") {
		t.Errorf("answer %q", text)
	}
	s.Must("reload", "web")
	s.Down()
	return strings.TrimSpace(text)
}
