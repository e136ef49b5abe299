package node

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
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/spec"
	"github.com/muster-run/muster/test/load"
	"github.com/muster-run/muster/test/rig"
)

// dialer connects to one address, whatever is asked for.
func dialer(network, addr string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
}

// Reloads reloads a program under load several times: nothing may be lost, and
// after each reload every pid and the release must have changed.
func Reloads(t *testing.T, c Cell, delay [2]time.Duration, times int) string {
	s := nodeSite(t, c, "")
	s.Up()
	o := load.Options{Addr: s.addr, Fresh: clients, Kept: clients, MinDelay: delay[0], MaxDelay: delay[1], Timeout: delay[1] + 5*time.Second}
	if c.Program == "ws" {
		o.Sockets = 4
	}
	run := load.Start(o)
	defer run.Stop()
	for i := range times {
		run.Mark()
		rig.Until(t, 30*time.Second, "answers", func() bool { return run.Report().Fresh.Answers > 0 && len(run.Report().Seen) > 0 })
		before := s.PIDs("web")
		release := s.Next(nil)
		s.Must("reload", "web")
		rig.Disjoint(t, before, s.PIDs("web"))
		run.Mark()
		rig.Until(t, 30*time.Second, "answers of the new release", func() bool { return len(run.Report().PIDs()) > 0 })
		if got := run.Report().Releases(); !slices.Equal(got, []string{release}) {
			t.Errorf("reload %d: releases %v answer, %s is wanted", i+1, got, release)
		}
	}
	end := run.Stop()
	if end.Lost() > 0 {
		t.Errorf("requests were lost: %v", end)
	}
	s.Down()
	return fmt.Sprintf("%d reloads; %v", times, end)
}

// Kills kills a random worker again and again under load. A request may only be
// lost with a worker that had accepted its connection: the workers note the ports
// of their clients. Where they accept themselves, a kill may come after that and before
// the note: one connection for each, as they take one at a time.
func Kills(t *testing.T, c Cell, every, span time.Duration) string {
	peers := filepath.Join(t.TempDir(), "peers")
	s := nodeSite(t, c, fmt.Sprintf("      PEERS: %q\n", peers))
	s.Up()
	agent := s.Status().AgentPID
	descriptors := rig.Descriptors(t, agent)
	var killed sync.Map
	run := startPorts(s.addr, clients)
	defer run.stop()
	kills, end := 0, time.Now().Add(span)
	for time.Now().Before(end) {
		rig.For(every)
		pids := slices.Collect(maps.Values(s.PIDs("web")))
		if len(pids) == 0 {
			continue
		}
		pid := pids[rand.IntN(len(pids))]
		killed.Store(pid, true)
		_ = syscall.Kill(pid, syscall.SIGKILL)
		kills++
	}
	run.stop()
	s.Healthy()
	allowed := 0
	if !c.Balance.Deals() {
		allowed = kills
	}
	owners := readPeers(t, peers)
	cutOff, unseen := 0, 0
	for _, f := range run.failures {
		if f.kind == "connect" || f.kind == "hung" {
			t.Errorf("%s: %s", f.kind, f.text)
			continue
		}
		cutOff++
		if pids := owners[f.port]; len(pids) == 0 {
			if unseen++; unseen > allowed {
				t.Errorf("the connection from port %d failed, and no worker had accepted it: %s", f.port, f.text)
			}
		} else if !slices.ContainsFunc(pids, func(pid int) bool { _, dead := killed.Load(pid); return dead }) {
			t.Errorf("the connection from port %d failed, and none of the pids %v that had it was killed: %s", f.port, pids, f.text)
		}
	}
	rig.Until(t, 10*time.Second, fmt.Sprintf("the agent has %d descriptors again", descriptors), func() bool { return rig.Descriptors(t, agent) <= descriptors })
	s.Down()
	return fmt.Sprintf("%d kills, %d answers, %d cut off with the worker that had accepted them (%d not noted yet), 0 refused, 0 hung; %d descriptors before and after", kills, run.answers, cutOff, unseen, descriptors)
}

// portRun is a load of new connections that knows the local port of each.
type portRun struct {
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	mu       sync.Mutex
	answers  int
	failures []portFailure
}

type portFailure struct {
	kind, text string
	port       int
}

func startPorts(addr string, n int) *portRun {
	ctx, cancel := context.WithCancel(context.Background())
	r := &portRun{cancel: cancel}
	for range n {
		r.wg.Go(func() {
			for ctx.Err() == nil {
				f, _ := onePort(addr, 20)
				r.note(f)
			}
		})
	}
	return r
}

func (r *portRun) stop() { r.cancel(); r.wg.Wait() }

func (r *portRun) note(f *portFailure) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f == nil {
		r.answers++
		return
	}
	r.failures = append(r.failures, *f)
}

// onePort asks once over a connection of its own, for a delay of up to most
// milliseconds; nil: it was answered. port is the client's.
func onePort(addr string, most int) (f *portFailure, port int) {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return &portFailure{kind: "connect", text: err.Error()}, 0
	}
	defer conn.Close()
	port = conn.LocalAddr().(*net.TCPAddr).Port
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	_, err = fmt.Fprintf(conn, "GET /?ms=%d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", rand.IntN(most+1))
	if err == nil {
		var resp *http.Response
		if resp, err = http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
		}
	}
	if err == nil {
		return nil, port
	}
	kind := "cut off"
	if os.IsTimeout(err) {
		kind = "hung"
	}
	return &portFailure{kind: kind, text: err.Error(), port: port}, port
}

// readPeers is which workers have accepted connections from a port: ports are used
// again in a long run.
func readPeers(t *testing.T, name string) map[int][]int {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	owners := map[int][]int{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var pid, port int
		if _, err := fmt.Sscan(lines.Text(), &pid, &port); err == nil {
			owners[port] = append(owners[port], pid)
		}
	}
	return owners
}

