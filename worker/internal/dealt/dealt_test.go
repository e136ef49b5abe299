package dealt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"reflect"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/internal/nodejs"
)

func declared(t *testing.T, m *Member, index int) *Listener {
	t.Helper()
	l, err := m.Declared(index, at(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// Nothing is said before the program accepts; then it is asked for, and listens.
func TestDeclared(t *testing.T) {
	m, p := joined(t, Options{}, nil)
	l := declared(t, m, 1)
	if l.Addr().String() != "127.0.0.1:8000" {
		t.Error(l.Addr())
	}
	p.quiet()
	next := accepting(l)
	p.hears(nodejs.Online)
	if q := p.hears(nodejs.QueryServer).Query; q.FD != 4 || q.Port != 8000 || q.Type != "4" || q.Address != "127.0.0.1" {
		t.Errorf("%+v", q)
	}
	if q := p.hears(nodejs.Listening).Query; q.FD != 4 || q.Port != 8000 {
		t.Errorf("%+v", q)
	}
	client, taken := p.deal("K")
	g := result(t, next)
	if _, ok := g.conn.(*net.TCPConn); !ok || g.err != nil || !yes(t, taken) {
		t.Fatalf("%T %v", g.conn, g.err)
	}
	says(t, client, g.conn)
	if g.conn.RemoteAddr().String() != client.LocalAddr().String() {
		t.Error(g.conn.RemoteAddr())
	}
	if _, err := m.Declared(1, at(), nil); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("twice: %v", err)
	}
}

// A connection is the program's when it accepts, not before: what it has not accepted
// when it closes the listener goes to others, and so does what comes later.
func TestNotAcceptedIsRefused(t *testing.T) {
	m, p := joined(t, Options{}, nil)
	l := declared(t, m, 0)
	next := accepting(l)
	p.hears(nodejs.Listening)
	_, first := p.deal("K")
	if g := result(t, next); g.err != nil || !yes(t, first) {
		t.Fatal(g.err)
	}
	_, second := p.deal("K")
	_, third := p.deal("K")
	p.ping()
	select {
	case <-second:
		t.Error("an offer was answered before anybody accepted")
	case <-third:
		t.Error("an offer was answered before anybody accepted")
	default:
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if yes(t, second) || yes(t, third) {
		t.Error("accepted by nobody")
	}
	if msg := p.hears(nodejs.Close); msg.Key != "K" {
		t.Errorf("%+v", msg)
	}
	_, late := p.deal("K")
	if yes(t, late) {
		t.Error("accepted by a closed listener")
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if _, err := m.Declared(0, at(), nil); err != nil {
		t.Errorf("again: %v", err)
	}
}

// Many accept at the same time; each connection is taken once.
func TestManyAccept(t *testing.T) {
	m, p := joined(t, Options{}, nil)
	l := declared(t, m, 0)
	const n = 40
	var accepted sync.Map
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				accepted.Store(conn.RemoteAddr().String()+conn.LocalAddr().String(), true)
				_ = conn.Close()
			}
		})
	}
	p.hears(nodejs.Listening)
	var answers []<-chan bool
	var clients []string
	for range n {
		client, taken := p.deal("K")
		answers, clients = append(answers, taken), append(clients, client.LocalAddr().String()+client.RemoteAddr().String())
	}
	for i, c := range answers {
		if !yes(t, c) {
			t.Error("refused")
		}
		if _, ok := accepted.LoadAndDelete(clients[i]); !ok {
			// The answer leaves before Accept returns.
			eventually(t, func() bool { _, ok := accepted.LoadAndDelete(clients[i]); return ok })
		}
	}
	_ = l.Close()
	all.Wait()
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
	}
}

