package channel

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What holds for Receive holds for Next: the same tests once more, in the other mode.
func TestDrivenToo(t *testing.T) {
	if os.Getenv(drivenEnv) != "" {
		return // this is the other mode
	}
	names := "Node|NodeSlow|NodeHandle|SlowLine|EndWhileTorn|MarkOfBothDirections|Split|Reset|FrameMax|EndlessLine|Descriptors|" +
		"TwoFramesWithDescriptors|Truncated|DescriptorsOfOneLineAreBounded|OpenStrange|Lend|MemoryIsGivenBack|SendRefuses|Atomic|" +
		"Queue|QueueIsBounded|QueuedDescriptorsAreBounded|TornWhileSending|NotTornWhileWaiting|SendToNobody|CloseWithQueue|" +
		"ManySenders|TooManyReferences"
	cmd := exec.Command(os.Args[0], "-test.run", "^Test("+names+")$", "-test.v")
	cmd.Env = append(os.Environ(), drivenEnv+"=1")
	out, err := cmd.CombinedOutput()
	if passed := strings.Count(string(out), "\n--- PASS: Test"); err != nil || passed != strings.Count(names, "|")+1 {
		t.Errorf("%d passed, %v\n%s", passed, err, out)
	}
}

// next calls Next once.
func next(t *testing.T, c *Conn, text string, ok bool) {
	t.Helper()
	f, found, err := c.Next()
	if string(f.Data) != text || found != ok || err != nil {
		t.Fatalf("%q, %v, %v; want %q, %v", f.Data, found, err, text, ok)
	}
}

// inSocket is what a successor would receive.
func inSocket(t *testing.T, c *Conn) string {
	t.Helper()
	p := make([]byte, 10_000)
	n, _, err := unix.Recvfrom(c.driven.fd, p, unix.MSG_PEEK|unix.MSG_DONTWAIT)
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		t.Fatal(err)
	}
	return string(p[:max(n, 0)])
}

func TestNext(t *testing.T) {
	noLeak(t)
	ours, far := rawPair(t)
	c := open(t, ours, Options{Peek: true, Driven: true})
	next(t, c, "", false)
	write(t, far, "a\nb\nc\n")
	next(t, c, "a", true)
	c.Pass()
	next(t, c, "b", true)
	if in := inSocket(t, c); in != "a\nb\nc\n" {
		t.Errorf("%q: a passed frame has left the socket early", in)
	}
	next(t, c, "c", true) // b was not passed, so it and all before it have left
	if in := inSocket(t, c); in != "c\n" {
		t.Errorf("%q", in)
	}
	c.Pass()
	for range 3 { // it is found out again and again that there is nothing new
		next(t, c, "", false)
		write(t, far, "d\n")
		next(t, c, "d", true)
		c.Pass()
		next(t, c, "", false)
		next(t, c, "", false)
	}
	write(t, far, "e")
	next(t, c, "", false)
	if again := c.Again(); again <= 0 || again > pieceAfter {
		t.Errorf("again in %v", again)
	}
	write(t, far, "\n")
	next(t, c, "e", true)
	c.Pass()
	next(t, c, "", false)
	if again := c.Again(); again != 0 {
		t.Errorf("again in %v", again)
	}
	for i := range 1000 {
		write(t, far, "hot\n")
		next(t, c, "hot", true)
		c.Pass()
		next(t, c, "", false)
		if n := len(inSocket(t, c)); n > passMax+4 {
			t.Fatalf("%d bytes stay after %d frames", n, i)
		}
	}
	write(t, far, "last\n")
	unix.Close(far)
	c.HungUp()
	next(t, c, "last", true)
	c.Pass()
	for range 2 {
		if _, _, err := c.Next(); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	}
	if in := inSocket(t, c); in != "" {
		t.Errorf("%q is left", in)
	}
}

// Descriptors belong to their frame also behind passed ones.
func TestNextDescriptors(t *testing.T) {
	noLeak(t)
	ours, far := rawPair(t)
	c := open(t, ours, Options{Peek: true, Driven: true})
	write(t, far, "a\n")
	next(t, c, "a", true)
	c.Pass()
	next(t, c, "", false)
	file := named(t, "one")
	write(t, far, "b\n", file)
	write(t, far, "c\n", file)
	unix.Close(file)
	for _, text := range []string{"b", "c"} {
		f, ok, err := c.Next()
		if got := texts(t, f); string(f.Data) != text || !ok || err != nil || len(got) != 1 || got[0] != "one" {
			t.Fatalf("%q %v %v %v", f.Data, got, ok, err)
		}
		c.Pass()
	}
	next(t, c, "", false)
	unix.Close(far)
}

// The one who waits is told before the descriptor is closed.
func TestAttach(t *testing.T) {
	noLeak(t)
	ours, far := rawPair(t)
	c := open(t, ours, Options{Driven: true})
	var watched, released int
	watch := func(fd int) error { watched = fd; return nil }
	err := c.Attach(watch, func(fd int) {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			released = fd
		}
	})
	c.Close()
	if err != nil || watched == 0 || released != watched {
		t.Errorf("%v: %d, %d", err, watched, released)
	}
	if err := c.Attach(watch, nil); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, _, err := c.Next(); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	refuse := open(t, far, Options{Driven: true})
	if err := refuse.Attach(func(int) error { return io.ErrNoProgress }, nil); !errors.Is(err, io.ErrNoProgress) {
		t.Error(err)
	}
}

// What waits for room leaves when there is some, with nobody else to wait for it.
func TestDrivenQueue(t *testing.T) {
	noLeak(t)
	a, b := pair(t, Options{Driven: true}, Options{})
	text := strings.Repeat("x", 10_000)
	for range 3 { // the queue comes and goes
		for range 200 {
			send(t, a, text)
		}
		if frames, _ := a.Waiting(); frames == 0 {
			t.Fatal("nothing waits")
		}
		for range 200 {
			want(t, b, text)
		}
		if err := a.Flush(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	for range 200 {
		send(t, a, text)
	}
	begun := time.Now()
	a.Close()
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("closed after %v", took)
	}
}

// Close while what waits is being sent: neither waits for the other for ever.
func TestDrivenCloseWhileSending(t *testing.T) {
	noLeak(t)
	for range 300 {
		ours, theirs := rawPair(t)
		a := Open(ours, Options{Driven: true})
		fill(t, a)
		var reader sync.WaitGroup
		reader.Go(func() {
			p := make([]byte, 4<<10)
			for n := 1; n > 0; {
				n, _ = unix.Read(theirs, p)
			}
		})
		for range 20 {
			send(t, a, strings.Repeat("x", 8_000))
		}
		closed := make(chan error, 1)
		go func() { closed <- a.Close() }()
		select {
		case err := <-closed:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("Close does not return")
		}
		reader.Wait()
		_ = unix.Close(theirs)
	}
}
