package handoff

import (
	"fmt"
	"net"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/spec"
)

// BenchmarkDeal is one connection: accepted, given to one of two workers over their
// channels, answered as Node.js does, closed.
func BenchmarkDeal(b *testing.B) {
	for _, clients := range []int{1, 32} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			l := loop(b)
			files := sockets(b, 1, 0)
			d := open(b, l, DoorOptions{Policy: spec.BalanceRoundRobin, Sockets: files})
			for i := range 2 {
				employ(b, l, fmt.Sprint("w", i)).join(d, i)
			}
			to := sockaddr(b, files[0])
			b.ReportAllocs()
			before := l.processor(b)
			b.ResetTimer()
			run(b, clients, func() { callRaw(b, to) })
			b.ReportMetric(float64((l.processor(b)-before).Nanoseconds())/1000/float64(b.N), "loop-µs/conn")
		})
	}
}

func run(b *testing.B, clients int, do func()) {
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := c; i < b.N; i += clients {
				do()
			}
		})
	}
	wg.Wait()
}

func sockaddr(t testing.TB, f *os.File) unix.SockaddrInet4 {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", listener.Addr(f))
	if err != nil {
		t.Fatal(err)
	}
	return unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(a.IP.To4())}
}

// callRaw is one connection, until the other side closes it.
func callRaw(t testing.TB, to unix.SockaddrInet4) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &to); err != nil {
		t.Error(err)
		return
	}
	var p [64]byte
	for {
		if n, err := unix.Read(fd, p[:]); n <= 0 || err != nil {
			return
		}
	}
}
