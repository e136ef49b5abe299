package brood

import (
	"encoding/base64"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/supervisor/attempt"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/spec"
)

// freePort is one that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// A fork is a process with a channel, told apart from its program by what it is told
// of itself; what it does the program hears.
func TestFork(t *testing.T) {
	s := newStage(t, nil)
	f := s.forks(1, `,"cwd":"/tmp"`)
	for _, want := range []string{"COLOUR=blue", "NODE_UNIQUE_ID=1", "NODE_CHANNEL_FD=3", "MUSTER_APP=web", "MUSTER_FORK=1"} {
		if !slices.Contains(f.command.Env, want) {
			t.Errorf("no %s in %q", want, f.command.Env)
		}
	}
	if text := strings.Join(f.command.Env, "\n"); strings.Contains(text, "LISTEN_FDS") || !strings.Contains(text, "preload.cjs") || f.command.Dir != "/tmp" {
		t.Errorf("%s in %s", text, f.command.Dir)
	}
	text := strings.Join(s.program.command.Env, "\n")
	if !strings.Contains(text, "NODE_CHANNEL_FD=3") || strings.Contains(text, "NODE_UNIQUE_ID") || !strings.Contains(text, "delegate.cjs") {
		t.Errorf("the program has %s", text)
	}
	f.serves(1, freePort(t))
	f.says(`{"cmd":"NODE_CLUSTER","act":"exitedAfterDisconnect","seq":9}`)
	f.gets(`"ack":9`)
	f.conn.Close()
	s.program.told(`"act":"leaving"`, `"act":"disconnect"`)
	s.fake.Exit(f.command.ID, 3, 0)
	s.program.told(`"act":"exit","cmd":"NODE_MUSTER","code":3,"id":1,"signal":null`)
	s.until("it is forgotten", func() bool { return len(s.fake.List()) == 1 && len(s.facts().Forks.List) == 0 })
}

