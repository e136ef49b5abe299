package handoff

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/internal/channel"
)

// heard records what an ear was told.
type heard struct {
	mu    sync.Mutex
	first []string
	rest  []string
	ends  []error
	gate  chan struct{} // nil, or Rest waits for it
}

func (h *heard) hearing() Hearing {
	return Hearing{
		First: func(f channel.Frame) bool {
			if f.Data[0] != 'h' {
				return false
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			h.first = append(h.first, string(f.Data))
			return true
		},
		Rest: func(f channel.Frame) {
			closeAll(f.FDs)
			if h.gate != nil {
				<-h.gate
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			h.rest = append(h.rest, fmt.Sprintf("%.20s/%d", f.Data, len(f.FDs)))
		},
		End: func(err error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.ends = append(h.ends, err)
		},
	}
}

func (h *heard) all() (first, rest string, ends int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.first, " "), strings.Join(h.rest, " "), len(h.ends)
}

func (h *heard) want(t *testing.T, first, rest string, ends int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%q, %q, %d", first, rest, ends), func() bool {
		f, r, e := h.all()
		return f == first && r == rest && e == ends
	})
}

func hear(t testing.TB, l *Loop, h *heard) (conn *channel.Conn, far int, ear *Ear) {
	t.Helper()
	ours, theirs, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	conn = channel.Open(ours, channel.Options{Peek: true, Driven: true, FrameMax: 1 << 20})
	t.Cleanup(func() { conn.Close() })
	return conn, theirs, l.Hear(conn, h.hearing())
}

func put(t testing.TB, fd int, text string, fds ...int) {
	t.Helper()
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	if n, err := unix.SendmsgN(fd, []byte(text), oob, nil, unix.MSG_NOSIGNAL); err != nil || n != len(text) {
		t.Fatalf("%d, %v", n, err)
	}
}

// Hot frames are told on the thread, the others in order beside it; a frame leaves
// the socket when Rest has returned.
func TestEar(t *testing.T) {
	noLeak(t)
	h := &heard{gate: make(chan struct{})}
	_, far, _ := hear(t, loop(t), h)
	put(t, far, "h1\nh2\n\nr1\nh3\n")
	h.want(t, "h1 h2", "", 0)
	left := make([]byte, 100)
	h.gate <- struct{}{}
	h.want(t, "h1 h2 h3", "r1/0", 0)
	put(t, far, "r2\n", far)
	h.gate <- struct{}{}
	put(t, far, "h4\nr3\n")
	h.gate <- struct{}{}
	h.want(t, "h1 h2 h3 h4", "r1/0 r2/1 r3/0", 0)
	if n, err := unix.Read(far, left); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("%d, %v", n, err)
	}
	unix.Close(far)
	h.want(t, "h1 h2 h3 h4", "r1/0 r2/1 r3/0", 1)
	if !errors.Is(h.ends[0], io.EOF) {
		t.Error(h.ends)
	}
}

// What a killed agent had not dealt with is received by its successor.
func TestEarSuccessor(t *testing.T) {
	noLeak(t)
	h := &heard{gate: make(chan struct{})}
	ours, far, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	copied, err := unix.FcntlInt(uintptr(ours), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	o := channel.Options{Peek: true, Driven: true}
	conn := channel.Open(ours, o)
	l := loop(t)
	ear := l.Hear(conn, h.hearing())
	put(t, far, "h1\nr1\nr2\n")
	h.want(t, "h1", "", 0) // r1 is in hand
	ear.Close()
	conn.Close()
	close(h.gate)
	after := &heard{}
	next := channel.Open(copied, o)
	defer next.Close()
	l.Hear(next, after.hearing())
	put(t, far, "h2\n")
	after.want(t, "h1 h2", "r1/0 r2/0", 0) // hot frames may be seen twice
	unix.Close(far)
	after.want(t, "h1 h2", "r1/0 r2/0", 1)
}

// Lines that come in parts, and long ones, cost no processor and arrive.
func TestEarParts(t *testing.T) {
	noLeak(t)
	h := &heard{}
	l := loop(t)
	_, far, _ := hear(t, l, h)
	defer unix.Close(far)
	put(t, far, "h")
	before := l.processor(t)
	pass(300 * time.Millisecond) // it is taken out in pieces meanwhile
	if used := l.processor(t) - before; used > 5*time.Millisecond {
		t.Errorf("%v of a processor in 0.3 s", used)
	}
	put(t, far, "1\nh2")
	put(t, far, "\n")
	h.want(t, "h1 h2", "", 0)
	long := "r" + strings.Repeat("x", 500<<10) + "\nh3\n"
	for len(long) > 0 {
		n, err := unix.Write(far, []byte(long[:min(len(long), 30_000)]))
		if err == nil {
			long = long[n:]
		} else {
			pass(time.Millisecond)
		}
	}
	h.want(t, "h1 h2 h3", "rxxxxxxxxxxxxxxxxxxx/0", 0)
}

// A worker that floods, or whose frames take long, delays no other one.
func TestEarFlood(t *testing.T) {
	noLeak(t)
	l := loop(t)
	flood, slow, good := &heard{}, &heard{gate: make(chan struct{})}, &heard{}
	_, floods, _ := hear(t, l, flood)
	_, slows, _ := hear(t, l, slow)
	_, far, _ := hear(t, l, good)
	put(t, slows, "r\n")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for text := []byte(strings.Repeat("h\n", 500)); ; {
			select {
			case <-stop:
				return
			default:
				_, _ = unix.Write(floods, text)
			}
		}
	})
	want := ""
	for i := range 50 {
		text := fmt.Sprint("h", i)
		put(t, far, text+"\n")
		want = strings.TrimSpace(want + " " + text)
		h := time.Now()
		good.want(t, want, "", 0)
		if took := time.Since(h); took > 5*time.Second {
			t.Fatalf("%v", took)
		}
	}
	close(stop)
	wg.Wait()
	close(slow.gate)
	unix.Close(floods)
	unix.Close(slows)
	unix.Close(far)
	for _, h := range []*heard{flood, slow, good} {
		eventually(t, "the end", func() bool { _, _, ends := h.all(); return ends == 1 })
	}
}

