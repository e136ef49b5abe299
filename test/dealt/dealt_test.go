package dealt

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
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
	"github.com/muster-run/muster/worker"
)

func TestMain(m *testing.M) {
	if os.Getenv(workVar) != "" {
		os.Exit(worker.Run(worker.Options{}, work))
	}
	os.Exit(rig.Main(m))
}

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

func balances() []spec.Balance { return []spec.Balance{spec.BalanceRoundRobin, spec.BalanceLeast} }

func eachBalance(t *testing.T, test func(t *testing.T, b spec.Balance)) {
	for _, b := range balances() {
		t.Run(string(b), func(t *testing.T) { test(t, b) })
	}
}

// Connections are spread evenly, and with least-connections the emptiest worker is next.
func TestSpread(t *testing.T) {
	eachBalance(t, func(t *testing.T, b spec.Balance) {
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
	})
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

// A burst of connections at the same moment.
func TestBurst(t *testing.T) {
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
	t.Log(counts)
}

// The bar, 1 to 4: reloads under load lose nothing, keep-alive included.
func TestReloads(t *testing.T) {
	eachBalance(t, func(t *testing.T, b spec.Balance) {
		s := deploy(t, 3, declared(b), nil)
		s.Up()
		run := load.Start(load.Options{Addr: s.addr, Fresh: clients, Kept: clients})
		defer run.Stop()
		for i := range 3 {
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
		t.Log(end)
		s.Down()
	})
}

// A worker that warms up between Listen and Accept gets no connection meanwhile, and
// counts as ready only when it accepts.
func TestWarmUp(t *testing.T) {
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
	if end := run.Stop(); end.Lost() > 0 || end.Longest > time.Second {
		t.Errorf("want 0 lost and no answer over 1 s: %v", end)
	}
	if took < 4*time.Second {
		t.Errorf("two workers that warm up for 2 s each cannot be ready after %v", took)
	}
}

// What a killed worker had not accepted goes to others: a request may only be lost with a
// worker that had its connection.
func TestWorkerKills(t *testing.T) {
	eachBalance(t, func(t *testing.T, b spec.Balance) {
		file := filepath.Join(t.TempDir(), "clients")
		s := deploy(t, 3, declared(b)+"    restart: {delay: 10ms}\n", map[string]string{clientsVar: file})
		s.Up()
		l := startPorts(s.addr)
		killed := map[int]bool{}
		for range 8 {
			rig.For(300 * time.Millisecond)
			pids := slices.Collect(maps.Values(s.PIDs("web")))
			if len(pids) == 0 {
				continue
			}
			pid := pids[rand.IntN(len(pids))]
			killed[pid] = true
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		l.stop()
		s.Healthy()
		owners := noted(t, file)
		unseen := 0
		for port, err := range l.failed {
			pids := owners[port]
			if len(pids) == 0 {
				unseen++ // killed between accept and the note: one for each kill
			} else if !slices.ContainsFunc(pids, func(pid int) bool { return killed[pid] }) {
				t.Errorf("the connection from port %d failed, and none of the pids %v that had it was killed: %v", port, pids, err)
			}
		}
		if unseen > len(killed) {
			t.Errorf("%d connections failed that nobody had accepted, of %d kills", unseen, len(killed))
		}
		if len(killed) < 4 || l.answers < 100 {
			t.Errorf("%d kills and %d answers are no proof", len(killed), l.answers)
		}
		t.Logf("%d kills, %d answers, %d cut off with the worker that had accepted them", len(killed), l.answers, len(l.failed))
		s.Down()
	})
}

// ports is a load of new connections that knows the local port of each.
type ports struct {
	end     context.CancelFunc
	all     sync.WaitGroup
	mu      sync.Mutex
	answers int
	failed  map[int]error // by the client's port; 0: not connected
}

func startPorts(addr string) *ports {
	ctx, cancel := context.WithCancel(context.Background())
	p := &ports{end: cancel, failed: map[int]error{}}
	for range clients {
		p.all.Go(func() {
			for ctx.Err() == nil {
				port, err := once(addr)
				p.mu.Lock()
				if err == nil {
					p.answers++
				} else {
					p.failed[port] = err
				}
				p.mu.Unlock()
			}
		})
	}
	return p
}

func (p *ports) stop() { p.end(); p.all.Wait() }

// once asks over a connection of its own.
func once(addr string) (port int, err error) {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	port = conn.LocalAddr().(*net.TCPAddr).Port
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err = fmt.Fprintf(conn, "GET /?ms=%d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", rand.IntN(20)); err != nil {
		return port, err
	}
	text, err := io.ReadAll(conn)
	if err == nil && !pidWord.Match(text) {
		err = fmt.Errorf("answered %q", text)
	}
	return port, err
}

// noted is which workers have accepted connections from a port.
func noted(t *testing.T, file string) map[int][]int {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	owners := map[int][]int{}
	for line := range strings.Lines(string(text)) {
		var pid, port int
		if _, err := fmt.Sscan(line, &pid, &port); err == nil {
			owners[port] = append(owners[port], pid)
		}
	}
	return owners
}

// The bar, 7: workers live through kill -9 of the agent, and go on taking connections
// from the next one; in a reload, too.
func TestAgentKills(t *testing.T) {
	eachBalance(t, func(t *testing.T, b spec.Balance) {
		s := deploy(t, 3, declared(b), nil)
		s.Up()
		run := load.Start(load.Options{Addr: s.addr, Fresh: clients, Kept: clients})
		defer run.Stop()
		for i := range 4 {
			before := s.PIDs("web")
			if i%2 == 0 {
				s.killAgent(t)
				if now := s.PIDs("web"); !maps.Equal(before, now) {
					t.Errorf("workers were %v and are %v", before, now)
				}
			} else {
				s.Next(nil)
				end := s.Begin(s.Cmd("reload", "web"))
				rig.For(time.Duration(rand.IntN(700)) * time.Millisecond)
				s.killAgent(t)
				end()
				s.Healthy()
			}
			run.Mark()
			rig.Until(t, 30*time.Second, "answers of 3 workers", func() bool { return len(run.Report().PIDs()) >= 3 })
		}
		if end := run.Stop(); end.Lost() > 0 {
			t.Errorf("requests were lost: %v", end)
		}
		s.Must("reload", "web")
		s.Down()
	})
}

// killAgent kills the agent and returns once the next one answers.
func (s site) killAgent(t *testing.T) {
	t.Helper()
	before := s.Status()
	if err := syscall.Kill(before.AgentPID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	rig.Until(t, 20*time.Second, "another agent answers", func() bool {
		st, ok := s.TryStatus()
		return ok && st.AgentPID != before.AgentPID
	})
}

// Other ways to listen: by name, on a UNIX socket, an address that nobody has declared, and
// beside a listener that is not dealt.
func TestListeners(t *testing.T) {
	path := filepath.Join(shortDir(t), "sock")
	for name, tt := range map[string]struct {
		more, listen, network, addr, shown string
	}{
		"by name":       {declared(spec.BalanceRoundRobin), "tcp name:http", "tcp", "ADDR", "tcp://ADDR (round-robin)"},
		"not declared":  {"    balance: round-robin\n", "tcp ADDR", "tcp", "ADDR", "tcp://ADDR (round-robin)"},
		"unix":          {"    listen:\n      - {name: http, address: " + path + "}\n    balance: least-connections\n", "unix " + path, "unix", path, "unix://" + path + " (least-connections)"},
		"slots beside":  {"    listen:\n      - {name: other, address: \"127.0.0.1:0\", balance: round-robin}\n      - {name: http, address: \"ADDR\", balance: slots}\n", "tcp ADDR", "tcp", "ADDR", "tcp://ADDR (slots)"},
		"shared beside": {"    listen:\n      - {name: other, address: \"127.0.0.1:0\", balance: round-robin}\n      - {name: http, address: \"ADDR\"}\n", "tcp ADDR", "tcp", "ADDR", "tcp://ADDR (shared)"},
	} {
		t.Run(name, func(t *testing.T) {
			s := deploy(t, 2, tt.more, map[string]string{listenVar: tt.listen})
			s.Up()
			place := func(text string) string { return strings.ReplaceAll(text, "ADDR", s.addr) }
			for range 2 {
				for _, w := range s.App("web").Workers {
					if w.Node == nil || !slices.Equal(w.Node.Listening, []string{place(tt.shown)}) {
						t.Errorf("worker #%d: %+v", w.Slot, w.Node)
					}
				}
				seen := map[int]bool{}
				rig.Until(t, 20*time.Second, "an answer of each worker", func() bool {
					for pid, conns := range connect(t, tt.network, place(tt.addr), 4) {
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
		})
	}
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

// A program that does not take connections is told of, with what to do.
func TestProgramWithoutTheSDK(t *testing.T) {
	s := deploy(t, 1, declared(spec.BalanceRoundRobin)+"    ready: {timeout: 1s}\n    restart: never\n", nil)
	s.Write("muster.yaml", regexp.MustCompile(`command: .*`).ReplaceAllString(s.yaml(t), "command: sleep 1000"))
	r := s.Run("up", "-d")
	text := r.Stdout + r.Stderr
	if r.Code == 0 || !strings.Contains(text, "E-READY-TIMEOUT") || !strings.Contains(text, "balance: round-robin") || !strings.Contains(text, "worker.Listen") {
		t.Errorf("%v", r)
	}
}

func (s site) yaml(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.Dir, "muster.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A worker that is asked to end by somebody else's signal leaves in good order.
func TestSignalFromOutside(t *testing.T) {
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
	if end := run.Stop(); end.Lost() > 0 {
		t.Errorf("requests were lost: %v", end)
	}
	if st := s.App("web").Status; st != event.Healthy {
		t.Error(st)
	}
}