// AgentKills kills the agent again and again under load. allowed is how many
// connections may be lost at each kill.
func AgentKills(t *testing.T, c Cell, times int, allowed int) string {
	s := nodeSite(t, c, "")
	s.Up()
	workers := s.PIDs("web")
	run := load.Start(load.Options{Addr: s.addr, Fresh: clients, Kept: clients, MaxDelay: 20 * time.Millisecond})
	defer run.Stop()
	for range times {
		agent := s.Status().AgentPID
		rig.For(time.Duration(200+rand.IntN(2800)) * time.Millisecond * time.Duration(min(times, 20)) / 20)
		_ = syscall.Kill(agent, syscall.SIGKILL)
		rig.Until(t, 20*time.Second, "another agent answers", func() bool {
			st, ok := s.TryStatus()
			return ok && st.AgentPID != agent
		})
	}
	s.Healthy()
	run.Mark()
	rig.Until(t, 20*time.Second, "answers after the last kill", func() bool { return len(run.Report().PIDs()) > 0 })
	end := run.Stop()
	if now := s.PIDs("web"); !maps.Equal(workers, now) {
		t.Errorf("workers were %v and are %v", workers, now)
	}
	if end.Lost() > allowed*times || end.Kept.Total() > 0 {
		t.Errorf("lost more than %d in each of %d kills: %v", allowed, times, end)
	}
	release := s.Next(nil)
	s.Must("reload", "web")
	s.everyWorker(t, s.asker(t, c), release, s.balances())
	s.Down()
	return fmt.Sprintf("%d kills; %v", times, end)
}

// Blocked has one of the workers block for 4 s under load: how many requests
// wait for it?
func Blocked(t *testing.T, c Cell) string {
	peers := filepath.Join(t.TempDir(), "peers")
	s := nodeSite(t, c, fmt.Sprintf("      PEERS: %q\n", peers))
	s.Up()
	type wait struct {
		took time.Duration
		port int
		err  error
	}
	ctx, cancel := context.WithCancel(context.Background())
	waits := make(chan wait, 1<<20)
	var wg sync.WaitGroup
	for range 2 * clients {
		wg.Go(func() {
			for ctx.Err() == nil {
				start := time.Now()
				f, port := onePort(s.addr, 0)
				var err error
				if f != nil {
					err = fmt.Errorf("%s: %s", f.kind, f.text)
				}
				waits <- wait{time.Since(start), port, err}
			}
		})
	}
	rig.For(time.Second)
	begun := time.Now()
	blocker := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: dialer("tcp", s.addr)}}
	if _, err := get(blocker, "http://localhost/block?ms=4000"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took < 4*time.Second {
		t.Fatalf("it blocked for %v only", took)
	}
	cancel()
	wg.Wait()
	close(waits)
	accepted := acceptedBefore(t, peers)
	stuck, late, rescued, n := 0, 0, 0, 0
	var longest time.Duration
	for w := range waits {
		n++
		if w.err != nil {
			t.Errorf("a request failed: %v", w.err)
		}
		switch {
		case w.took > 2*time.Second && accepted[w.port]:
			stuck++ // nobody else can have it
		case w.took > 2*time.Second:
			late++
		case w.took > 150*time.Millisecond:
			rescued++
			longest = max(longest, w.took)
		}
	}
	// In round-robin one is under way to the worker, and nobody can take it back.
	if late > 1 || late > 0 && c.Balance != spec.BalanceRoundRobin {
		t.Errorf("%d connections that the blocked worker had not accepted waited for it", late)
	}
	if longest > 800*time.Millisecond {
		t.Errorf("a connection that nobody had accepted waited %v", longest)
	}
	s.Down()
	return fmt.Sprintf("%d requests; %d accepted and stuck; %d waited unaccepted; %d served by another worker after a wait of up to %v", n, stuck, late, rescued, longest.Round(time.Millisecond))
}

// acceptedBefore are the ports of the connections that were accepted before a worker
// noted that it blocks.
func acceptedBefore(t *testing.T, name string) map[int]bool {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, _, found := strings.Cut(string(text), "blocked\n")
	if !found {
		t.Fatal("no worker has blocked")
	}
	ports := map[int]bool{}
	for line := range strings.Lines(before) {
		var pid, port int
		if _, err := fmt.Sscan(line, &pid, &port); err == nil {
			ports[port] = true
		}
	}
	return ports
}

// Spread opens 200 connections at once to 4 workers.
func Spread(t *testing.T, c Cell) string {
	c.Workers = 4
	s := nodeSite(t, c, "")
	s.Up()
	const n = 200
	var mu sync.Mutex
	var wg sync.WaitGroup
	count := map[string]int{}
	for range n {
		wg.Go(func() {
			hc := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: dialer("tcp", s.addr)}}
			text, err := get(hc, "http://localhost/?ms=200")
			if err != nil {
				t.Errorf("a request failed: %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if m := answerPattern.FindStringSubmatch(text); m != nil {
				count[m[2]]++
			}
		})
	}
	wg.Wait()
	shares := slices.Sorted(maps.Values(count))
	slices.Reverse(shares)
	ratio := 0.0
	if len(shares) == 4 {
		ratio = float64(shares[0]) / float64(shares[3])
	}
	if c.Balance != spec.BalanceShared && (ratio == 0 || ratio > 1.5) {
		t.Errorf("200 connections went %v: busiest to least busy is %.2f", shares, ratio)
	}
	s.Down()
	return fmt.Sprintf("200 connections over 4 workers: %v, busiest to least busy %.2f", shares, ratio)
}
