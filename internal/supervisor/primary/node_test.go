package primary

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/handoff"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/spec"
)

const serveAny = `const s = http200([+process.argv[2] || 0, () => say(s.address().port)])`

// Two workers serve one port, and leave it politely.
func TestHTTP(t *testing.T) {
	eachNode(t, func(t *testing.T, node string) {
		for _, balance := range balances() {
			t.Run(string(balance), func(t *testing.T) {
				l := newLab(t, node, balance)
				a, b := l.start(0, serveAny), l.start(1, serveAny)
				port := a.port()
				if other := b.port(); other != port || port == 0 {
					t.Fatalf("ports %d and %d", port, other)
				}
				for _, w := range []*worker{a, b} {
					w.saw(fmt.Sprintf("listening  %d 4", port))
				}
				served := ask(t, 40, "tcp", local(port))
				if served["1"]+served["2"] != 40 || balance != spec.BalanceShared && (served["1"] == 0 || served["2"] == 0) {
					t.Errorf("served by %v", served)
				}
				if balance == spec.BalanceRoundRobin {
					l.until("each has taken half", func() bool { return a.member.Dealt() == 20 && b.member.Dealt() == 20 })
				}
				want := fmt.Sprintf("tcp://:%d (%s)", port, balance)
				l.do(func() {
					if list := a.member.Listening(); !slices.Equal(list, []string{want}) {
						t.Errorf("%q", list)
					}
					if facts := a.member.Facts(); !facts.Online || !facts.Servers[":0:4:0"] || facts.Left || facts.Gone {
						t.Errorf("%+v", facts)
					}
				})
				l.do(a.member.Leave)
				if code := a.exit(); code != 0 || !a.facts().Left {
					t.Errorf("exit code %d", code)
				}
				if served := ask(t, 10, "tcp", local(port)); served["2"] != 10 {
					t.Errorf("served by %v", served)
				}
				b.kill()
				l.until("its end", func() bool { return l.members() == 0 })
				l.do(func() {
					if len(l.p.asked) != 1 {
						t.Error("the listener has gone with its workers")
					}
				})
			})
		}
	})
}

// Servers of port 0 are told apart by their order, which is the same everywhere.
func TestFreePorts(t *testing.T) {
	eachNode(t, func(t *testing.T, node string) {
		l := newLab(t, node, spec.BalanceSlots)
		script := `const a = http200([0, () => { say(a.address().port); const b = http200([0, () => say(b.address().port)]) }])`
		a, b := l.start(0, script), l.start(1, script)
		first, second := a.port(), a.port()
		if one, two := b.port(), b.port(); one != first || two != second || first == second {
			t.Errorf("%d %d and %d %d", first, second, one, two)
		}
	})
}

func TestUnixSocket(t *testing.T) {
	eachNode(t, func(t *testing.T, node string) {
		for _, balance := range []spec.Balance{spec.BalanceShared, spec.BalanceRoundRobin} {
			l := newLab(t, node, balance)
			file := filepath.Join(t.TempDir(), "s")
			w := l.start(0, `const s = http200([{path: process.argv[2], writableAll: true}, () => say(s.address())])`, file)
			w.wants(strconv.Quote(file))
			if who := get(t, "unix", file); who != "1" {
				t.Errorf("%s answers", who)
			}
			if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o622 {
				t.Errorf("%v %v", info, err)
			}
			w.saw("listening " + file + " -1 -1")
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			l.do(l.p.Restore)
			if who := get(t, "unix", file); who != "1" {
				t.Errorf("%s answers", who)
			}
			w.kill()
			l.do(l.p.Release)
			if _, err := os.Stat(file); err == nil {
				t.Error("the file is left")
			}
		}
	})
}

// A bind error reaches the worker, and the next attempt tries afresh.
func TestAddressInUse(t *testing.T) {
	eachNode(t, func(t *testing.T, node string) {
		for _, balance := range balances() {
			l := newLab(t, node, balance)
			port, release := hold(t)
			w := l.start(0, `
				const s = http.createServer(), port = +process.argv[2];
				s.on('error', (e) => say(e.code + ' ' + e.syscall + ' ' + e.port));
				s.on('listening', () => say('listening'));
				s.listen(port);
				process.on('message', () => s.listen(port))`, strconv.Itoa(port))
			w.wants(fmt.Sprintf(`"EADDRINUSE bind %d"`, port))
			if len(l.warnings(fault.PortInUse)) != 1 {
				t.Errorf("%v", l.warned)
			}
			release()
			w.tell(`1`)
			w.wants(`"listening"`)
		}
	})
}

