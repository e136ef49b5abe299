package channel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// both runs a test on both ways of reading.
func both(t *testing.T, test func(t *testing.T, peek bool)) {
	t.Run("stream", func(t *testing.T) { noLeak(t); test(t, false) })
	t.Run("peek", func(t *testing.T) { noLeak(t); test(t, true) })
}

func TestSplit(t *testing.T) {
	both(t, func(t *testing.T, peek bool) {
		ours, theirs := rawPair(t)
		c := open(t, ours, Options{Peek: peek})
		closing(t, theirs)
		write(t, theirs, "1\n2\n{\"a\"")
		want(t, c, "1")
		want(t, c, "2")
		for _, part := range []string{":", "3}\n\n", "\n4\n", "\n"} {
			write(t, theirs, part)
		}
		want(t, c, `{"a":3}`)
		want(t, c, "4")
		write(t, theirs, "5")
		if err := unix.Shutdown(theirs, unix.SHUT_WR); err != nil {
			t.Fatal(err)
		}
		wantEnd(t, c, io.EOF)
		if c.Skipped() != 3 {
			t.Errorf("%d empty lines", c.Skipped())
		}
	})
}

// What the other side has sent is received though it ended by a reset, that is
// with something unread.
func TestReset(t *testing.T) {
	both(t, func(t *testing.T, peek bool) {
		a, b := pair(t, Options{}, Options{Peek: peek})
		send(t, b, "unread")
		send(t, a, "1")
		send(t, a, "2")
		a.Close()
		want(t, b, "1")
		want(t, b, "2")
		wantEnd(t, b, io.EOF)
	})
}

func TestFrameMax(t *testing.T) {
	both(t, func(t *testing.T, peek bool) {
		for _, limit := range []int{1, 10, 5000, 100_000} {
			a, b := pair(t, Options{}, Options{Peek: peek, FrameMax: limit})
			fits := strings.Repeat("x", limit)
			send(t, a, fits)
			want(t, b, fits)
			send(t, a, fits+"x")
			wantEnd(t, b, ErrFrameTooLong)
			a.Close()
			b.Close()
		}
	})
}

// A line without end is not kept in memory beyond the limit.
func TestEndlessLine(t *testing.T) {
	both(t, func(t *testing.T, peek bool) {
		const limit = 1 << 20
		ours, theirs := rawPair(t)
		c := open(t, ours, Options{Peek: peek, FrameMax: limit})
		sent := make(chan int)
		if err := unix.SetNonblock(theirs, false); err != nil {
			t.Fatal(err)
		}
		go func() {
			part, n := make([]byte, 10_000), 0
			for {
				m, err := unix.SendmsgN(theirs, part, nil, nil, unix.MSG_NOSIGNAL)
				if err != nil {
					sent <- n
					return
				}
				n += m
			}
		}()
		wantEnd(t, c, ErrFrameTooLong)
		c.Close()
		if n := <-sent; n > 3*limit {
			t.Errorf("%d bytes were taken", n)
		}
		unix.Close(theirs)
	})
}

