package primary

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/handoff"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/nodejs"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/spec"
)

// Every Node answers a ping, whatever else is under way, and keeps nothing of it.
func TestPing(t *testing.T) {
	eachNode(t, func(t *testing.T, node string) {
		l := newLab(t, node, spec.BalanceRoundRobin)
		w := l.start(0, serveAny+`; const fs = require('fs');
			const held = () => fs.readdirSync('/proc/self/fd').filter((n) => { try { return fs.readlinkSync('/proc/self/fd/' + n).startsWith('socket:') } catch { return false } }).length;
			process.on('message', (m) => { if (m === 'held') say(held()); else { for (const end = Date.now() + m; Date.now() < end;); } })`)
		port := w.port()
		w.tell(`"held"`)
		held := w.hears()
		w.tell(`100`) // it is blocked while all this is written
		var alive atomic.Int64
		done := make(chan struct{})
		go func() {
			defer close(done)
			ask(t, 10, "tcp", local(port))
		}()
		for range 50 {
			if err := w.link.Ping(func() { alive.Add(1) }); err != nil {
				t.Fatal(err)
			}
		}
		l.until("all pings are answered", func() bool { return alive.Load() == 50 })
		<-done
		l.until("nothing is kept of them", func() bool { w.tell(`"held"`); return w.hears() == held })
		if odd := w.link.Oddities(); len(odd) > 0 {
			t.Errorf("%v", odd)
		}
	})
}

// Sockets travel both ways with messages, and a server whose sockets were sent closes.
func TestSocketsWithMessages(t *testing.T) {
	eachNode(t, func(t *testing.T, node string) {
		l := newLab(t, node, spec.BalanceRoundRobin)
		w := l.start(0, `const s = net.createServer((c) => say({ here: 1 }, c)).listen(0, () => say(s.address().port));
			process.on('message', (m, h) => { if (!h) { s.getConnections((e, n) => { say('has ' + n); s.close(() => say('closed')) }) }
				else if (h instanceof net.Socket) h.end('hello ' + m.n);
				else if (h instanceof net.Server) { say('server ' + (h.address() !== null)); h.close() }
				else { say('dgram ' + (h.address().port > 0)); h.close() } })`)
		conn, err := net.Dial("tcp", local(w.port()))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		w.wants(`{"here":1} with 1 net.Socket`)
		// closed by the lab, which is the receiver
		w.tell(`0`)
		w.wants(`"has 0"`)
		w.wants(`"closed"`)

		near, far := pair(t)
		if err := w.link.User([]byte(`{"n":7}`), far, nodejs.TypeSocket); err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(far)
		if text := read(t, near); text != "hello 7" {
			t.Errorf("%q", text)
		}
		for network, want := range map[string]string{"tcp": `"server true"`, "udp4": `"dgram true"`} {
			f, err := listener.Bind(spec.Listener{Network: network, Address: "127.0.0.1:0"})
			if err != nil {
				t.Fatal(err)
			}
			kind := map[string]string{"tcp": nodejs.TypeServer, "udp4": nodejs.TypeDatagram}[network]
			if err := control(f, func(fd int) error { return w.link.User([]byte(`1`), fd, kind) }); err != nil {
				t.Fatal(err)
			}
			f.Close()
			w.wants(want)
		}
		l.until("all have arrived", func() bool { return len(w.link.Oddities()) == 0 })
	})
}

// pair is a TCP connection in descriptors.
func pair(t *testing.T) (near net.Conn, far int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	other, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	raw, err := other.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { far = dup(t, int(fd)) }); err != nil {
		t.Fatal(err)
	}
	return near, far
}

