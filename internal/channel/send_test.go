package channel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSendRefuses(t *testing.T) {
	noLeak(t)
	a, _ := pair(t, Options{QueueMax: 100}, Options{})
	many := make([]int, FDsMax+1)
	for _, bad := range []error{a.Send(nil), a.Send([]byte("")), a.Send([]byte("1\n")), a.Send([]byte("\n")), a.Send([]byte("1"), many...)} {
		if !errors.Is(bad, ErrInvalid) {
			t.Error(bad)
		}
	}
	if err := a.Send([]byte(strings.Repeat("x", 100))); !errors.Is(err, ErrFull) {
		t.Errorf("more than QueueMax: %v", err)
	}
	if err := a.Send([]byte("1"), 1<<20); !errors.Is(err, unix.EBADF) {
		t.Errorf("no such descriptor: %v", err)
	}
	send(t, a, "1")
}

// A frame of up to AtomicMax bytes is in the socket whole or not at all, however
// full it is.
func TestAtomic(t *testing.T) {
	noLeak(t)
	for _, size := range []int{1, 100, 4095, 30_001, AtomicMax - 1} {
		ours, theirs := rawPair(t)
		var m marks
		a := Open(ours, Options{Torn: m.told})
		text := strings.Repeat("x", size)
		for n := 0; ; n++ {
			send(t, a, text)
			if frames, bytes := a.Waiting(); frames > 0 {
				if frames != 1 || bytes != size+1 || n == 0 {
					t.Errorf("size %d: %d frames with %d bytes wait after %d", size, frames, bytes, n)
				}
				break
			}
		}
		if m.String() != "" {
			t.Errorf("size %d: marks %s", size, &m)
		}
		a.Close()
		var got int
		for p := make([]byte, 1<<20); ; {
			n, err := unix.Read(theirs, p)
			if err != nil || n == 0 {
				break
			}
			got += n
		}
		if got == 0 || got%(size+1) != 0 {
			t.Errorf("size %d: %d bytes in the socket", size, got)
		}
		unix.Close(theirs)
	}
}

// Frames that wait keep their order, and their descriptors though the sender
// closes its own.
func TestQueue(t *testing.T) {
	noLeak(t)
	for _, peek := range []bool{false, true} {
		a, b := pair(t, Options{}, Options{Peek: peek})
		const frames = 600
		text := func(i int) string { return fmt.Sprint(i, strings.Repeat("x", i*37%40_000)) }
		for i := range frames {
			if i%3 > 0 {
				send(t, a, text(i))
				continue
			}
			fd := named(t, fmt.Sprint(i))
			send(t, a, text(i), fd)
			unix.Close(fd)
		}
		if n, _ := a.Waiting(); n == 0 {
			t.Fatal("nothing waits: the test is too small")
		}
		for i := range frames {
			f := receive(t, b)
			if string(f.Data) != text(i) {
				t.Fatalf("frame %d is %.20q", i, f.Data)
			}
			if got := texts(t, f); i%3 > 0 && got != nil || i%3 == 0 && !slices.Equal(got, []string{fmt.Sprint(i)}) {
				t.Fatalf("frame %d has %q", i, got)
			}
		}
		if err := a.Flush(within(t)); err != nil {
			t.Error(err)
		}
		if frames, bytes := a.Waiting(); frames != 0 || bytes != 0 || a.out.fds != 0 {
			t.Errorf("%d frames, %d bytes, %d descriptors wait", frames, bytes, a.out.fds)
		}
		a.Close()
		b.Close()
	}
}

func TestQueueIsBounded(t *testing.T) {
	noLeak(t)
	a, b := pair(t, Options{QueueMax: 1 << 20}, Options{})
	text := strings.Repeat("x", 1000)
	var sent int
	var err error
	for err == nil {
		if err = a.Send([]byte(text)); err == nil {
			sent++
		}
	}
	if _, bytes := a.Waiting(); !errors.Is(err, ErrFull) || bytes > 1<<20 || bytes < 1<<20-1001 {
		t.Errorf("%d bytes wait, %v", bytes, err)
	}
	for range sent {
		want(t, b, text)
	}
	send(t, a, "again")
	want(t, b, "again")
}

func TestQueuedDescriptorsAreBounded(t *testing.T) {
	noLeak(t)
	a, _ := pair(t, Options{}, Options{})
	fill(t, a)
	var err error
	var sent int
	for err == nil {
		if err = a.Send([]byte("x"), 0, 1); err == nil {
			sent += 2
		}
	}
	if !errors.Is(err, ErrFull) && !errors.Is(err, unix.EMFILE) || sent > fdQueueMax {
		t.Errorf("%d descriptors, %v", sent, err)
	}
}

// fill sends until a frame has to wait.
func fill(t testing.TB, c *Conn) (sent int) {
	t.Helper()
	text := strings.Repeat("f", 1000)
	for {
		send(t, c, text)
		sent++
		if n, _ := c.Waiting(); n > 0 {
			return sent
		}
	}
}