// Messages go both ways as the bytes they are, with their sockets.
func TestMessages(t *testing.T) {
	s := newStage(t, nil)
	f := s.forks(1, "")
	f.says(`{"a": "ü"}`)
	s.program.told(`{"cmd":"NODE_MUSTER","act":"message","id":1,"msg":{"a": "ü"}}`)
	s.program.says(`{"cmd":"MUSTER_FORK","act":"send","id":1,"msg":{"b": 1}}`)
	if text, _ := f.next(); text != `{"b":1}` {
		t.Errorf("the fork got %s", text)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(pair[:])
	handle := `{"cmd":"NODE_HANDLE","type":"net.Socket","msg":%s,"key":"k"}`
	if err := f.conn.Send(fmt.Appendf(nil, handle, `{"c":1}`), pair[0]); err != nil {
		t.Fatal(err)
	}
	text, fds := s.program.next()
	if closeAll(fds); len(fds) != 1 || !strings.Contains(text, `"type":"net.Socket","msg":{"cmd":"NODE_MUSTER","act":"message","id":1,"msg":{"c":1}}`) {
		t.Errorf("the program got %s and %d descriptors", text, len(fds))
	}
	if text, _ := f.next(); text != `{"cmd":"NODE_HANDLE_ACK"}` {
		t.Errorf("the fork got %s", text)
	}
	if err := s.program.conn.Send(fmt.Appendf(nil, handle, `{"cmd":"MUSTER_FORK","act":"send","id":1,"msg":{"d":1}}`), pair[1]); err != nil {
		t.Fatal(err)
	}
	s.program.told(`{"cmd":"NODE_HANDLE_ACK"}`)
	text, fds = f.next()
	if closeAll(fds); len(fds) != 1 || !strings.Contains(text, `"msg":{"d":1}`) {
		t.Errorf("the fork got %s and %d descriptors", text, len(fds))
	}
	s.program.says(`{"cmd":"NODE_SOCKET_GET_COUNT","key":"k"}`)
	s.program.told(`"cmd":"NODE_SOCKET_COUNT"`)
}

// What a silent fork prints is told before its exit.
func TestSilent(t *testing.T) {
	s := newStage(t, nil)
	f := s.forks(1, `,"silent":true`)
	s.fake.Print(f.command.ID, 2, "oh\n")
	s.program.told(fmt.Sprintf(`"act":"output","cmd":"NODE_MUSTER","data":%q,"fd":2`, base64.StdEncoding.EncodeToString([]byte("oh\n"))))
	f.conn.Close()
	s.program.told(`"act":"disconnect"`)
	s.fake.Print(f.command.ID, 1, "end\n")
	s.fake.Exit(f.command.ID, -1, syscall.SIGKILL)
	s.program.told(`"act":"output"`, `"act":"exit","cmd":"NODE_MUSTER","code":null,"id":1,"signal":"SIGKILL"`)
}

// What cannot be started is told with what to do, and nothing follows.
func TestFailed(t *testing.T) {
	s := newStage(t, nil)
	s.program.says(asks(1, `,"serialization":"advanced"`), asks(1, ""))
	s.program.told(`"act":"failed","cmd":"NODE_MUSTER","code":"E-CONFIG"`)
	s.hears("warned E-CONFIG")
	s.program.says(`{"cmd":"MUSTER_FORK","act":"fork","id":2,"argv":7}`, `{"cmd":"MUSTER_FORK","act":"fork","id":3}`)
	s.program.told(`"code":"E-NODE-FRAME","id":2`, `"code":"E-NODE-FRAME","id":3`)
	s.hears("warned E-NODE-FRAME", "warned E-NODE-FRAME")
	s.fake.FailStart(func(process.Command) error { return fmt.Errorf("no: %w", syscall.ENOENT) })
	s.program.says(asks(4, ""))
	s.program.told(`"code":"ENOENT","id":4`)
	s.fake.FailStart(nil)
	s.forks(5, "")
	if n := len(s.facts().Forks.List); n != 1 {
		t.Errorf("%d forks are recorded", n)
	}
}

// Odd frames are told once, and hurt nobody.
func TestOddFrames(t *testing.T) {
	s := newStage(t, nil)
	f := s.forks(1, "")
	s.fake.OnSignal(func(string, syscall.Signal) bool { return true })
	for range 2 {
		s.program.says(`{"cmd":"MUSTER_FORK","act":"dance","id":1}`, `{"cmd":"MUSTER_FORK","act":"kill","id":1,"signal":"SIGWHAT"}`,
			`{"cmd":"MUSTER_FORK","act":"kill","id":7,"signal":9}`, `{"cmd":"NODE_CLUSTER","act":7}`)
	}
	s.hears("warned E-NODE-FRAME", "warned E-NODE-FRAME", "warned E-NODE-FRAME")
	s.program.says(`{"cmd":"MUSTER_FORK","act":"kill","id":1,"signal":"SIGUSR2"}`, `{"cmd":"MUSTER_FORK","act":"kill","id":1,"signal":10}`)
	s.until("both signals", func() bool { return len(s.fake.Signals(f.command.ID)) == 2 })
	if len(s.said) > 0 {
		t.Errorf("heard %q", <-s.said)
	}
}

// The program is ready when every fork listens that it had within ready.for.
func TestReady(t *testing.T) {
	s := newStage(t, func(a *spec.App) { a.Ready.For = spec.Duration(200 * time.Millisecond) })
	a, b := s.forks(1, ""), s.forks(2, "")
	port := freePort(t)
	a.serves(1, port)
	<-time.After(300 * time.Millisecond)
	if len(s.said) > 0 {
		t.Fatalf("heard %q though a fork is not up yet", <-s.said)
	}
	b.serves(2, port)
	s.hears("ready")
	var keys []string
	var state string
	s.do(func() { keys, state = s.a.Servers(), s.a.Node().State })
	if len(keys) != 2 || state != "listening" {
		t.Errorf("%q, %s", keys, state)
	}
}

// A program without forks is ready when it has lived for ready.for, unless its
// predecessor listens.
func TestReadyWithoutForks(t *testing.T) {
	s := newStage(t, nil)
	s.hears("ready")
	s = newStage(t, nil)
	s.do(func() { s.others = true })
	f := s.forks(1, "")
	f.serves(1, freePort(t))
	s.hears("ready")
}

// A stop begins with the forks: no other may begin, and the program is not to have
// those again that go.
func TestStop(t *testing.T) {
	s := newStage(t, nil)
	f := s.forks(1, "")
	f.serves(1, freePort(t))
	s.hears("ready")
	s.do(func() { s.a.Stop(s.app.Stop) })
	s.program.told(`"act":"leaving","cmd":"NODE_MUSTER","id":1`)
	f.gets(`"act":"disconnect"`)
	s.program.says(asks(2, ""))
	s.program.told(`"act":"leaving","cmd":"NODE_MUSTER","id":2`, `"act":"failed","cmd":"NODE_MUSTER","code":"E-NOT-RUNNING","id":2`)
	s.hears("warned E-NOT-RUNNING")
	if n := len(s.fake.Signals(s.program.command.ID)); n != 0 {
		t.Error("the program was asked to end before its forks were gone")
	}
	f.conn.Close()
	s.program.told(`"act":"disconnect"`)
	s.fake.Exit(f.command.ID, 0, 0)
	s.program.told(`"act":"exit"`)
	s.hears("exited") // by the stop signal
	s.do(func() { s.a.Clear(time.Second) })
	s.hears("gone")
}

// The forks of a program that has died are asked to leave, and it is gone after them.
func TestProgramDies(t *testing.T) {
	s := newStage(t, nil)
	f := s.forks(1, "")
	f.serves(1, freePort(t))
	s.hears("ready")
	signals := make(chan syscall.Signal, 16)
	s.fake.OnSignal(func(id string, sig syscall.Signal) bool { // it does not care
		if id == f.command.ID {
			signals <- sig
		}
		return true
	})
	s.fake.Exit(s.program.command.ID, -1, syscall.SIGKILL)
	s.hears("exited")
	s.do(func() { s.a.Clear(300 * time.Millisecond) })
	f.gets(`"act":"disconnect"`)
	s.hears("gone")
	if len(signals) == 0 || <-signals != syscall.SIGTERM {
		t.Error("it was killed without being asked")
	}
	s.until("it is forgotten", func() bool {
		return !slices.ContainsFunc(s.fake.List(), func(p process.Proc) bool { return p.ID == f.command.ID })
	})
}

// A successor goes on: it tells again what the program may not have heard, and what
// has happened meanwhile. A fork that never began is begun when its frame comes again.
func TestAdoption(t *testing.T) {
	s := newStage(t, nil)
	lives, ends := s.forks(1, ""), s.forks(2, "")
	port := freePort(t)
	lives.serves(1, port)
	ends.serves(2, port)
	s.hears("ready")
	was := s.facts()
	s.end()
	was.Forks.Last = 3
	was.Forks.List = append(was.Forks.List, record.Fork{Process: record.Process{ID: "web.0.never", Number: 3, Node: &record.Node{}}})
	s.fake.Exit(ends.command.ID, 4, 0)
	s.begin()
	s.do(func() {
		s.a = attempt.Adopt(s.Context(), s.cfg, was)
		for _, p := range s.fake.List() {
			if p.ID == was.ID {
				s.a.Resume(p, false)
			}
		}
	})
	for range 5 { // forked and online of both, and the exit
		text, _ := s.program.next()
		if strings.Contains(text, `"act":"exit"`) && strings.Contains(text, `"code":4,"id":2`) {
			break
		}
	}
	ends.conn.Close()
	s.program.told(`"act":"disconnect","cmd":"NODE_MUSTER","id":2`)
	lives.says(`{"hello":1}`)
	for text := ""; !strings.Contains(text, `{"hello":1}`); {
		text, _ = s.program.next()
	}
	s.forks(3, "")
	if n := len(s.facts().Forks.List); n != 2 {
		t.Errorf("%d forks are recorded", n)
	}
}

// Facts stay the same pointer while nothing changes, so that nothing is written.
func TestFacts(t *testing.T) {
	s := newStage(t, nil)
	s.forks(1, "")
	var first, again *record.Forks
	s.do(func() { first, again = s.a.Facts().Forks, s.a.Facts().Forks })
	if first != again || first.Last != 1 || len(first.List) != 1 {
		t.Errorf("%+v, %+v", first, again)
	}
	s.forks(2, "")
	if now := s.facts().Forks; now.Last != 2 || len(now.List) != 2 || len(first.List) != 1 {
		t.Errorf("%+v, %+v", now, first)
	}
}
