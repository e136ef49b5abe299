package diag

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func listen(t *testing.T, network, address string) (*net.TCPListener, netip.AddrPort) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	tcp, _ := l.(*net.TCPListener)
	return tcp, netip.MustParseAddrPort(l.Addr().String())
}

func dial(t *testing.T, to netip.AddrPort) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func ask(t *testing.T, q Query) []Socket {
	t.Helper()
	found, err := TCP(q)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// eventually polls until ok, for at most 10 s.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("not within 10 s: %s", what)
		case <-tick.C:
		}
	}
}

func inode(t *testing.T, c syscall.Conn) (n uint64) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := raw.Control(func(fd uintptr) { err = unix.Fstat(int(fd), &st) }); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// Of all sockets of the host only the one that listens on a port is told.
func TestListening(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", "[::]:0"} {
		l, at := listen(t, "tcp", address)
		dial(t, at)
		six := at.Addr().Is6()
		found := ask(t, Query{IPv6: six, Port: int(at.Port()), States: Listen})
		want := Socket{Local: at, State: Listen, UID: os.Getuid(), Inode: inode(t, l)}
		if len(found) != 1 || found[0] != want {
			t.Errorf("%s: %+v, want %+v", address, found, want)
		}
		if other := ask(t, Query{IPv6: !six, Port: int(at.Port()), States: Listen}); len(other) != 0 {
			t.Errorf("%s: of the other family %+v", address, other)
		}
		all := ask(t, Query{IPv6: six, States: Listen})
		if !slices.Contains(all, want) {
			t.Errorf("%s is not among %d of every port", address, len(all))
		}
	}
}

// A connection has no inode until it is accepted, and its age tells how long that is.
func TestNotAccepted(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::]:0"} { // an IPv4 client of an IPv6 socket, too
		l, at := listen(t, "tcp", address)
		q := Query{IPv6: at.Addr().Is6(), Port: int(at.Port()), States: Established | CloseWait, Age: true}
		c := dial(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), at.Port()))
		begun := time.Now()
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is old", func() bool {
			found := ask(t, q)
			return len(found) == 1 && found[0].Inode == 0 && found[0].Age >= 100*time.Millisecond
		})
		if took := time.Since(begun); took < 90*time.Millisecond {
			t.Errorf("100 ms old after %v", took)
		}
		c.Close()
		eventually(t, "the client is gone", func() bool {
			found := ask(t, q)
			return len(found) == 1 && found[0].State == CloseWait && found[0].Inode == 0
		})
		got, err := l.AcceptTCP()
		if err != nil {
			t.Fatal(err)
		}
		if found := ask(t, q); len(found) != 1 || found[0].Inode != inode(t, got) {
			t.Errorf("accepted: %+v", found)
		}
		got.Close()
	}
}

// What is bound and does not listen keeps a port, too.
func TestBound(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at, _ := sa.(*unix.SockaddrInet4)
	found := ask(t, Query{Port: at.Port, States: All})
	if len(found) > 1 || len(found) == 1 && found[0].State != 1<<7 { // TCP_CLOSE; none before Linux 6.8
		t.Errorf("%+v", found)
	}
}

// A kernel that refuses, or says what we do not know, is an error and never an answer.
func TestBadAnswers(t *testing.T) {
	message := func(kind uint16, body []byte) []byte {
		b := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(body))
		binary.NativeEndian.PutUint32(b, uint32(unix.SizeofNlMsghdr+len(body)))
		binary.NativeEndian.PutUint16(b[4:], kind)
		return append(b, body...)
	}
	number := func(n int32) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(n)) }
	for name, tt := range map[string]struct {
		text []byte
		want error
	}{
		"refused":       {message(unix.NLMSG_ERROR, number(-int32(unix.EPERM))), unix.EPERM},
		"cut short":     {message(unix.NLMSG_DONE, number(-int32(unix.EINTR))), unix.EINTR},
		"acknowledged":  {message(unix.NLMSG_ERROR, number(0)), errShort},
		"short message": {message(unix.SOCK_DIAG_BY_FAMILY, make([]byte, messageSize-1)), errShort},
		"bad attribute": {message(unix.SOCK_DIAG_BY_FAMILY, make([]byte, messageSize+4)), errShort},
		"bad length":    {append(number(3), make([]byte, 12)...), errShort},
		"beyond":        {append(number(99), make([]byte, 12)...), errShort},
	} {
		done, err := eachMessage(tt.text, func(m []byte) error { _, err := parse(m); return err })
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, %v", name, done, err)
		}
	}
	if done, err := eachMessage(message(unix.NLMSG_DONE, number(0)), nil); !done || err != nil {
		t.Errorf("the end: %v, %v", done, err)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(make([]byte, 200))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = eachMessage(b, func(m []byte) error { _, err := parse(m); return err })
	})
}
