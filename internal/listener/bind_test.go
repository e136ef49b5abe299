package listener

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// reach serves one connection on f and returns what dialing address yields.
func reach(t *testing.T, f *os.File, network, address string) error {
	t.Helper()
	l, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan struct{})
	go func() {
		defer close(served)
		if c, err := l.Accept(); err == nil {
			_, _ = io.WriteString(c, "hello")
			c.Close()
		}
	}()
	defer func() { l.Close(); <-served }()
	c, err := net.Dial(network, address)
	if err != nil {
		return err
	}
	defer c.Close()
	text, err := io.ReadAll(c)
	if err == nil && string(text) != "hello" {
		return fmt.Errorf("read %q", text)
	}
	return err
}

func portOf(t *testing.T, f *os.File) string {
	t.Helper()
	ap, err := netip.ParseAddrPort(Addr(f))
	if err != nil || ap.Port() == 0 {
		t.Fatalf("Addr = %q, %v", Addr(f), err)
	}
	return strconv.Itoa(int(ap.Port()))
}

func TestTCPFamilies(t *testing.T) {
	tests := []struct {
		network, address string
		v4, v6           bool
	}{
		{"tcp", ":0", true, true},
		{"tcp", "[::]:0", true, true},
		{"tcp", "0.0.0.0:0", true, false},
		{"tcp", "127.0.0.1:0", true, false},
		{"tcp", "[::1]:0", false, true},
		{"tcp", "localhost:0", true, false},
		{"tcp4", ":0", true, false},
		{"tcp6", ":0", false, true},
		{"tcp6", "[::1]:0", false, true},
	}
	for _, tt := range tests {
		t.Run(tt.network+" "+tt.address, func(t *testing.T) {
			f := bound(t, tt.network, tt.address)
			port := portOf(t, f)
			for address, want := range map[string]bool{"127.0.0.1:" + port: tt.v4, "[::1]:" + port: tt.v6} {
				if !want {
					c, err := net.Dial("tcp", address)
					if err == nil {
						c.Close()
						t.Errorf("%s answers", address)
					}
					continue
				}
				if err := reach(t, f, "tcp", address); err != nil {
					t.Errorf("%s: %v", address, err)
				}
			}
		})
	}
}

