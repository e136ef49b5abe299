package worker

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
)

// sockets of every kind, as muster would hold them.
func held(t *testing.T) (files []*os.File, tcp, any, udp, local string) {
	t.Helper()
	dir := t.TempDir()
	fixed, err := net.Listen("tcp", "127.0.0.1:0")
	closing(t, fixed, err)
	wild, err := net.Listen("tcp", ":0")
	closing(t, wild, err)
	packet, err := net.ListenPacket("udp", "127.0.0.1:0")
	closing(t, packet, err)
	local = filepath.Join(dir, "l.sock")
	unixListener, err := net.Listen("unix", local)
	closing(t, unixListener, err)
	for _, s := range []interface{ File() (*os.File, error) }{
		fixed.(*net.TCPListener), wild.(*net.TCPListener), packet.(*net.UDPConn), unixListener.(*net.UnixListener),
	} {
		f, err := s.File()
		files = append(files, closing(t, f, err))
	}
	_, port, err := net.SplitHostPort(wild.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return files, fixed.Addr().String(), ":" + port, packet.LocalAddr().String(), local
}

func inheriting(t *testing.T, e environment, o Options) *Worker {
	t.Helper()
	if o.Log == nil {
		o.Log = quiet()
	}
	w, err := open(e, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func TestListenInherited(t *testing.T) {
	files, tcp, wild, udp, local := held(t)
	_, wildPort, _ := net.SplitHostPort(wild)
	_, tcpPort, _ := net.SplitHostPort(tcp)
	w := inheriting(t, inherit(t, files, "http:any:dns:"), Options{})
	for _, tc := range []struct{ network, address, want string }{
		{"tcp", tcp, tcp},
		{"tcp4", tcp, tcp},
		{"tcp", "localhost:" + tcpPort, tcp},
		{"tcp", "name:http", tcp},
		{"tcp", wild, "[::]:" + wildPort},
		{"tcp", "0.0.0.0:" + wildPort, "[::]:" + wildPort},
		{"tcp", "[::]:" + wildPort, "[::]:" + wildPort},
		{"unix", local, local},
		{"unix", "", local},
		{"unix", "name:unknown", local},
	} {
		for range 2 { // it may be asked for again
			l, err := w.Listen(tc.network, tc.address)
			if err != nil {
				t.Errorf("%s %s: %v", tc.network, tc.address, err)
				continue
			}
			if l.Addr().String() != tc.want {
				t.Errorf("%s %s is %s, want %s", tc.network, tc.address, l.Addr(), tc.want)
			}
			served(t, l)
		}
	}
	for _, address := range []string{udp, "name:dns", ""} {
		c, err := w.ListenPacket("udp", address)
		if err != nil || c.LocalAddr().String() != udp {
			t.Errorf("%s: %v", address, err)
			continue
		}
		c.Close()
	}
	if _, err := os.Stat(local); err != nil {
		t.Error("the file of muster's socket was removed", err)
	}
}

// served makes sure that a listener takes connections, and closes it.
func served(t *testing.T, l net.Listener) {
	t.Helper()
	defer l.Close()
	c, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	got, err := l.Accept()
	if err != nil {
		t.Error(err)
		return
	}
	got.Close()
}

// What muster does not hold, while it holds others, is a mistake; it lists them.
func TestListenElsewhere(t *testing.T) {
	files, tcp, wild, _, _ := held(t)
	e := inherit(t, files, "http:any:dns:local")
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	own := free.Addr().String()
	free.Close()
	_, port, _ := net.SplitHostPort(own)
	w := inheriting(t, e, Options{})
	for _, tc := range [][2]string{
		{"tcp", "127.0.0.1" + wild},
		{"tcp", own},
		{"tcp", "name:none"},
		{"udp", tcp},
		{"unix", "/none"},
		{"tcp", ""},
		{"tcp", "no address"},
	} {
		_, err := w.Listen(tc[0], tc[1])
		wantCode(t, err, fault.Bind)
		if err == nil || !strings.Contains(err.Error(), "http is tcp "+tcp) {
			t.Errorf("%v does not list what there is", err)
		}
	}
	_, err = w.ListenPacket("udp", own)
	wantCode(t, err, fault.Bind)

	// A port of the app's own is no mistake.
	get := e.get
	e.list = func() []string { return []string{"PORT_ADMIN=" + port} }
	e.get = get
	l, err := inheriting(t, e, Options{}).Listen("tcp", own)
	closing(t, l, err)
	if l.Addr().String() != own {
		t.Error(l.Addr())
	}
}

// Alone, or without inherited listeners, it binds by itself.
func TestListenAlone(t *testing.T) {
	w := alone(t, Options{})
	l, err := w.Listen("tcp", "127.0.0.1:0")
	closing(t, l, err)
	_, err = w.Listen("tcp", l.Addr().String())
	wantCode(t, err, fault.Bind)
	c, err := w.ListenPacket("udp", "127.0.0.1:0")
	closing(t, c, err)
	_, err = w.ListenPacket("udp", c.LocalAddr().String())
	wantCode(t, err, fault.Bind)
	_, err = w.Listen("tcp", "name:http")
	wantCode(t, err, fault.Bind)
}

// Sockets that are meant for another process, or are none, are not taken.
func TestInheritedWrong(t *testing.T) {
	files, tcp, _, _, _ := held(t)
	e := inherit(t, files, "http")
	other := e
	other.pid++
	if w := inheriting(t, other, Options{}); len(w.sockets.all) != 0 {
		t.Error("taken from another process")
	}
	// Switched off, the program still gets what muster holds.
	get := e.get
	off := e
	off.get = func(name string) string {
		if name == "MUSTER_SDK" {
			return "OFF"
		}
		return get(name)
	}
	w := inheriting(t, off, Options{})
	l, err := w.Listen("tcp", tcp)
	closing(t, l, err)
	if !w.Alone() {
		t.Error("not off")
	}
	for _, count := range []string{"x", "-1", "99"} {
		bad := e
		bad.get = func(name string) string {
			if name == "LISTEN_FDS" {
				return count
			}
			return get(name)
		}
		_, err := open(bad, Options{})
		wantCode(t, err, fault.Bind)
	}
}

// A number that means something else in this process is no channel.
func TestNoChannel(t *testing.T) {
	file, err := os.Open(os.DevNull)
	closing(t, file, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	closing(t, l, err)
	socket, err := l.(*net.TCPListener).File()
	closing(t, socket, err)
	for _, fd := range []string{"", "x", "-1", "0", "9999", fmt.Sprint(file.Fd()), fmt.Sprint(socket.Fd())} {
		if w := alone(t, Options{}, "MUSTER_CHANNEL_FD="+fd); !w.Alone() {
			t.Errorf("%q was taken for a channel", fd)
		}
	}
	side := newMuster(t).enter(0, op.Settings{})
	if w := side.worker(Options{Off: true}); !w.Alone() || w.Name() != "" || w.Ready() != nil || w.Status("x") != nil {
		t.Error("not off")
	}
	_ = os.NewFile(uintptr(side.theirs), "channel").Close()
}