// Each way to end: by the other side, by us, with too long a line, closed before.
func TestEarEnds(t *testing.T) {
	noLeak(t)
	l := loop(t)
	check := func(h *heard, want error) {
		t.Helper()
		eventually(t, "the end", func() bool { _, _, ends := h.all(); return ends > 0 })
		pass(5 * time.Millisecond)
		if _, _, ends := h.all(); ends != 1 || !errors.Is(h.ends[0], want) {
			t.Errorf("%v, want %v", h.ends, want)
		}
	}
	h := &heard{}
	conn, far, _ := hear(t, l, h)
	conn.Close()
	check(h, channel.ErrClosed)
	unix.Close(far)

	h = &heard{}
	_, far, _ = hear(t, l, h)
	put(t, far, "h1\nr1\nhalf")
	unix.Close(far)
	check(h, io.EOF)
	h.want(t, "h1", "r1/0", 1)

	for range 50 { // the end may be found together with the last frame, or after it
		h = &heard{}
		_, far, _ = hear(t, l, h)
		put(t, far, "h1\nh2\n")
		unix.Close(far)
		check(h, io.EOF)
		h.want(t, "h1 h2", "", 1)
	}

	h = &heard{}
	_, far, _ = hear(t, l, h)
	for err := error(nil); err == nil || errors.Is(err, unix.EAGAIN); {
		_, err = unix.SendmsgN(far, []byte(strings.Repeat("x", 30_000)), nil, nil, unix.MSG_NOSIGNAL)
		if _, _, ends := h.all(); ends > 0 {
			break
		}
	}
	check(h, channel.ErrFrameTooLong)
	unix.Close(far)

	h = &heard{}
	conn, far, ear := hear(t, l, h)
	ear.Close()
	ear.Close()
	put(t, far, "h1\nr1\n")
	conn.Close()
	pass(10 * time.Millisecond)
	h.want(t, "", "", 0)
	unix.Close(far)

	h = &heard{}
	l.Hear(conn, h.hearing())
	check(h, channel.ErrClosed)
}

// An ear may be closed by its own calls, also while frames wait.
func TestEarClosesItself(t *testing.T) {
	noLeak(t)
	l := loop(t)
	for _, at := range []string{"first", "rest"} {
		ours, far, err := channel.Pair()
		if err != nil {
			t.Fatal(err)
		}
		conn := channel.Open(ours, channel.Options{Peek: true, Driven: true})
		made, done := make(chan *Ear, 1), make(chan struct{})
		closeIt := func() { (<-made).Close(); close(done) }
		ear := l.Hear(conn, Hearing{
			First: func(channel.Frame) bool {
				if at == "first" {
					closeIt()
				}
				return at == "first"
			},
			Rest: func(channel.Frame) { closeIt() },
			End:  func(error) { t.Error("ended") },
		})
		made <- ear
		put(t, far, "a\nb\nc\n")
		<-done
		conn.Close()
		unix.Close(far)
	}
}

func TestNumbers(t *testing.T) {
	l := loop(t)
	if a, b := l.NextID(), l.NextID(); b != a+1 || a < channel.FirstSeq(time.Now().Add(-time.Minute)) || b > 1<<53 {
		t.Errorf("%d, %d", a, b)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// What Once takes is told on the thread, too, in order with all else, and is gone from
// the socket before the next is looked at: a successor gets at most the last one again.
func TestEarOnce(t *testing.T) {
	noLeak(t)
	h := &heard{}
	ours, far, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(far)
	copied, err := unix.FcntlInt(uintptr(ours), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(copied)
	conn := channel.Open(ours, channel.Options{Peek: true, Driven: true})
	defer conn.Close()
	hearing := h.hearing()
	var left []string // in the socket, whenever a frame is told
	hearing.Once = func(f channel.Frame) bool {
		if f.Data[0] != 'o' {
			return false
		}
		buf := make([]byte, 100)
		n, _, err := unix.Recvfrom(copied, buf, unix.MSG_PEEK|unix.MSG_DONTWAIT)
		if err != nil {
			n = 0
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		left = append(left, strings.ReplaceAll(string(buf[:n]), "\n", " "))
		h.first = append(h.first, string(f.Data))
		return true
	}
	put(t, far, "h1\no1\no2\nr1\no3\n")
	loop(t).Hear(conn, hearing)
	h.want(t, "h1 o1 o2 o3", "r1/0", 0)
	if got, want := strings.Join(left, "|"), "h1 o1 o2 r1 o3 |o2 r1 o3 |o3 "; got != want {
		t.Errorf("in the socket: %q, want %q", got, want)
	}
	eventually(t, "the socket is empty", func() bool {
		_, _, err := unix.Recvfrom(copied, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return errors.Is(err, unix.EAGAIN)
	})
}
