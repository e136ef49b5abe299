package primary

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/handoff"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/nodejs"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/spec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// nodesVar names the Node.js binaries of the tests, separated by colons; without it
// they run with the node of the PATH.
const nodesVar = "MUSTER_TEST_NODES"

// eachNode runs a test with every Node.js binary.
func eachNode(t *testing.T, test func(t *testing.T, node string)) {
	t.Helper()
	list := os.Getenv(nodesVar)
	if list == "" {
		list = "node"
	}
	for i, node := range strings.Split(list, ":") {
		t.Run(strconv.Itoa(i), func(t *testing.T) { test(t, node) })
	}
}

// balances are all that TCP listeners have.
func balances() []spec.Balance {
	return []spec.Balance{spec.BalanceShared, spec.BalanceSlots, spec.BalanceRoundRobin, spec.BalanceLeast}
}

// lab is a primary with workers, as a pool would have it: owner stands for the pool's
// goroutine.
type lab struct {
	t     *testing.T
	node  string
	loop  *handoff.Loop
	store process.Store

	owner sync.Mutex
	p     *Primary

	mu     sync.Mutex
	warned []*fault.Fault
}

func newLab(t *testing.T, node string, balance spec.Balance) *lab {
	t.Helper()
	before := openFDs(t)
	loop, err := handoff.NewLoop()
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, node: node, loop: loop, store: process.NewDirectStore()}
	l.do(func() { l.p = New(l.options(balance)) })
	t.Cleanup(func() {
		l.do(func() { l.p.Release() })
		if names := l.store.List(); len(names) > 0 {
			t.Errorf("left in the Store: %q", names)
		}
		loop.Close()
		http.DefaultClient.CloseIdleConnections()
		l.until("the descriptors are closed", func() bool { return openFDs(t) <= before })
	})
	return l
}

func (l *lab) options(balance spec.Balance) Options {
	return Options{
		App: "web", Store: l.store, Loop: l.loop, Slots: func() int { return 2 },
		Balance: func(s spec.Listener) spec.Balance {
			if s.Network == "unix" && balance == spec.BalanceSlots {
				return spec.BalanceRoundRobin
			}
			return balance
		},
		Warn: func(member string, f *fault.Fault) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.warned = append(l.warned, f)
		},
	}
}

func openFDs(t *testing.T) int {
	t.Helper()
	r, w, err := os.Pipe() // Go's poller opens descriptors of its own at its first use
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// do runs a step of the owner.
func (l *lab) do(step func()) {
	l.owner.Lock()
	defer l.owner.Unlock()
	step()
}

// warnings of a code so far.
func (l *lab) warnings(code fault.Code) (texts []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.warned {
		if f.Code == code {
			texts = append(texts, f.Error())
		}
	}
	return texts
}

// until polls, for at most 30 s.
func (l *lab) until(what string, ok func() bool) {
	l.t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			l.t.Fatalf("not within 30 s: %s; warnings: %v", what, l.warned)
		case <-tick.C:
		}
	}
}

// members is how many there are.
func (l *lab) members() (n int) {
	l.do(func() { n = len(l.p.members) })
	return n
}

// facts of all that was asked for.
func (l *lab) facts() (list []record.Asked) {
	l.do(func() { list = l.p.Facts() })
	return list
}

// facts of a worker.
func (w *worker) facts() (facts *record.Node) {
	w.lab.do(func() { facts = w.member.Facts() })
	return facts
}

// worker is one Node.js process, or a test that speaks in its place.
type worker struct {
	lab    *lab
	slot   int
	member *Member
	link   *nodejs.Link
	conn   *channel.Conn
	ear    *handoff.Ear
	cmd    *exec.Cmd
	said   chan string // messages of its own code
	over   chan struct{}
	once   sync.Once

	mu     sync.Mutex
	events []string
}

// head is before every script.
const head = `'use strict';
const cluster = require('cluster'), net = require('net'), http = require('http'), dgram = require('dgram'), tls = require('tls');
const say = (m, s) => process.send(m, s);
const http200 = (cb) => http.createServer((q, r) => { r.setHeader('Connection', 'close'); r.end('' + cluster.worker.id) }).listen(...cb);
if (!cluster.isWorker) throw new Error('no worker');
`

// start runs a script as a worker; args are its arguments.
func (l *lab) start(slot int, script string, args ...string) *worker {
	l.t.Helper()
	file := filepath.Join(l.t.TempDir(), "worker.js")
	if err := os.WriteFile(file, []byte(head+script), 0o600); err != nil {
		l.t.Fatal(err)
	}
	ours, theirs, err := channel.Pair()
	if err != nil {
		l.t.Fatal(err)
	}
	end := os.NewFile(uintptr(theirs), "channel")
	defer end.Close()
	cmd := exec.Command(l.node, append([]string{file}, args...)...)
	cmd.Env = append(os.Environ(), "NODE_CHANNEL_FD=3", "NODE_UNIQUE_ID="+strconv.Itoa(slot+1))
	cmd.ExtraFiles = []*os.File{end}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	w := l.hear(slot, ours, nil)
	w.cmd = cmd
	l.t.Cleanup(w.kill)
	return w
}