func TestSocketIsAsSystemdHandsIt(t *testing.T) {
	dir := t.TempDir()
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "udp": "127.0.0.1:0", "unix": dir + "/s"} {
		f := bound(t, network, address)
		err := control(f, func(fd int) error {
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
			if err != nil || flags&unix.O_NONBLOCK != 0 {
				t.Errorf("%s: flags %#x, %v: not blocking", network, flags, err)
			}
			fdFlags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			if err != nil || fdFlags&unix.FD_CLOEXEC == 0 {
				t.Errorf("%s: not close-on-exec (%v)", network, err)
			}
			reuse, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR)
			if err != nil || (network == "tcp") != (reuse != 0) {
				t.Errorf("%s: SO_REUSEADDR %d, %v", network, reuse, err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestBacklog(t *testing.T) {
	if got := backlogOf(spec.Listener{Backlog: 7}); got != 7 {
		t.Errorf("backlog %d", got)
	}
	text, err := os.ReadFile("/proc/sys/net/core/somaxconn")
	if err != nil {
		t.Fatal(err)
	}
	if got := strconv.Itoa(backlogOf(spec.Listener{})) + "\n"; got != string(text) {
		t.Errorf("backlog %s, somaxconn %s", got, text)
	}
}

func TestUDP(t *testing.T) {
	f := bound(t, "udp", "127.0.0.1:0")
	pc, err := net.FilePacketConn(f)
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	c, err := net.Dial("udp", Addr(f))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	n, _, err := pc.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "ping" {
		t.Errorf("read %q, %v", buf[:n], err)
	}
	_, err = Bind(spec.Listener{Name: "dns", Network: "udp", Address: Addr(f)})
	if fault.CodeOf(err) != fault.PortInUse {
		t.Errorf("second bind: %v", err)
	}
}

// A port in use names its owner: by pid and command where visible.
func TestPortInUse(t *testing.T) {
	f := bound(t, "tcp", "127.0.0.1:0")
	c := self(t, "hold", f)
	port := portOf(t, f)
	f.Close()
	for _, l := range []spec.Listener{
		{Name: "http", Network: "tcp", Address: ":" + port},
		{Name: "http", Network: "tcp4", Address: "127.0.0.1:" + port},
		{Name: "http", Network: "tcp4", Address: ":" + port},
	} {
		_, err := Bind(l)
		if fault.CodeOf(err) != fault.PortInUse || !errors.Is(err, unix.EADDRINUSE) {
			t.Fatalf("%v: %v", l, err)
		}
		wantText(t, err.Error(), fmt.Sprintf("pid %d (", c.pid), port, "http")
	}
	free, err := Bind(spec.Listener{Network: "tcp6", Address: "[::1]:" + port})
	if err != nil {
		t.Fatalf("another family: %v", err)
	}
	free.Close()
}

// A port that a connection was given at random is in use as well.
func TestPortOfAConnection(t *testing.T) {
	c, err := net.Dial("tcp", Addr(bound(t, "tcp", "127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = Bind(spec.Listener{Network: "tcp", Address: c.LocalAddr().String()})
	if fault.CodeOf(err) != fault.PortInUse {
		t.Fatalf("%v", err)
	}
	wantText(t, err.Error(), fmt.Sprintf("pid %d", os.Getpid()))
}

// Where the owner's descriptors are hidden, its uid and the inode are named.
func TestOwnerThatIsNotVisible(t *testing.T) {
	rows := []row{{network: "tcp", uid: 1234, inode: 1<<62 + 1}}
	wantText(t, ownerOf(rows), "uid 1234", strconv.FormatUint(rows[0].inode, 10))
	rows[0].uid = -1
	wantText(t, ownerOf(rows), "not visible", strconv.FormatUint(rows[0].inode, 10))
	if got := ownerOf(nil); got != "" {
		t.Errorf("nobody: %q", got)
	}
}

func TestTwoHolders(t *testing.T) {
	f := bound(t, "tcp", "127.0.0.1:0")
	c := self(t, "hold", f)
	_, err := Bind(spec.Listener{Network: "tcp", Address: Addr(f)})
	wantText(t, fmt.Sprint(err), "and 1 more", fmt.Sprintf("pid %d", min(c.pid, os.Getpid())))
}

func TestBindFaults(t *testing.T) {
	tests := []struct {
		network, address string
		code             fault.Code
		says             string
	}{
		{"tcp", "192.0.2.1:0", fault.Bind, "no address of this host"},
		{"tcp", "[2001:db8::1]:0", fault.Bind, "no address of this host"},
		{"tcp", "no-such-host.invalid:80", fault.Bind, "not known"},
		{"tcp", "8000", fault.Bind, "no host:port"},
		{"tcp", ":65536", fault.Bind, "no port"},
		{"tcp", ":-1", fault.Bind, "no port"},
		{"tcp", ":no-such-port", fault.Bind, "no port"},
		{"tcp4", "[::1]:80", fault.Bind, "no IPv4 address"},
		{"tcp6", "127.0.0.1:80", fault.Bind, "no IPv6 address"},
		{"tcp", "[fe80::1%nosuchlink]:80", fault.Bind, "network interface"},
		{"sctp", ":80", fault.Bind, "not known"},
		{"fd", "web", fault.Bind, "no inherited socket"},
		{"fd", "0", fault.Bind, "descriptor 0"},
		{"fd", "987654", fault.Bind, "descriptor 987654"},
		{"unix", "relative.sock", fault.Bind, "not absolute"},
	}
	for _, tt := range tests {
		t.Run(tt.network+" "+tt.address, func(t *testing.T) {
			f, err := Bind(spec.Listener{Name: "http", Network: tt.network, Address: tt.address})
			if err == nil {
				f.Close()
				t.Fatal("bound")
			}
			var got *fault.Fault
			if !errors.As(err, &got) || got.Code != tt.code || got.Fix == "" || got.Where == "" {
				t.Fatalf("%#v", err)
			}
			wantText(t, got.Text, tt.says)
		})
	}
}

func TestExplainPrivilege(t *testing.T) {
	at := endpoint{addr: netip.IPv4Unspecified(), port: 80}
	err := fault.From(at.explain(os.NewSyscallError("bind", unix.EACCES)))
	if err.Code != fault.Bind {
		t.Errorf("code %s", err.Code)
	}
	wantText(t, err.Text, "port 80", "CAP_NET_BIND_SERVICE")
	wantText(t, err.Fix, "1023", "ip_unprivileged_port_start")
}

func TestHostWithoutIPv6(t *testing.T) {
	at := endpoint{addr: netip.IPv6Unspecified(), port: 80}
	err := fault.From(at.explain(os.NewSyscallError("socket", unix.EAFNOSUPPORT)))
	wantText(t, err.Text, "no IPv6")
}

func TestInodeOfAFile(t *testing.T) {
	f, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Inode(f); !errors.Is(err, unix.ENOTSOCK) {
		t.Errorf("Inode of a file: %v", err)
	}
	f.Close()
	if _, err := Inode(f); err == nil {
		t.Error("Inode of a closed file")
	}
	if got := Addr(f); got != "" {
		t.Errorf("Addr of a closed file: %q", got)
	}
}