// A long frame carries the mark from before its first byte to after its last.
func TestTornWhileSending(t *testing.T) {
	noLeak(t)
	var m marks
	a, b := pair(t, Options{Torn: m.told}, Options{})
	send(t, a, strings.Repeat("x", AtomicMax-1))
	if m.String() != "" {
		t.Errorf("marks %s for an atomic frame", &m)
	}
	send(t, a, strings.Repeat("y", AtomicMax))
	if m.String() != "true false" {
		t.Errorf("marks %s for one that fits", &m)
	}
	long := strings.Repeat("z", 1<<20)
	fd := named(t, "z")
	send(t, a, long, fd)
	unix.Close(fd)
	if m.String() != "true false true" {
		t.Errorf("marks %s for one that waits half-way", &m)
	}
	send(t, a, long)
	want(t, b, strings.Repeat("x", AtomicMax-1))
	want(t, b, strings.Repeat("y", AtomicMax))
	if f := receive(t, b); string(f.Data) != long || !slices.Equal(texts(t, f), []string{"z"}) {
		t.Errorf("%d bytes", len(f.Data))
	}
	want(t, b, long)
	if err := a.Flush(within(t)); err != nil {
		t.Error(err)
	}
	if got := m.String(); got != "true false true false true false" {
		t.Errorf("marks %s", got)
	}
}

// A long frame of which nothing could leave has not torn anything.
func TestNotTornWhileWaiting(t *testing.T) {
	noLeak(t)
	var m marks
	a, _ := pair(t, Options{Torn: m.told}, Options{})
	fill(t, a)
	send(t, a, strings.Repeat("x", 1<<20))
	if m.String() != "" {
		t.Errorf("marks %s", &m)
	}
	a.Close()
	if m.String() != "" {
		t.Errorf("marks %s after Close", &m)
	}
}

func TestSendToNobody(t *testing.T) {
	noLeak(t)
	for _, queued := range []bool{false, true} {
		a, b := pair(t, Options{}, Options{})
		if queued {
			fill(t, a)
			fd := named(t, "x")
			send(t, a, "1", fd)
			unix.Close(fd)
		}
		b.Close()
		eventually(t, "the end is seen", func() bool { return errors.Is(a.Send([]byte("2")), ErrGone) })
		if n, bytes := a.Waiting(); n != 0 || bytes != 0 {
			t.Errorf("%d frames wait for nobody", n)
		}
		if err := a.Flush(within(t)); !errors.Is(err, ErrGone) {
			t.Errorf("Flush: %v", err)
		}
		wantEnd(t, a, io.EOF)
		a.Close()
	}
}

func TestCloseWithQueue(t *testing.T) {
	noLeak(t)
	a, b := pair(t, Options{}, Options{})
	fill(t, a)
	fd := named(t, "x")
	for range 50 {
		send(t, a, strings.Repeat("x", 60_000), fd)
	}
	unix.Close(fd)
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if err := a.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Flush: %v", err)
	}
	flushed := make(chan error)
	go func() { flushed <- a.Flush(context.Background()) }()
	if err := errors.Join(a.Close(), a.Close()); err != nil {
		t.Error(err)
	}
	if err := <-flushed; !errors.Is(err, ErrClosed) {
		t.Errorf("Flush after Close: %v", err)
	}
	if err := a.Send([]byte("1")); !errors.Is(err, ErrClosed) {
		t.Errorf("Send after Close: %v", err)
	}
	wantEnd(t, a, ErrClosed)
	b.Close()
}

// Many senders and a slow receiver: every frame arrives once, those of one sender
// in its order.
func TestManySenders(t *testing.T) {
	noLeak(t)
	a, b := pair(t, Options{}, Options{})
	const senders, each = 8, 500
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for i := range each {
				fds := make([]int, 1-min(1, i%10)) // stdin with every tenth
				if err := a.Send(fmt.Appendf(nil, "%d %d %s", s, i, strings.Repeat("x", i)), fds...); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var next [senders]int
	for range senders * each {
		var s, i int
		f := receive(t, b)
		closeAll(f.FDs)
		if _, err := fmt.Sscanf(string(f.Data), "%d %d", &s, &i); err != nil || i != next[s] || len(f.FDs) != 1-min(1, i%10) {
			t.Fatalf("%.20q (%d descriptors), want %d of %d: %v", f.Data, len(f.FDs), next[s], s, err)
		}
		next[s]++
	}
	wg.Wait()
}

// The kernel lets a user have only so many descriptors under way.
func TestTooManyReferences(t *testing.T) {
	c := start(t, []string{roleEnv + "=refs"}, nil, os.Args[0])
	if got := c.wait(); len(got) == 0 || got[len(got)-1] != "<nil>" {
		t.Error(got)
	}
}

// playRefs sends more descriptors than its limit allows to be under way.
func playRefs() error {
	const limit, frames = 64, 100
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
		return err
	}
	if os.Geteuid() == 0 { // root has no such limit
		if err := unix.Setresuid(65534, 65534, 65534); err != nil {
			return err
		}
	}
	ours, theirs, err := Pair()
	if err != nil {
		return err
	}
	a, b := Open(ours, Options{}), Open(theirs, Options{})
	for i := range frames {
		if err := a.Send(fmt.Append(nil, i), 0); err != nil {
			return fmt.Errorf("frame %d: %w", i, err)
		}
	}
	if n, _ := a.Waiting(); n == 0 {
		return errors.New("nothing waits")
	}
	for i := range frames {
		f, err := b.Receive(context.Background())
		if err != nil || string(f.Data) != fmt.Sprint(i) || len(f.FDs) != 1 {
			return fmt.Errorf("frame %d: %q, %d descriptors, %w", i, f.Data, len(f.FDs), err)
		}
		closeAll(f.FDs)
	}
	return nil
}