func read(t *testing.T, conn net.Conn) string {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	var text bytes.Buffer
	if _, err := text.ReadFrom(conn); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// A worker that has no descriptor left says so: its connections go to another.
func TestOutOfDescriptors(t *testing.T) {
	eachNode(t, func(t *testing.T, node string) {
		l := newLab(t, node, spec.BalanceRoundRobin)
		a, b := l.start(0, serveAny), l.start(1, serveAny)
		port := a.port()
		b.port()
		ask(t, 4, "tcp", local(port))
		limit := unix.Rlimit{Cur: 3, Max: 4096}
		if err := unix.Prlimit(a.cmd.Process.Pid, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
			t.Fatal(err)
		}
		if served := ask(t, 20, "tcp", local(port)); served["2"] != 20 {
			t.Errorf("served by %v", served)
		}
		limit.Cur = 4096
		if err := unix.Prlimit(a.cmd.Process.Pid, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
			t.Fatal(err)
		}
		l.until("it takes some again", func() bool { return get(t, "tcp", local(port)) == "1" })
	})
}

// The socket of a server that does not arrive is an error of that server.
func TestListenOutOfDescriptors(t *testing.T) {
	eachNode(t, func(t *testing.T, node string) {
		l := newLab(t, node, spec.BalanceShared)
		port := freePort(t)
		w := l.start(0, `process.on('message', () => { const s = http200([+process.argv[2], () => say('up')]).on('error', (e) => say(e.code)) }); say('here')`, fmt.Sprint(port))
		w.wants(`"here"`)
		limit := unix.Rlimit{Cur: 3, Max: 4096}
		if err := unix.Prlimit(w.cmd.Process.Pid, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
			t.Fatal(err)
		}
		w.tell(`0`)
		w.wants(`"EMFILE"`)
		limit.Cur = 4096
		if err := unix.Prlimit(w.cmd.Process.Pid, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
			t.Fatal(err)
		}
		w.tell(`0`)
		w.wants(`"up"`)
		ask(t, 2, "tcp", local(port))
	})
}

// A successor goes on with the workers, their listeners and their data.
func TestAdopt(t *testing.T) {
	eachNode(t, func(t *testing.T, node string) {
		for _, balance := range balances() {
			t.Run(string(balance), func(t *testing.T) {
				l := newLab(t, node, balance)
				script := serveAny + `; const k = tls.createServer().listen(0, () => say(k.getTicketKeys().toString('hex')));
					process.on('message', () => http.createServer().on('error', (e) => say(e.code)).listen(s.address().port))`
				a, b := l.start(0, script), l.start(1, script)
				port := a.port()
				b.port()
				keys := a.hears()
				b.wants(keys)
				b.tell(`0`) // the successor has to know what it has
				b.wants(`"EADDRINUSE"`)
				ask(t, 4, "tcp", local(port))
				a.saw(fmt.Sprintf("listening  %d 4", port))

				old, loop := l.p, l.loop
				was := []*record.Node{a.facts(), b.facts()}
				asked := l.facts()
				fds := []int{copyOf(t, a), copyOf(t, b)}
				b.link.Ping(func() {}) // whose answer comes to the successor
				a.close()
				b.close()
				old.Close()
				loop.Close()
				next, err := handoff.NewLoop()
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { next.Close() })
				l.loop = next
				var faults []*fault.Fault
				l.do(func() { l.p, faults = Adopt(l.options(balance), asked) })
				if len(faults) > 0 {
					t.Fatal(faults)
				}
				t.Cleanup(func() { l.do(l.p.Release) })
				c, d := l.hear(0, fds[0], was[0]), l.hear(1, fds[1], was[1])
				served := ask(t, 40, "tcp", local(port))
				if served["1"]+served["2"] != 40 || balance != spec.BalanceShared && served["1"]*served["2"] == 0 {
					t.Errorf("served by %v", served)
				}
				d.tell(`0`)
				d.wants(`"EADDRINUSE"`)
				e := l.start(0, script)
				if got := e.port(); got != port {
					t.Errorf("port %d, want %d", got, port)
				}
				e.wants(keys)
				l.do(c.member.Leave)
				_ = a.cmd.Wait() // it must end
				if odd := len(l.warnings(fault.NodeFrame)); odd > 0 {
					t.Errorf("%v", l.warned)
				}
			})
		}
	})
}