func TestDescriptors(t *testing.T) {
	both(t, func(t *testing.T, peek bool) {
		ours, theirs := rawPair(t)
		c := open(t, ours, Options{Peek: peek})
		closing(t, theirs)
		var files []int
		for i := range 6 {
			files = append(files, closing(t, named(t, fmt.Sprint(i))))
		}
		many := make([]int, FDsMax)
		long := strings.Repeat("x", 150_000)
		write(t, theirs, "a\nb") // the rest of a frame, and more, before a buffer with descriptors
		write(t, theirs, "c\nd\n")
		write(t, theirs, "e\n", files[0])
		write(t, theirs, "f\n", files[1], files[2])
		write(t, theirs, "g\nh\n")
		write(t, theirs, "i", files[3]) // the rest comes later
		write(t, theirs, "j\nk\n")
		write(t, theirs, "\n", files[4]) // an empty line
		write(t, theirs, "l\n", many...)
		write(t, theirs, "m\n")
		write(t, theirs, long+"\n", files[5])
		for _, tt := range []struct {
			text string
			fds  string
		}{
			{"a", ""}, {"bc", ""}, {"d", ""}, {"e", "0"}, {"f", "1 2"}, {"g", ""}, {"h", ""}, {"ij", "3"}, {"k", ""},
		} {
			f := receive(t, c)
			if got := texts(t, f); string(f.Data) != tt.text || !slices.Equal(got, strings.Fields(tt.fds)) {
				t.Errorf("%q with %q, want %q with %s", f.Data, got, tt.text, tt.fds)
			}
		}
		if f := receive(t, c); string(f.Data) != "l" || len(f.FDs) != FDsMax || f.Truncated {
			t.Errorf("%q with %d descriptors", f.Data, len(f.FDs))
		} else {
			closeAll(f.FDs)
		}
		want(t, c, "m")
		if f := receive(t, c); string(f.Data) != long || !slices.Equal(texts(t, f), []string{"5"}) {
			t.Errorf("a long frame with %d descriptors", len(f.FDs))
		}
		if c.Skipped() != 1 {
			t.Errorf("%d empty lines", c.Skipped())
		}
	})
}

// A sender that puts two frames into one sendmsg breaks the protocol: nothing is
// lost, but the last one has the descriptors.
func TestTwoFramesWithDescriptors(t *testing.T) {
	both(t, func(t *testing.T, peek bool) {
		ours, theirs := rawPair(t)
		c := open(t, ours, Options{Peek: peek})
		closing(t, theirs)
		write(t, theirs, "1\n2\n", theirs)
		want(t, c, "1")
		f := receive(t, c)
		closeAll(f.FDs)
		if string(f.Data) != "2" || len(f.FDs) != 1 {
			t.Errorf("%q has %d descriptors", f.Data, len(f.FDs))
		}
	})
}

// Nothing is left open of what nobody received.
func TestDescriptorsNobodyWants(t *testing.T) {
	both(t, func(t *testing.T, peek bool) {
		ours, theirs := rawPair(t)
		c := open(t, ours, Options{Peek: peek})
		write(t, theirs, "1\n", theirs)
		write(t, theirs, "2\n", theirs, theirs)
		write(t, theirs, "begun", theirs)
		want := receive(t, c)
		closeAll(want.FDs)
		unix.Close(theirs)
		f := receive(t, c)
		closeAll(f.FDs)
		c.Close()
	})
	t.Run("torn", func(t *testing.T) {
		noLeak(t)
		ours, theirs := rawPair(t)
		c := open(t, ours, Options{Peek: true})
		write(t, theirs, strings.Repeat("x", 100_000), theirs)
		ctx, stop := context.WithTimeout(context.Background(), time.Millisecond)
		defer stop()
		if _, err := c.Receive(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		unix.Close(theirs)
	})
}

// A process that has too many descriptors open loses some, and is told.
func TestTruncated(t *testing.T) {
	both(t, func(t *testing.T, peek bool) {
		ours, theirs := rawPair(t)
		c := open(t, ours, Options{Peek: peek})
		closing(t, theirs)
		write(t, theirs, "1\n", theirs, theirs, theirs, theirs)
		write(t, theirs, "2\n", theirs)
		write(t, theirs, "3\n")
		lowest, err := unix.Dup(theirs)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(lowest)
		var before unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
			t.Fatal(err)
		}
		limit(t, unix.Rlimit{Cur: uint64(lowest) + 2, Max: before.Max})
		f := receive(t, c)
		if string(f.Data) != "1" || len(f.FDs) > 2 || !f.Truncated {
			t.Errorf("%q with %d descriptors, truncated: %v", f.Data, len(f.FDs), f.Truncated)
		}
		limit(t, before)
		closeAll(f.FDs)
		f = receive(t, c)
		if string(f.Data) != "2" || len(f.FDs) != 1 || f.Truncated {
			t.Errorf("%q with %d descriptors, truncated: %v", f.Data, len(f.FDs), f.Truncated)
		}
		closeAll(f.FDs)
		want(t, c, "3")
	})
}