// What another app of the project has is said to be that app's.
func TestAnotherAppsPort(t *testing.T) {
	l := newLab(t, "node", spec.BalanceShared)
	port, _ := hold(t)
	for _, name := range []string{"asked/api/tcp://:" + strconv.Itoa(port), "listen/api/tcp://127.0.0.1:" + strconv.Itoa(port) + "#1"} {
		f := os.NewFile(uintptr(dup(t, 2)), "")
		if err := l.store.Put(name, f); err != nil {
			t.Fatal(err)
		}
		f.Close()
		_, err := l.p.bind("K", listener.Asked{Kind: "4", Port: port}, 0)
		if f := fault.From(err); f.Code != fault.PortInUse || !strings.Contains(f.Fix, "the app api has it") {
			t.Errorf("%v %s", f, f.Fix)
		}
		if f, _ := l.store.Take(name); f != nil {
			f.Close()
		}
	}
}

func dup(t *testing.T, fd int) int {
	t.Helper()
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// One worker cannot have an address twice.
func TestTwiceInOneWorker(t *testing.T) {
	eachNode(t, func(t *testing.T, node string) {
		for _, balance := range balances() {
			l := newLab(t, node, balance)
			port := freePort(t)
			script := `const a = http200([+process.argv[2], () => {
				http200([+process.argv[2]]).on('error', (e) => say(e.code)) }])`
			a, b := l.start(0, script, strconv.Itoa(port)), l.start(1, script, strconv.Itoa(port))
			a.wants(`"EADDRINUSE"`)
			b.wants(`"EADDRINUSE"`)
			ask(t, 4, "tcp", local(port))
		}
	})
}

// The ticket keys of the first TLS server are those of all, also of the workers to come.
func TestTicketKeys(t *testing.T) {
	eachNode(t, func(t *testing.T, node string) {
		for _, balance := range balances() {
			l := newLab(t, node, balance)
			script := `const s = tls.createServer().listen(0, () => say(s.getTicketKeys().toString('hex')))`
			a := l.start(0, script)
			keys := a.hears()
			b := l.start(1, script)
			b.wants(keys)
			a.kill()
			b.kill()
			l.until("both are gone", func() bool { return l.members() == 0 })
			c := l.start(0, script)
			c.wants(keys)
		}
	})
}

func TestDatagrams(t *testing.T) {
	eachNode(t, func(t *testing.T, node string) {
		l := newLab(t, node, spec.BalanceSlots)
		script := `const s = dgram.createSocket('udp4'); s.on('message', (m, from) => s.send(m, from.port, from.address));
			s.bind(0, '127.0.0.1', () => say(s.address().port))`
		a, b := l.start(0, script), l.start(1, script)
		port := a.port()
		if other := b.port(); other != port {
			t.Errorf("ports %d and %d", port, other)
		}
		a.saw(fmt.Sprintf("listening 127.0.0.1 %d udp4", port))
		conn, err := net.Dial("udp", local(port))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		got := make([]byte, 9)
		for i := range 20 {
			if i == 10 {
				l.do(a.member.Leave)
				a.exit()
			}
			text := fmt.Sprint("packet ", i)
			fmt.Fprint(conn, text)
			if n, err := conn.Read(got); err != nil || string(got[:n]) != text {
				t.Fatalf("%q, %v", got[:n], err)
			}
		}
	})
}

// offer declares a listener on a free port of 127.0.0.1.
func (l *lab) offer(balance spec.Balance) (port int) {
	l.t.Helper()
	s := spec.Listener{Network: "tcp", Address: "127.0.0.1:0"}
	n := 1
	if balance == spec.BalanceSlots {
		n = 2
	}
	files, err := listener.BindGroup(s, n)
	if err != nil {
		l.t.Fatal(err)
	}
	o := Offered{Spec: s, Addr: listener.Addr(files[0]), Balance: balance, File: func(slot int) *os.File { return files[slot%n] }}
	if balance != spec.BalanceShared {
		if o.Door, err = l.loop.Open(handoff.DoorOptions{Policy: balance, Sockets: files}); err != nil {
			l.t.Fatal(err)
		}
		l.t.Cleanup(o.Door.Close)
	}
	l.t.Cleanup(func() {
		for _, f := range files {
			f.Close()
		}
	})
	l.do(func() { l.p.Offer([]Offered{o}) })
	_, text, _ := net.SplitHostPort(o.Addr)
	port, _ = strconv.Atoi(text)
	return port
}

// A declared listener is found by its address, or by its descriptor; no other
// descriptor is a worker's business.
func TestDeclared(t *testing.T) {
	eachNode(t, func(t *testing.T, node string) {
		for _, balance := range balances() {
			t.Run(string(balance), func(t *testing.T) {
				l := newLab(t, node, balance)
				port := l.offer(balance)
				a := l.start(0, serveAny, strconv.Itoa(port))
				b := l.start(1, `const s = http200([{fd: 3}, () => {
					say('fd');
					http200([{fd: 3}]).on('error', (e) => { say(e.code);
						http200([{fd: 9}]).on('error', (e) => say(e.code)) }) }])`)
				if got := a.port(); got != port {
					t.Errorf("port %d, want %d", got, port)
				}
				b.wants(`"fd"`)
				b.wants(`"EADDRINUSE"`)
				b.wants(`"EINVAL"`)
				served := ask(t, 40, "tcp", local(port))
				if served["1"]+served["2"] != 40 || balance != spec.BalanceShared && served["1"]*served["2"] == 0 {
					t.Errorf("served by %v", served)
				}
				l.do(func() {
					if len(l.p.asked) > 0 || len(l.p.Facts()) > 0 {
						t.Errorf("%+v", l.p.Facts())
					}
				})
			})
		}
	})
}

// The last worker that closes a server of its own accord closes the listener; it can
// listen again, and others keep theirs.
func TestCloseAndListenAgain(t *testing.T) {
	eachNode(t, func(t *testing.T, node string) {
		for _, balance := range balances() {
			t.Run(string(balance), func(t *testing.T) {
				l := newLab(t, node, balance)
				port := freePort(t)
				script := `const s = http200([+process.argv[2], () => say('up')]);
					process.on('message', (m) => m ? s.listen(+process.argv[2], () => say('up')) : s.close(() => say('down')))`
				a, b := l.start(0, script, strconv.Itoa(port)), l.start(1, script, strconv.Itoa(port))
				up := func(w *worker) { t.Helper(); w.wants(`"up"`) }
				down := func(w *worker) {
					t.Helper()
					w.tell(`0`)
					w.wants(`"down"`)
					w.saw("closed")
				}
				up(a)
				up(b)
				down(a)
				if served := ask(t, 10, "tcp", local(port)); balance != spec.BalanceSlots && served["2"] != 10 {
					t.Errorf("served by %v", served)
				}
				down(b)
				l.until("the listener is closed", func() bool {
					conn, err := net.Dial("tcp", local(port))
					if err == nil {
						conn.Close()
					}
					return err != nil
				})
				for _, w := range []*worker{a, b} {
					w.tell(`1`)
					up(w)
				}
				served := ask(t, 40, "tcp", local(port))
				if served["1"]+served["2"] != 40 || balance != spec.BalanceShared && served["1"]*served["2"] == 0 {
					t.Errorf("served by %v", served)
				}
			})
		}
	})
}

// A worker that leaves by itself is let go.
func TestWorkerDisconnects(t *testing.T) {
	eachNode(t, func(t *testing.T, node string) {
		l := newLab(t, node, spec.BalanceRoundRobin)
		a := l.start(0, serveAny+`; process.on('message', () => cluster.worker.disconnect())`)
		b := l.start(1, serveAny)
		port := a.port()
		b.port()
		a.tell(`0`)
		if code := a.exit(); code != 0 || !a.facts().Asked {
			t.Errorf("exit code %d, %+v", code, a.facts())
		}
		a.saw("asked")
		if served := ask(t, 6, "tcp", local(port)); served["2"] != 6 {
			t.Errorf("served by %v", served)
		}
	})
}

// One that just closes its channel has not been asked to.
func TestProcessDisconnects(t *testing.T) {
	eachNode(t, func(t *testing.T, node string) {
		l := newLab(t, node, spec.BalanceSlots)
		a := l.start(0, serveAny+`; process.on('message', () => process.disconnect())`)
		a.port()
		a.tell(`0`)
		if code, f := a.exit(), a.facts(); code != 0 || f.Asked || f.Left || !f.Gone {
			t.Errorf("exit code %d, %+v", code, f)
		}
	})
}