// copyOf is a duplicate of a worker's channel, as the Store has it.
func copyOf(t *testing.T, w *worker) (fd int) {
	t.Helper()
	err := w.conn.Lend(func(f *os.File) error {
		return control(f, func(own int) error { fd = dup(t, own); return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// A query that the agent before had recorded, but not answered, is answered.
func TestAdoptUnanswered(t *testing.T) {
	l := newLab(t, "node", spec.BalanceRoundRobin)
	w, theirs := l.mute(0)
	query := `{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"port":0,"addressType":4,"seq":1}`
	write(t, theirs, query)
	first := line(t, theirs)
	was := w.facts()
	fd := copyOf(t, w)
	w.close()
	again := l.hear(0, fd, was)
	write(t, theirs, query)
	for _, prefix := range []string{`{"cmd":"NODE_HANDLE"`, first[:60]} { // the ping comes first
		if got := line(t, theirs); !strings.HasPrefix(got, prefix) {
			t.Errorf("%s, want %s…", got, prefix)
		}
	}
	write(t, theirs, query) // and this one is new
	if got := line(t, theirs); !strings.Contains(got, `"errno":-98`) {
		t.Errorf("%s", got)
	}
	l.do(func() {
		if facts := again.member.Facts(); len(facts.Servers) != 1 || l.p.asked[0].users != 1 {
			t.Errorf("%v, %d users", facts.Servers, l.p.asked[0].users)
		}
	})
}

func write(t *testing.T, fd int, text string, fds ...int) {
	t.Helper()
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	if err := unix.Sendmsg(fd, []byte(text+"\n"), oob, nil, 0); err != nil {
		t.Fatal(err)
	}
}

// line is the next frame at a worker's end; descriptors that come with it are closed.
func line(t *testing.T, fd int) string {
	t.Helper()
	var text []byte
	oob := make([]byte, 256)
	deadline := time.Now().Add(20 * time.Second)
	for {
		one := make([]byte, 1)
		n, oobn, _, _, err := unix.Recvmsg(fd, one, oob, unix.MSG_CMSG_CLOEXEC)
		switch {
		case err == unix.EAGAIN && time.Now().Before(deadline):
			fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			_, _ = unix.Poll(fds, 100) // the next try says it
			continue
		case err != nil || n == 0:
			t.Fatalf("after %q: %d, %v", text, n, err)
		}
		if messages, err := unix.ParseSocketControlMessage(oob[:oobn]); err == nil {
			for _, m := range messages {
				rights, _ := unix.ParseUnixRights(&m)
				closeAll(rights)
			}
		}
		if one[0] == '\n' {
			return string(text)
		}
		text = append(text, one[0])
	}
}

// What cannot be meant is told once, and harms nobody.
func TestOddFrames(t *testing.T) {
	l := newLab(t, "node", spec.BalanceRoundRobin)
	good := l.start(1, serveAny)
	port := good.port()
	w, theirs := l.mute(0)
	for range 3 {
		write(t, theirs, `{"cmd":"NODE_HANDLE_ACK"}`)
		write(t, theirs, `{"cmd":"NODE_CLUSTER","ack":77,"accepted":true,"seq":3}`)
		write(t, theirs, `{"cmd":"NODE_CLUSTER","act":"close","key":"K","seq":3}`)
		write(t, theirs, `{"cmd":"NODE_CLUSTER","act":"dance","seq":3}`)
		write(t, theirs, `{"cmd":"NODE_CLUSTER","act":"listening","port":1,"addressType":4,"seq":3}`)
		write(t, theirs, `{"cmd":"NODE_HANDLE","type":"net.Socket","msg":"lost"}`)
		if got := line(t, theirs); got != `{"cmd":"NODE_HANDLE_NACK"}` {
			t.Errorf("%s", got)
		}
		w.wants(`"lost" with 0 net.Socket`)
	}
	// A descriptor that nothing was said about.
	write(t, theirs, `{"cmd":"NODE_CLUSTER","act":"online","seq":0}`, theirs)
	for name, query := range map[string]string{
		"-22": `"port":70000,"addressType":4`, "-22 ": `"port":1,"addressType":"ipx"`, " -22": `"address":"no ip","port":1,"addressType":4`,
		"-22  ": `"fd":3,"addressType":null`, "  -22": `"address":null,"port":-1,"addressType":-1`,
	} {
		write(t, theirs, `{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,`+query+`,"seq":5}`)
		if got := line(t, theirs); !strings.Contains(got, `"errno":`+strings.TrimSpace(name)+`,`) || !strings.Contains(got, `"ack":5`) {
			t.Errorf("%s: %s", query, got)
		}
	}
	write(t, theirs, `{"cmd":"NODE_CLUSTER","act":"queryServer","index":{}}`)
	if text := w.hears(); !strings.Contains(text, "no seq") {
		t.Errorf("%s", text)
	}
	if told := l.warnings(fault.NodeFrame); len(told) != 6 {
		t.Errorf("%d: %q", len(told), told)
	}
	if served := ask(t, 4, "tcp", local(port)); served["2"] != 4 {
		t.Errorf("served by %v", served)
	}
}

// A connection that a worker was given, and that it did not acknowledge before it died,
// is served by another.
func TestUnansweredGoesToAnother(t *testing.T) {
	l := newLab(t, "node", spec.BalanceRoundRobin)
	w, theirs := l.mute(0)
	write(t, theirs, `{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"port":0,"addressType":4,"seq":1}`)
	line(t, theirs)
	if len(w.facts().Servers) != 1 {
		t.Error("it has no server")
	}
	good := l.start(1, serveAny)
	port := good.port()
	answers := make(chan string, 4)
	for range 4 {
		go func() { answers <- get(t, "tcp", local(port)) }()
	}
	if got := line(t, theirs); !strings.Contains(got, `"newconn"`) {
		t.Errorf("%s", got)
	}
	w.close()
	for range 4 {
		if who := <-answers; who != "2" {
			t.Errorf("%s answers", who)
		}
	}
}

// Slots come and go with the size of the pool.
func TestResize(t *testing.T) {
	l := newLab(t, "node", spec.BalanceSlots)
	a, b := l.start(0, serveAny), l.start(1, serveAny)
	port := a.port()
	b.port()
	l.do(func() { l.p.Resize(4) })
	c := l.start(3, serveAny)
	c.port()
	sockets := func() int { return len(l.store.List()) }
	l.do(func() {
		if sockets() != 4 || len(l.p.Inodes()) != 4 || l.p.Facts()[0].Listener.Slots != 4 {
			t.Errorf("%q, %v, %+v", l.store.List(), l.p.Inodes(), l.p.Facts())
		}
	})
	served := map[string]int{}
	l.until("all three serve", func() bool { served[get(t, "tcp", local(port))]++; return len(served) == 3 })
	for _, w := range []*worker{c, b} {
		l.do(w.member.Leave)
		w.exit()
	}
	l.do(func() { l.p.Resize(1) })
	if served := ask(t, 20, "tcp", local(port)); served["1"] != 20 || sockets() != 1 {
		t.Errorf("served by %v, %q", served, l.store.List())
	}
}

// Without a loop there is but the shared socket.
func TestNoLoop(t *testing.T) {
	l := newLab(t, "node", spec.BalanceRoundRobin)
	l.do(func() { l.p.o.Loop = nil })
	a := l.start(0, serveAny)
	port := a.port()
	if who := get(t, "tcp", local(port)); who != "1" {
		t.Errorf("%s answers", who)
	}
	l.until("it is shared", func() (ok bool) {
		l.do(func() { ok = strings.Contains(strings.Join(a.member.Listening(), " "), "(shared)") })
		return ok
	})
}

// What the Store has, but no record names, was never told to anybody.
func TestAdoptDropsTheRest(t *testing.T) {
	l := newLab(t, "node", spec.BalanceShared)
	file := filepath.Join(t.TempDir(), "s")
	for _, a := range []listener.Asked{{Kind: "unix", Address: file}, {Kind: "4"}} {
		if _, err := l.p.bind("K", a, 0); err != nil {
			t.Fatal(err)
		}
	}
	lost := record.Asked{Key: ":1:4", Listener: record.Listener{Spec: spec.Listener{Network: "tcp", Address: ":1"}}}
	tls := record.Asked{Key: "tcp://:443", Data: []byte(`{"a":1}`), Listener: record.Listener{Spec: spec.Listener{Network: "tcp", Address: ":443"}}}
	p, faults := Adopt(l.options(spec.BalanceShared), []record.Asked{lost, tls})
	if len(faults) != 1 || faults[0].Code != fault.Bind || len(l.store.List()) != 0 {
		t.Errorf("%v, left %q", faults, l.store.List())
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the socket's file is left")
	}
	p.Offer([]Offered{{Spec: tls.Listener.Spec}})
	if facts := p.Facts(); len(facts) != 1 || string(facts[0].Data) != `{"a":1}` {
		t.Errorf("%+v", facts)
	}
	f, err := listener.Bind(spec.Listener{Network: "tcp", Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, name := range []string{"asked/api/tcp://:1", "asked/web/tcp://:1", "listen/api/tcp://:1"} {
		if err := l.store.Put(name, f); err != nil {
			t.Fatal(err)
		}
	}
	Forget(l.store, func(app string) bool { return app == "api" })
	if names := l.store.List(); len(names) != 2 {
		t.Errorf("%q", names)
	}
	for _, name := range l.store.List() {
		drop(l.store, name)
	}
}