func limit(t *testing.T, l unix.Rlimit) {
	t.Helper()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
}

// A frame never has more descriptors than FDsMax, however its sender puts them.
func TestDescriptorsOfOneLineAreBounded(t *testing.T) {
	both(t, func(t *testing.T, peek bool) {
		ours, theirs := rawPair(t)
		c := open(t, ours, Options{Peek: peek})
		closing(t, theirs)
		many := make([]int, 100)
		for range 5 {
			write(t, theirs, "x", many...)
		}
		write(t, theirs, "\n")
		f := receive(t, c)
		closeAll(f.FDs)
		if string(f.Data) != "xxxxx" || len(f.FDs) != FDsMax || !f.Truncated {
			t.Errorf("%q with %d descriptors, truncated: %v", f.Data, len(f.FDs), f.Truncated)
		}
	})
}

func TestReceiveContext(t *testing.T) {
	both(t, func(t *testing.T, peek bool) {
		a, b := pair(t, Options{}, Options{Peek: peek})
		ended, end := context.WithCancel(context.Background())
		end()
		if _, err := b.Receive(ended); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		for i := range 50 {
			ctx, stop := context.WithCancel(context.Background())
			got := make(chan error)
			go func() { _, err := b.Receive(ctx); got <- err }()
			stop()
			if err := <-got; !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			text := fmt.Sprint(i)
			send(t, a, text)
			want(t, b, text)
		}
	})
}

func TestCloseWakesReceive(t *testing.T) {
	both(t, func(t *testing.T, peek bool) {
		_, b := pair(t, Options{}, Options{Peek: peek})
		got := make(chan error)
		go func() { _, err := b.Receive(context.Background()); got <- err }()
		go b.Close()
		if err := <-got; !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		wantEnd(t, b, ErrClosed)
	})
}

// Descriptors that are no stream socket fail, and are closed.
func TestOpenStrange(t *testing.T) {
	noLeak(t)
	a := Open(named(t, "x"), Options{})
	if err := a.Send([]byte("1")); !errors.Is(err, unix.ENOTSOCK) {
		t.Error(err)
	}
	if _, err := a.Receive(within(t)); !errors.Is(err, unix.ENOTSOCK) {
		t.Error(err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	for _, fd := range []int{-1, 1 << 20} {
		b := Open(fd, Options{})
		if err := b.Send([]byte("1")); err == nil {
			t.Error("sent")
		}
		if _, err := b.Receive(within(t)); err == nil {
			t.Error("received")
		}
		b.Close()
	}
}

// A copy of this end goes on after it, and neither becomes blocking.
func TestLend(t *testing.T) {
	noLeak(t)
	a, b := pair(t, Options{}, Options{Peek: true})
	copied := -1
	if err := b.Lend(func(f *os.File) (err error) {
		copied, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if flags, err := unix.FcntlInt(uintptr(copied), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("flags %x, %v", flags, err)
	}
	send(t, a, "1")
	send(t, a, "2")
	want(t, b, "1")
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	successor := open(t, copied, Options{Peek: true})
	want(t, successor, "1") // nobody came for the next one
	want(t, successor, "2")
	if err := b.Lend(func(*os.File) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	a.Close()
	wantEnd(t, successor, io.EOF)
}

// A long line does not keep its memory.
func TestMemoryIsGivenBack(t *testing.T) {
	both(t, func(t *testing.T, peek bool) {
		a, b := pair(t, Options{}, Options{Peek: peek})
		send(t, a, strings.Repeat("x", 1<<20))
		if f := receive(t, b); len(f.Data) != 1<<20 {
			t.Errorf("%d bytes", len(f.Data))
		}
		if n := cap(b.in.buf); n > readMax {
			t.Errorf("%d bytes are kept", n)
		}
	})
}