// shared and slots: the socket itself comes, and connections from both sides.
func TestOwnSocket(t *testing.T) {
	real, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer real.Close()
	fd := copyOf(t, real.(*net.TCPListener))
	defer unix.Close(fd)
	m, p := joined(t, Options{}, func(nodejs.Message) nodejs.Answer { return nodejs.Answer{Key: "K", Hand: true, FD: fd} })
	l := declared(t, m, 0)
	next := accepting(l)
	p.hears(nodejs.Listening)
	for i := range 20 {
		if i%2 == 0 {
			_, taken := p.deal("K")
			if g := result(t, next); g.err != nil || !yes(t, taken) {
				t.Fatal(g.err)
			}
		} else {
			client, err := net.Dial("tcp4", real.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			g := result(t, next)
			if g.err != nil {
				t.Fatal(g.err)
			}
			says(t, client, g.conn)
		}
		next = accepting(l)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if g := result(t, next); !errors.Is(g.err, net.ErrClosed) {
		t.Error(g.err)
	}
	// muster's own stays.
	if client, err := net.Dial("tcp4", real.Addr().String()); err != nil {
		t.Error(err)
	} else {
		_ = client.Close()
	}
}

// What is not declared is bound by muster.
func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	for _, tt := range []struct {
		network, address string
		q                nodejs.Query
	}{
		{"tcp", ":8000", nodejs.Query{Port: 8000, Type: "4"}},
		{"tcp4", ":8000", nodejs.Query{Port: 8000, Type: "4", Address: "0.0.0.0"}},
		{"tcp6", ":8000", nodejs.Query{Port: 8000, Type: "6", Address: "::", Flags: 1}},
		{"tcp", "127.0.0.1:0", nodejs.Query{Type: "4", Address: "127.0.0.1"}},
		{"tcp", "[::1]:http", nodejs.Query{Port: 80, Type: "6", Address: "::1"}},
		{"unix", path, nodejs.Query{Port: -1, Type: "-1", Address: path}},
	} {
		m, p := joined(t, Options{Online: true}, func(q nodejs.Message) nodejs.Answer {
			a := nodejs.Answer{Key: "K"}
			if q.Query.Port >= 0 {
				a.Sockname = &nodejs.Sockname{Address: "127.0.0.1", Family: "IPv4", Port: max(q.Query.Port, 7)}
			}
			return a
		})
		p.hears(nodejs.Online)
		l, err := m.Listen(t.Context(), tt.network, tt.address)
		if err != nil {
			t.Errorf("%+v: %v", tt, err)
			continue
		}
		got := p.hears(nodejs.QueryServer).Query
		tt.q.FD = -1
		if got.Address != tt.q.Address || got.Port != tt.q.Port || got.Type != tt.q.Type || got.Flags != tt.q.Flags || got.FD != -1 {
			t.Errorf("%+v asked for %+v", tt, got)
		}
		next := accepting(l)
		if q := p.hears(nodejs.Listening).Query; q.Port != tt.q.Port && q.Port != 7 {
			t.Errorf("listens on %+v", q)
		}
		_, taken := p.deal("K")
		if g := result(t, next); g.err != nil || !yes(t, taken) {
			t.Error(g.err)
		}
		_ = l.Close()
	}
}

func TestListenFails(t *testing.T) {
	m, p := joined(t, Options{}, func(nodejs.Message) nodejs.Answer { return nodejs.Answer{Key: "K", Errno: int(unix.EADDRINUSE)} })
	var op *net.OpError
	if _, err := m.Listen(t.Context(), "tcp", ":1"); !errors.Is(err, syscall.EADDRINUSE) || !errors.As(err, &op) || op.Op != "listen" {
		t.Error(err)
	}
	for _, bad := range [][2]string{{"udp", ":1"}, {"tcp", "1"}, {"tcp", ":no-such-port"}, {"tcp", "300.1.1.1:1"}} {
		if _, err := m.Listen(t.Context(), bad[0], bad[1]); !errors.As(err, &op) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	l := declared(t, m, 0)
	if _, err := l.Accept(); !errors.Is(err, syscall.EADDRINUSE) {
		t.Error(err)
	}
	p.ping() // it lives on
}

// Whoever does not wait any more leaves nothing behind, also when the answer comes later.
func TestListenGivesUp(t *testing.T) {
	first := make(chan nodejs.Message, 1)
	m, p := joined(t, Options{}, func(q nodejs.Message) nodejs.Answer { first <- q; return nodejs.Answer{} })
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { <-p.said; <-p.said; cancel(why) }()
	if _, err := m.Listen(ctx, "tcp", ":8000"); !errors.Is(err, why) {
		t.Error(err)
	}
	q := <-first
	if err := p.link.Answer(nodejs.Answer{Seq: q.Seq, Key: "K"}); err != nil {
		t.Error(err)
	}
	if msg := p.hears(nodejs.Close); msg.Key != "K" {
		t.Errorf("%+v", msg)
	}
}

// The order to leave is told once; what was offered before it may still be accepted.
func TestDisconnect(t *testing.T) {
	told := make(chan struct{}, 9)
	m, p := joined(t, Options{Disconnect: func() { told <- struct{}{} }}, nil)
	l := declared(t, m, 0)
	next := accepting(l)
	p.hears(nodejs.Listening)
	_, taken := p.deal("K")
	for range 2 {
		if err := p.link.Disconnect(); err != nil {
			t.Fatal(err)
		}
	}
	p.ping()
	if len(told) != 1 {
		t.Errorf("told %d times", len(told))
	}
	if g := result(t, next); g.err != nil || !yes(t, taken) {
		t.Error(g.err)
	}
	m.Leave()
	p.quiet()
	next = accepting(l)
	p.ping()
	select {
	case g := <-next:
		t.Errorf("Accept ended: %v", g.err)
	default:
	}
	_ = l.Close()
	if g := result(t, next); !errors.Is(g.err, net.ErrClosed) {
		t.Error(g.err)
	}
}

// A worker that ends by its own wish says so, once.
func TestLeave(t *testing.T) {
	m, p := joined(t, Options{Online: true}, nil)
	p.hears(nodejs.Online)
	m.Leave()
	msg := p.hears(nodejs.ExitedAfterDisconnect)
	if err := p.link.Acknowledge(msg.Seq); err != nil {
		t.Error(err)
	}
	m.Leave()
	p.quiet()
}

// The end of the channel ends what depends on it; a declared listener goes on alone.
func TestEnd(t *testing.T) {
	own, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	m, p := joined(t, Options{}, nil)
	dealt := declared(t, m, 0)
	alone, err := m.Declared(1, own.Addr(), func() (net.Listener, error) {
		f, err := own.(*net.TCPListener).File()
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return net.FileListener(f)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	one, two, three := accepting(dealt), accepting(alone), accepting(alone)
	p.hears(nodejs.Listening)
	p.hears(nodejs.Listening)
	_ = p.conn.Close()
	if g := result(t, one); !errors.Is(g.err, errEnded) {
		t.Error(g.err)
	}
	for _, next := range []<-chan got{two, three} {
		client, err := net.Dial("tcp4", own.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		select {
		case g := <-next:
			if g.err != nil {
				t.Fatal(g.err)
			}
			_ = g.conn.Close()
		case g := <-three:
			if g.err != nil {
				t.Fatal(g.err)
			}
			_ = g.conn.Close()
			three = two
		case <-time.After(patience):
			t.Fatal("nobody accepts")
		}
	}
	if _, err := m.Listen(t.Context(), "tcp", ":1"); !errors.Is(err, errEnded) {
		t.Error(err)
	}
	m.Leave()
	m.End(nil)
}

// What was offered and not accepted when the channel ends is dropped: it may be another
// worker's already.
func TestEndDropsOffers(t *testing.T) {
	m, p := joined(t, Options{}, nil)
	l := declared(t, m, 0)
	next := accepting(l)
	p.hears(nodejs.Listening)
	_, first := p.deal("K")
	result(t, next)
	yes(t, first)
	client, _ := p.deal("K")
	p.ping()
	_ = p.conn.Close()
	if _, err := l.Accept(); !errors.Is(err, errEnded) {
		t.Error(err)
	}
	_ = client.SetReadDeadline(time.Now().Add(patience))
	if _, err := client.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("still open: %v", err)
	}
}

// Odd frames are survived, descriptors of user code are acknowledged and closed.
func TestHearOddFrames(t *testing.T) {
	var sent [][]byte
	m := Join(Options{Send: func(b []byte) error { sent = append(sent, bytes.Clone(b)); return nil }})
	for _, frame := range []string{`{"cmd":"MUSTER_OP"}`, `{"cmd":"NODE_MUSTER_OP","op":"x"}`, `"hello"`, `[1]`, ``} {
		if m.Hear([]byte(frame), nil, false) {
			t.Errorf("%s is not ours", frame)
		}
	}
	for _, frame := range []string{
		`{"cmd":"NODE_CLUSTER"}`, `{"cmd":"NODE_CLUSTER","ack":7}`, `{"cmd":"NODE_CLUSTER","ack":"x"}`, `{"cmd":"NODE_HANDLE_ACK"}`,
		`{"cmd":"NODE_CLUSTER","act":"new"}`, `{"cmd":"NODE_X","act":"disconnect"}`,
	} {
		if !m.Hear([]byte(frame), nil, false) {
			t.Errorf("%s is ours", frame)
		}
	}
	if len(sent) != 0 {
		t.Errorf("%q", sent)
	}
	for frame, want := range map[string][]string{
		`{"cmd":"NODE_HANDLE","type":"net.Socket","msg":"text"}`:                                                   {frameAck},
		`{"cmd":"NODE_HANDLE","type":"net.Socket","msg":{"ack":1,"act":"newconn"}}`:                                {frameAck},
		`{"cmd":"NODE_HANDLE","type":"net.Native","msg":{"cmd":"NODE_CLUSTER","act":"newconn","key":"?","seq":9}}`: {frameAck, `{"cmd":"NODE_CLUSTER","ack":9,"accepted":false,"seq":0}`},
		`{"cmd":"NODE_HANDLE","type":"net.Native","msg":{"cmd":"NODE_CLUSTER","ack":3,"key":"K","errno":0}}`:       {frameAck},
	} {
		sent = nil
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		m.Hear([]byte(frame), fds[:], false)
		for _, fd := range fds {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
				t.Errorf("%s: %d is still open", frame, fd)
				_ = unix.Close(fd)
			}
		}
		if fmt.Sprintf("%s", sent) != fmt.Sprintf("%s", want) {
			t.Errorf("%s: %s", frame, sent)
		}
		sent = nil
		if m.Hear([]byte(frame), nil, true); fmt.Sprintf("%s", sent[:1]) != "["+frameNack+"]" {
			t.Errorf("%s without its descriptor: %s", frame, sent)
		}
		m.mu.Lock()
		m.seq = 0
		m.mu.Unlock()
	}
}

func FuzzHear(f *testing.F) {
	f.Add([]byte(`{"cmd":"NODE_HANDLE","type":"net.Native","msg":{"cmd":"NODE_CLUSTER","act":"newconn","key":"K","seq":2}}`))
	f.Add([]byte(`{"cmd":"NODE_CLUSTER","errno":0,"key":"K","ack":1,"sockname":{"address":"::","family":"IPv6","port":8000},"seq":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := Join(Options{Send: func([]byte) error { return nil }})
		m.Hear(data, nil, false)
		if quick, ok := readNewconn(data); ok {
			if slow, handle := parse(data); json.Valid(data) && (!handle || !reflect.DeepEqual(quick, slow)) {
				t.Errorf("%s: %+v, %+v", data, quick, slow)
			}
		}
	})
}

// The count of open connections follows what the program closes, whichever way.
func TestCount(t *testing.T) {
	m, p := joined(t, Options{Count: true}, nil)
	l := declared(t, m, 0)
	var open []net.Conn
	for i := range 3 {
		next := accepting(l)
		if i == 0 {
			p.hears(nodejs.Listening)
		}
		_, taken := p.deal("K")
		g := result(t, next)
		if g.err != nil || !yes(t, taken) {
			t.Fatal(g.err)
		}
		open = append(open, g.conn)
	}
	p.counts(3)
	_ = open[0].Close()
	p.counts(2)
	_, _ = open[1].Close(), open[2].Close()
	p.counts(0)
	next := accepting(l)
	p.deal("K")
	result(t, next)
	p.counts(1)
	m.End(nil)
}

// counts waits until so many were told.
func (p *muster) counts(want int) {
	p.t.Helper()
	late := time.After(patience)
	for last := -1; ; {
		select {
		case last = <-p.open:
			if last == want {
				return
			}
		case <-late:
			p.t.Fatalf("%d connections are told, not %d", last, want)
		}
	}
}

// BenchmarkAccept: what a connection costs here beside its own two ends.
func BenchmarkAccept(b *testing.B) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer closeAll(fds[:])
	m := Join(Options{Send: func([]byte) error { return nil }})
	l, err := m.Declared(0, at(), nil)
	if err != nil {
		b.Fatal(err)
	}
	l.asked, l.listens, l.key = true, true, "K"
	m.servers["K"] = l
	frame := []byte(`{"cmd":"NODE_HANDLE","type":"net.Native","msg":{"cmd":"NODE_CLUSTER","act":"newconn","key":"K","seq":12345}}`)
	b.ReportAllocs()
	for b.Loop() {
		fd, err := unix.FcntlInt(uintptr(fds[0]), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			b.Fatal(err)
		}
		m.Hear(frame, []int{fd}, false)
		conn, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		_ = conn.Close()
	}
}
