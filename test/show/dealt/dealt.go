package dealt

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/spec"
	"github.com/muster-run/muster/test/load"
	"github.com/muster-run/muster/test/rig"
)

// clients of each kind in a load.
const clients = 16

// site is the worker as an app, "web".
type site struct {
	*rig.Project
	*rig.Releases
	addr string
}

// deploy runs it with so many workers; more is added to its app (indented by 4), env to its
// environment.
func deploy(t *testing.T, workers int, more string, env map[string]string) site {
	t.Helper()
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	addr := rig.Addr(t)
	yaml := fmt.Sprintf("version: 1\napps:\n  web:\n    dir: current\n    command: [%q]\n    workers: %d\n", own, workers) +
		strings.ReplaceAll(more, "ADDR", addr) + "    env:\n"
	all := map[string]string{workVar: "1", listenVar: "tcp " + addr}
	maps.Copy(all, env)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		yaml += fmt.Sprintf("      %s: %q\n", name, strings.ReplaceAll(all[name], "ADDR", addr))
	}
	s := site{Project: rig.New(t, yaml), addr: addr}
	from := t.TempDir()
	if err := os.WriteFile(filepath.Join(from, "RELEASE"), []byte("1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.Releases = s.Project.Releases(from)
	return s
}

// declared is a listener with a balance.
func declared(b spec.Balance) string {
	return fmt.Sprintf("    listen:\n      - {name: http, address: %q, balance: %s}\n", "ADDR", b)
}

var pidWord = regexp.MustCompile(`pid=(\d+)`)

// ask asks over a connection, which stays open, and says who answers.
func ask(t *testing.T, conn net.Conn) (pid int) {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	m := pidWord.FindSubmatch(body)
	if err != nil || m == nil {
		t.Fatalf("%q, %v", body, err)
	}
	pid, _ = strconv.Atoi(string(m[1]))
	return pid
}

// connect opens n connections one after the other, and says who has which.
func connect(t *testing.T, network, addr string, n int) map[int][]net.Conn {
	t.Helper()
	owners := map[int][]net.Conn{}
	for range n {
		conn, err := net.DialTimeout(network, addr, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		pid := ask(t, conn)
		owners[pid] = append(owners[pid], conn)
	}
	return owners
}

// spread is how many connections each has, sorted.
func spread(owners map[int][]net.Conn) (counts []int) {
	for _, conns := range owners {
		counts = append(counts, len(conns))
	}
	slices.Sort(counts)
	return counts
}

// Balances are the ways to deal.
func Balances() []spec.Balance { return []spec.Balance{spec.BalanceRoundRobin, spec.BalanceLeast} }

// Spread: connections are spread evenly, and with least-connections the emptiest worker is next.
func Spread(t *testing.T, b spec.Balance) string {
	s := deploy(t, 4, declared(b), nil)
	s.Up()
	for _, w := range s.App("web").Workers {
		if w.Node == nil || !slices.Equal(w.Node.Listening, []string{fmt.Sprintf("tcp://%s (%s)", s.addr, b)}) {
			t.Errorf("worker #%d: %+v", w.Slot, w.Node)
		}
	}
	owners := connect(t, "tcp", s.addr, 40)
	if got := spread(owners); len(got) != 4 || got[0] < 9 || got[3] > 11 {
		t.Errorf("40 connections over 4 workers: %v", got)
	}
	if b == spec.BalanceLeast {
		emptiest(t, s, owners)
	}
	for _, r := range s.Records("web") {
		if strings.Contains(r.Line, "not a connection") {
			t.Error(r.Line)
		}
	}
	s.Down()
	return fmt.Sprintf("40 connections over 4 workers: %v", spread(owners))
}

// emptiest closes what two workers have: what follows is theirs.
func emptiest(t *testing.T, s site, owners map[int][]net.Conn) {
	t.Helper()
	pids := slices.Sorted(maps.Keys(owners))
	for _, pid := range pids[:2] {
		for _, conn := range owners[pid] {
			_ = conn.Close()
		}
	}
	// The worker looks every 100 ms at most, and only muster could say what it was told.
	rig.For(400 * time.Millisecond)
	next := connect(t, "tcp", s.addr, 12)
	for pid, conns := range next {
		if !slices.Contains(pids[:2], pid) && len(conns) > 1 {
			t.Errorf("pid %d has 10 connections and got %d of 12 more, while %v had none", pid, len(conns), pids[:2])
		}
	}
}

// Burst is a burst of connections at the same moment.
func Burst(t *testing.T) string {
	s := deploy(t, 4, declared(spec.BalanceRoundRobin), nil)
	s.Up()
	const n = 200
	pids := make(chan int, n)
	var all sync.WaitGroup
	for range n {
		conn, err := net.DialTimeout("tcp", s.addr, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		all.Go(func() { pids <- ask(t, conn) })
	}
	all.Wait()
	counts := map[int]int{}
	for range n {
		counts[<-pids]++
	}
	for pid, got := range counts {
		if got < 30 || got > 70 {
			t.Errorf("pid %d has %d of %d connections over 4 workers", pid, got, n)
		}
	}
	return fmt.Sprintf("%d connections at once: %v", n, slices.Sorted(maps.Values(counts)))
}

// Reloads is the bar, 1 to 4: reloads under load lose nothing, keep-alive included.
func Reloads(t *testing.T, b spec.Balance, n int) string {
	s := deploy(t, 3, declared(b), nil)
	s.Up()
	run := load.Start(load.Options{Addr: s.addr, Fresh: clients, Kept: clients})
	defer run.Stop()
	for i := range n {
		before := s.PIDs("web")
		release := s.Next(nil)
		s.Must("reload", "web")
		rig.Disjoint(t, before, s.PIDs("web"))
		run.Mark()
		rig.Until(t, 30*time.Second, "an answer of each new worker", func() bool { return len(run.Report().PIDs()) >= 3 })
		if got := run.Report().Releases(); !slices.Equal(got, []string{release}) {
			t.Errorf("reload %d: releases %v answer, %s is wanted", i+1, got, release)
		}
	}
	end := run.Stop()
	if end.Lost() > 0 {
		t.Errorf("requests were lost: %v", end)
	}
	s.Down()
	return fmt.Sprintf("%d reloads: %v", n, end)
}

// WarmUp: a worker that warms up between Listen and Accept gets no connection meanwhile, and
// counts as ready only when it accepts.
func WarmUp(t *testing.T) string {
	s := deploy(t, 2, declared(spec.BalanceRoundRobin), map[string]string{warmUpVar: "2s"})
	s.Up()
	run := load.Start(load.Options{Addr: s.addr, Fresh: clients, Kept: clients})
	defer run.Stop()
	rig.Until(t, 10*time.Second, "answers", func() bool { return run.Report().Answers() > 100 })
	run.Mark()
	start := time.Now()
	s.Next(nil)
	s.Must("reload", "web")
	took := time.Since(start)
	end := run.Stop()
	if end.Lost() > 0 || end.Longest > time.Second {
		t.Errorf("want 0 lost and no answer over 1 s: %v", end)
	}
	if took < 4*time.Second {
		t.Errorf("two workers that warm up for 2 s each cannot be ready after %v", took)
	}
	return fmt.Sprintf("reloaded in %v: %v", took.Round(10*time.Millisecond), end)
}

// place is one way to listen: what is added to the app, what the worker asks for, and how
// it is shown. ADDR is a free address, PATH that of a socket.
type place struct{ more, listen, network, addr, shown string }

func places() map[string]place {
	return map[string]place{
		"by name":       {declared(spec.BalanceRoundRobin), "tcp name:http", "tcp", "ADDR", "tcp://ADDR (round-robin)"},
		"not declared":  {"    balance: round-robin\n", "tcp ADDR", "tcp", "ADDR", "tcp://ADDR (round-robin)"},
		"unix":          {"    listen:\n      - {name: http, address: PATH}\n    balance: least-connections\n", "unix PATH", "unix", "PATH", "unix://PATH (least-connections)"},
		"slots beside":  {"    listen:\n      - {name: other, address: \"127.0.0.1:0\", balance: round-robin}\n      - {name: http, address: \"ADDR\", balance: slots}\n", "tcp ADDR", "tcp", "ADDR", "tcp://ADDR (slots)"},
		"shared beside": {"    listen:\n      - {name: other, address: \"127.0.0.1:0\", balance: round-robin}\n      - {name: http, address: \"ADDR\"}\n", "tcp ADDR", "tcp", "ADDR", "tcp://ADDR (shared)"},
	}
}

// Places are the names of other ways to listen than a declared address: by name, on a UNIX
// socket, an address that nobody has declared, and beside a listener that is not dealt.
func Places() []string { return slices.Sorted(maps.Keys(places())) }

// Listen shows that every worker answers at one of the Places, before and after a reload.
func Listen(t *testing.T, name string) string {
	at, path := places()[name], filepath.Join(shortDir(t), "sock")
	with := func(text string) string { return strings.ReplaceAll(text, "PATH", path) }
	s := deploy(t, 2, with(at.more), map[string]string{listenVar: with(at.listen)})
	s.Up()
	shown, addr := strings.ReplaceAll(with(at.shown), "ADDR", s.addr), strings.ReplaceAll(with(at.addr), "ADDR", s.addr)
	for range 2 {
		for _, w := range s.App("web").Workers {
			if w.Node == nil || !slices.Equal(w.Node.Listening, []string{shown}) {
				t.Errorf("worker #%d: %+v", w.Slot, w.Node)
			}
		}
		seen := map[int]bool{}
		rig.Until(t, 20*time.Second, "an answer of each worker", func() bool {
			for pid, conns := range connect(t, at.network, addr, 4) {
				seen[pid] = true
				for _, c := range conns {
					_ = c.Close()
				}
			}
			return len(seen) == 2
		})
		s.Next(nil)
		s.Must("reload", "web")
	}
	s.Down()
	return shown
}

// shortDir is a directory for a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "m")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// WithoutTheSDK: a program that does not take connections is told of, with what to do.
func WithoutTheSDK(t *testing.T) string {
	s := deploy(t, 1, declared(spec.BalanceRoundRobin)+"    ready: {timeout: 1s}\n    restart: never\n", nil)
	s.Write("muster.yaml", regexp.MustCompile(`command: .*`).ReplaceAllString(s.yaml(t), "command: sleep 1000"))
	r := s.Run("up", "-d")
	text := r.Stdout + r.Stderr
	if r.Code == 0 || !strings.Contains(text, "E-READY-TIMEOUT") || !strings.Contains(text, "balance: round-robin") || !strings.Contains(text, "worker.Listen") {
		t.Errorf("%v", r)
	}
	return "told with what to do"
}

func (s site) yaml(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.Dir, "muster.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// SignalFromOutside: a worker that is asked to end by somebody else's signal leaves in good order.
func SignalFromOutside(t *testing.T) string {
	s := deploy(t, 2, declared(spec.BalanceRoundRobin), nil)
	s.Up()
	run := load.Start(load.Options{Addr: s.addr, Fresh: clients, Kept: clients})
	defer run.Stop()
	rig.Until(t, 10*time.Second, "answers", func() bool { return run.Report().Answers() > 100 })
	before := s.PIDs("web")
	if err := syscall.Kill(before[0], syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rig.Until(t, 30*time.Second, "it is replaced", func() bool {
		now := s.PIDs("web")
		return now[0] != 0 && now[0] != before[0] && now[1] == before[1]
	})
	end := run.Stop()
	if end.Lost() > 0 {
		t.Errorf("requests were lost: %v", end)
	}
	if st := s.App("web").Status; st != event.Healthy {
		t.Error(st)
	}
	return fmt.Sprint(end)
}
