package dealt

import (
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/nodejs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// muster is a stand-in for the agent: the real codec of its side over a real channel.
type muster struct {
	t    *testing.T
	conn *channel.Conn
	link *nodejs.Link
	seq  atomic.Int64
	said chan nodejs.Message // all but acknowledgements and answers to offers
	open chan int            // MUSTER_CONNECTIONS
	// reply answers a queryServer; nil: by muster's dealing.
	reply func(nodejs.Message) nodejs.Answer
}

// joined is a Member that a muster hears.
func joined(t *testing.T, o Options, reply func(nodejs.Message) nodejs.Answer) (*Member, *muster) {
	t.Helper()
	ours, theirs, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	p := &muster{
		t: t, conn: channel.Open(ours, channel.Options{}), said: make(chan nodejs.Message, 100), open: make(chan int, 1000), reply: reply,
	}
	p.link = nodejs.NewLink(p.conn.Send, func() int64 { return p.seq.Add(1) })
	own := channel.Open(theirs, channel.Options{})
	o.Send = func(frame []byte) error { return own.Send(frame) }
	m := Join(o)
	ctx, cancel := context.WithCancel(context.Background())
	heard, told := make(chan struct{}), make(chan struct{})
	go func() { defer close(heard); m.listenTo(ctx, own) }()
	go func() { defer close(told); p.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		_, _ = own.Close(), p.conn.Close()
		<-heard
		<-told
	})
	return m, p
}

// listenTo is what the worker's wire does.
func (m *Member) listenTo(ctx context.Context, conn *channel.Conn) {
	for {
		f, err := conn.Receive(ctx)
		if err != nil {
			m.End(errEnded)
			return
		}
		if !m.Hear(f.Data, f.FDs, f.Truncated) {
			closeAll(f.FDs)
		}
	}
}

var errEnded = errors.New("the test has ended the channel")

func (p *muster) run(ctx context.Context) {
	for {
		f, err := p.conn.Receive(ctx)
		if err != nil {
			return
		}
		if n, ok := nodejs.Connections(f.Data); ok {
			p.open <- n
			continue
		}
		if p.link.First(f.Data) {
			continue
		}
		msg, err := nodejs.Parse(f.Data)
		if err != nil {
			p.t.Errorf("%s: %v", f.Data, err)
			return
		}
		if p.link.Heard(msg) {
			continue
		}
		if msg.Kind == nodejs.QueryServer {
			if a, ok := p.answer(msg); ok {
				_ = p.link.Answer(a)
			}
		}
		p.said <- msg
	}
}

// answer is what is answered; ok is false where it is nothing.
func (p *muster) answer(msg nodejs.Message) (a nodejs.Answer, ok bool) {
	if p.reply == nil {
		return nodejs.Answer{Seq: msg.Seq, Key: "K", Sockname: &nodejs.Sockname{Address: "127.0.0.1", Family: "IPv4", Port: 8000}}, true
	}
	a = p.reply(msg)
	a.Seq = msg.Seq
	return a, a.Key != ""
}

// hears waits for the next message of a kind, others before it are left out.
func (p *muster) hears(kind nodejs.Kind) nodejs.Message {
	p.t.Helper()
	late := time.After(patience)
	for {
		select {
		case msg := <-p.said:
			if msg.Kind == kind {
				return msg
			}
		case <-late:
			p.t.Fatalf("no %s came", kind)
		}
	}
}

// quiet says that nothing was said so far: what the worker says next comes after a ping.
func (p *muster) quiet() {
	p.t.Helper()
	p.ping()
	select {
	case msg := <-p.said:
		p.t.Errorf("it said %s", msg.Kind)
	default:
	}
}

// ping waits until the worker has heard all that was sent.
func (p *muster) ping() {
	p.t.Helper()
	alive := make(chan struct{})
	if err := p.link.Ping(func() { close(alive) }); err != nil {
		p.t.Fatal(err)
	}
	p.await("a sign of life", alive)
}

func (p *muster) await(what string, c <-chan struct{}) {
	p.t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		p.t.Fatalf("waited in vain for %s", what)
	}
}

// deal offers a connection; what came of it is told once.
func (p *muster) deal(key string) (client net.Conn, taken <-chan bool) {
	p.t.Helper()
	client, fd := connection(p.t)
	answered := make(chan bool, 2)
	err := p.link.NewConn(key, p.seq.Add(1), fd, func(_ int64, yes bool) { answered <- yes })
	_ = unix.Close(fd)
	if err != nil {
		p.t.Fatal(err)
	}
	return client, answered
}

// connection is a client's end, and the descriptor of the one that was accepted.
func connection(t *testing.T) (client net.Conn, accepted int) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return client, copyOf(t, conn.(*net.TCPConn))
}

func copyOf(t *testing.T, file interface{ File() (*os.File, error) }) int {
	t.Helper()
	f, err := file.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// got is a result of Accept.
type got struct {
	conn net.Conn
	err  error
}

// accepting calls Accept in a goroutine.
func accepting(l net.Listener) <-chan got {
	c := make(chan got, 1)
	go func() {
		conn, err := l.Accept()
		c <- got{conn, err}
	}()
	return c
}

// result waits for it; its connection is closed with the test.
func result(t *testing.T, c <-chan got) got {
	t.Helper()
	select {
	case g := <-c:
		if g.conn != nil {
			t.Cleanup(func() { _ = g.conn.Close() })
		}
		return g
	case <-time.After(patience):
		t.Fatal("Accept does not return")
		return got{}
	}
}

func yes(t *testing.T, taken <-chan bool) bool {
	t.Helper()
	select {
	case v := <-taken:
		return v
	case <-time.After(patience):
		t.Fatal("an offer was not answered")
		return false
	}
}

// says checks that a connection of the worker is that of a client.
func says(t *testing.T, client, conn net.Conn) {
	t.Helper()
	if _, err := client.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if n, err := conn.Read(make([]byte, 9)); n != 1 || err != nil {
		t.Error(n, err)
	}
}

// at is the address of most tests' listener.
func at() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8000} }