// hear joins whoever is at the other end of a channel.
func (l *lab) hear(slot, fd int, was *record.Node) *worker {
	w := &worker{lab: l, slot: slot, said: make(chan string, 100), over: make(chan struct{})}
	w.conn = channel.Open(fd, channel.Options{Peek: true, Driven: true})
	w.link = nodejs.NewLink(w.conn.Send, l.loop.NextID)
	note := func(text string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.events = append(w.events, text)
	}
	l.do(func() {
		w.member = l.p.Join(Joining{ID: fmt.Sprintf("web#%d", slot), Slot: slot, Link: w.link, Was: was, Events: Events{
			Online: func() { note("online") },
			Listening: func(s Server) {
				note(fmt.Sprintf("listening %s %d %s", s.Address, s.Port, s.Type))
			},
			Closed: func(string) { note("closed") },
			Asked:  func() { note("asked") },
		}})
	})
	w.ear = l.loop.Hear(w.conn, handoff.Hearing{
		First: func(f channel.Frame) bool { return w.member.First(f.Data) },
		Rest:  w.rest,
		End: func(error) {
			l.do(w.member.Gone)
			close(w.over)
		},
	})
	l.t.Cleanup(w.close)
	return w
}

func (w *worker) rest(f channel.Frame) {
	if !strings.HasPrefix(channel.Command(f.Data), "NODE_") {
		closeAll(f.FDs)
		w.said <- string(f.Data)
		return
	}
	msg, err := w.member.Take(f)
	if err != nil {
		w.said <- err.Error()
		return
	}
	heard := false
	w.lab.do(func() { heard = w.member.Heard(msg, f.FDs) })
	if !heard {
		w.said <- fmt.Sprintf("%s with %d %s", msg.Msg, len(f.FDs), msg.Type)
		closeAll(f.FDs)
	}
}

func (w *worker) close() {
	w.once.Do(func() {
		w.ear.Close()
		w.conn.Close()
		w.lab.do(w.member.Gone)
	})
}

// kill ends the process at once, and waits for it.
func (w *worker) kill() {
	_ = w.cmd.Process.Kill() // it may have ended
	_ = w.cmd.Wait()
}

// exit waits for the end of the process and of its channel.
func (w *worker) exit() int {
	w.lab.t.Helper()
	select {
	case <-w.over:
	case <-time.After(30 * time.Second):
		w.lab.t.Fatal("its channel does not end")
	}
	_ = w.cmd.Wait() // the code says it
	return w.cmd.ProcessState.ExitCode()
}

// hears is its next message.
func (w *worker) hears() string {
	w.lab.t.Helper()
	select {
	case m := <-w.said:
		return m
	case <-time.After(30 * time.Second):
		w.lab.t.Fatalf("web#%d says nothing; %q, %v", w.slot, w.seen(), w.lab.warned)
		return ""
	}
}

func (w *worker) wants(text string) {
	w.lab.t.Helper()
	if got := w.hears(); got != text {
		w.lab.t.Fatalf("web#%d says %s, want %s", w.slot, got, text)
	}
}

// port is the next message, a number.
func (w *worker) port() int {
	w.lab.t.Helper()
	var n int
	if text := w.hears(); json.Unmarshal([]byte(text), &n) != nil {
		w.lab.t.Fatalf("%s is no port", text)
	}
	return n
}

func (w *worker) seen() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.events)
}

// saw waits for an event.
func (w *worker) saw(event string) {
	w.lab.t.Helper()
	w.lab.until("web#"+strconv.Itoa(w.slot)+" "+event, func() bool { return slices.Contains(w.seen(), event) })
}

func (w *worker) tell(text string) {
	w.lab.t.Helper()
	if err := w.link.User([]byte(text), -1, ""); err != nil {
		w.lab.t.Fatal(err)
	}
}

// get asks an HTTP server on a new connection, and returns which worker answered.
func get(t *testing.T, network, address string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// ask asks n times and counts who answered.
func ask(t *testing.T, n int, network, address string) map[string]int {
	t.Helper()
	counts := map[string]int{}
	for range n {
		counts[get(t, network, address)]++
	}
	return counts
}

func local(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// hold listens on a free port, as somebody else.
func hold(t *testing.T) (port int, release func()) {
	t.Helper()
	f, err := listener.Bind(spec.Listener{Network: "tcp", Address: ":0"})
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := net.SplitHostPort(listener.Addr(f))
	port, _ = strconv.Atoi(text)
	release = sync.OnceFunc(func() { f.Close() })
	t.Cleanup(release)
	return port, release
}

// freePort is one that nobody has.
func freePort(t *testing.T) int {
	t.Helper()
	port, release := hold(t)
	release()
	return port
}

// mute is a worker without a process: the test writes its frames.
func (l *lab) mute(slot int) (w *worker, theirs int) {
	l.t.Helper()
	ours, theirs, err := channel.Pair()
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = unix.Close(theirs) })
	return l.hear(slot, ours, nil), theirs
}
