package channel

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// left is what is in a socket.
func left(t *testing.T, fd int) string {
	t.Helper()
	p := make([]byte, 1<<20)
	n, _, err := unix.Recvfrom(fd, p, unix.MSG_PEEK|unix.MSG_DONTWAIT)
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		t.Fatal(err)
	}
	return string(p[:max(n, 0)])
}

// A line stays in the socket until the receiver comes for the next one, unless it
// has descriptors.
func TestPeekKeeps(t *testing.T) {
	noLeak(t)
	ours, theirs := rawPair(t)
	c := open(t, ours, Options{Peek: true})
	closing(t, theirs)
	write(t, theirs, "1\n2\n")
	want(t, c, "1")
	if got := left(t, ours); got != "1\n2\n" {
		t.Errorf("%q is left", got)
	}
	want(t, c, "2")
	if got := left(t, ours); got != "2\n" {
		t.Errorf("%q is left", got)
	}
	write(t, theirs, "3\n", theirs)
	f := receive(t, c)
	closeAll(f.FDs)
	if got := left(t, ours); got != "" || len(f.FDs) != 1 {
		t.Errorf("%q is left", got)
	}
	write(t, theirs, "4\n\n\n")
	want(t, c, "4")
	ctx, stop := context.WithCancel(context.Background())
	got := make(chan error)
	go func() { _, err := c.Receive(ctx); got <- err }()
	eventually(t, "what is dealt with leaves the socket", func() bool { return left(t, ours) == "" })
	stop()
	if err := <-got; !errors.Is(err, context.Canceled) || c.Skipped() != 2 {
		t.Error(err, c.Skipped())
	}
}

// The lines before a buffer with descriptors are as safe as others.
func TestPeekBeforeDescriptors(t *testing.T) {
	noLeak(t)
	ours, theirs := rawPair(t)
	c := open(t, ours, Options{Peek: true})
	closing(t, theirs)
	write(t, theirs, "1\n2\n")
	write(t, theirs, "3\n", theirs)
	write(t, theirs, "4\n")
	want(t, c, "1")
	want(t, c, "2")
	if got := left(t, ours); !strings.HasPrefix(got, "2\n") {
		t.Errorf("%q is left", got)
	}
	f := receive(t, c)
	closeAll(f.FDs)
	if got := left(t, ours); got != "4\n" || string(f.Data) != "3" || len(f.FDs) != 1 {
		t.Errorf("%q with %d descriptors, %q is left", f.Data, len(f.FDs), got)
	}
	want(t, c, "4")
}

// A line that is too long for the socket, or never fits because its sender puts
// it there byte by byte, is taken out in pieces, and what is behind it is not.
func TestPieces(t *testing.T) {
	for _, part := range []int{1, 100, 300_000} {
		noLeak(t)
		ours, theirs := rawPair(t)
		var m marks
		c := open(t, ours, Options{Peek: true, Torn: m.told})
		text := strings.Repeat("x", min(part*3000, 1<<20))
		go func() {
			defer unix.Close(theirs)
			_ = unix.SetNonblock(theirs, false)
			for rest := text + "\nnext\n"; rest != ""; {
				n, err := unix.SendmsgN(theirs, []byte(rest[:min(part, len(rest))]), nil, nil, unix.MSG_NOSIGNAL)
				if err != nil {
					t.Error(err)
					return
				}
				rest = rest[n:]
			}
		}()
		want(t, c, text)
		if got := m.String(); got != "true false" {
			t.Errorf("parts of %d: marks %s", part, got)
		}
		want(t, c, "next")
		if got := left(t, ours); !strings.HasPrefix("next\n", got) || part > 1 && got != "next\n" {
			t.Errorf("parts of %d: %q is left", part, got)
		}
		wantEnd(t, c, io.EOF)
		if got := m.String(); part > 1 && got != "true false" {
			t.Errorf("parts of %d: marks %s", part, got)
		}
		c.Close()
	}
}

// A line of a slow sender stays whole in the socket when it comes in time.
func TestSlowLine(t *testing.T) {
	noLeak(t)
	ours, theirs := rawPair(t)
	var m marks
	c := open(t, ours, Options{Peek: true, Torn: m.told})
	closing(t, theirs)
	text := strings.Repeat("x", 50_000)
	write(t, theirs, text[:10])
	got := make(chan Frame)
	go func() { got <- receive(t, c) }()
	eventually(t, "the receiver waits", func() bool {
		frames := unix.PollFd{Fd: int32(theirs), Events: unix.POLLOUT}
		n, err := unix.Poll([]unix.PollFd{frames}, 0)
		return n == 1 && err == nil
	})
	write(t, theirs, text[10:]+"\n")
	if f := <-got; string(f.Data) != text {
		t.Errorf("%d bytes", len(f.Data))
	}
	// On a busy machine the rest may have come too late; then it was torn, and mended.
	if marks := m.String(); marks != "" && marks != "true false" {
		t.Errorf("marks %s", marks)
	}
}

// The end in the middle of a line takes the mark away: nobody will read what follows.
func TestEndWhileTorn(t *testing.T) {
	noLeak(t)
	ours, theirs := rawPair(t)
	var m marks
	c := open(t, ours, Options{Peek: true, Torn: m.told})
	write(t, theirs, strings.Repeat("x", 100_000))
	unix.Close(theirs)
	wantEnd(t, c, io.EOF)
	if got := m.String(); got != "true false" {
		t.Errorf("marks %s", got)
	}
	c.Close()
}

// Both directions have one mark between them.
func TestMarkOfBothDirections(t *testing.T) {
	noLeak(t)
	ours, theirs := rawPair(t)
	var m marks
	c := open(t, ours, Options{Peek: true, Torn: m.told})
	closing(t, theirs)
	send(t, c, strings.Repeat("x", 1<<20)) // half of it waits
	long := strings.Repeat("y", 100_000)
	write(t, theirs, long+"\n")
	want(t, c, long)
	if got := m.String(); got != "true" {
		t.Errorf("marks %s", got)
	}
	p := make([]byte, 1<<20)
	eventually(t, "the mark goes", func() bool {
		_, err := unix.Read(theirs, p)
		return m.String() == "true false" && errors.Is(err, unix.EAGAIN)
	})
}

// playReader receives from 3 and writes what it got to 4 until it is killed.
func playReader() {
	report := os.NewFile(4, "report")
	say := func(format string, args ...any) {
		if _, err := fmt.Fprintf(report, format, args...); err != nil {
			os.Exit(1)
		}
	}
	c := Open(3, Options{Peek: true, Torn: func(torn bool) { say("torn %v\n", torn) }})
	for {
		f, err := c.Receive(context.Background())
		if err != nil {
			say("end %v\n", err)
			return
		}
		whole := strings.HasSuffix(string(f.Data), "!") && strings.Count(string(f.Data), "!") == 1
		number, _, _ := strings.Cut(string(f.Data), " ")
		say("%s %v %d\n", number, whole, len(f.FDs))
		closeAll(f.FDs)
	}
}

// reader is a process that receives from one end of a channel.
type reader struct {
	*child
	reports *bufio.Scanner
}

func startReader(t *testing.T, fd int) *reader {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	defer w.Close()
	c := start(t, []string{roleEnv + "=reader"}, []int{fd, int(w.Fd())}, os.Args[0])
	return &reader{c, bufio.NewScanner(r)}
}

// end kills it and returns what else it had reported.
func (r *reader) end() (reports []string) {
	r.kill()
	for r.reports.Scan() {
		reports = append(reports, r.reports.Text())
	}
	r.wait()
	return reports
}

// rest is what it reports until it has received the end.
func (r *reader) rest() (reports []string) {
	for r.reports.Scan() && r.reports.Text() != "end EOF" {
		reports = append(reports, r.reports.Text())
	}
	return reports
}

// some is a few reports; how many, chance decides.
func (r *reader) some(t *testing.T) (reports []string) {
	t.Helper()
	for range 1 + rand.IntN(200) {
		if !r.reports.Scan() {
			t.Fatal("the reader ended by itself")
		}
		reports = append(reports, r.reports.Text())
	}
	timer := time.NewTimer(rand.N(2 * time.Millisecond)) // not where a report is being written
	defer timer.Stop()
	<-timer.C
	return reports
}

// numbered is what frame i of TestKilledReader looks like.
func numbered(i int) string { return fmt.Sprint(i, " ", strings.Repeat("x", i*131%30_000), "!") }

// withFD are the frames that carry a descriptor.
func withFD(i int) bool { return i%7 == 0 }

// Readers of one channel are killed at random. Each successor begins with a whole
// line; all lines are received, in order; only the one that a reader had in hand
// when it was killed comes again, or is lost if it had a descriptor.
func TestKilledReader(t *testing.T) {
	noLeak(t)
	ours, theirs := rawPair(t)
	closing(t, ours)
	a := open(t, theirs, Options{})
	stop, stopped := make(chan struct{}), make(chan int, 1)
	go func() { defer close(stopped); stopped <- sendNumbered(t, a, stop) }()
	defer func() { a.Close(); <-stopped }()
	last, doubled, lost := 0, 0, 0
	check := func(reports []string) {
		for i, line := range reports {
			n, fds := parseReport(t, line)
			switch {
			case n == last+1:
			case i == 0 && n == last && !withFD(n):
				doubled++
			case i == 0 && n == last+2 && withFD(last+1):
				lost++
			default:
				t.Fatalf("%d after %d (report %d)", n, last, i)
			}
			if withFD(n) != (fds == 1) {
				t.Fatalf("%d has %d descriptors", n, fds)
			}
			last = n
		}
	}
	const kills = 30
	for range kills {
		r := startReader(t, ours)
		check(append(r.some(t), r.end()...))
	}
	close(stop)
	r := startReader(t, ours)
	rest := make(chan []string)
	go func() { rest <- r.rest() }() // until the sender has gone and all is received
	all := <-stopped
	a.Close()
	check(<-rest)
	r.wait()
	t.Logf("%d frames, %d kills: %d doubled, %d lost", all, kills, doubled, lost)
	if last != all {
		t.Errorf("the last one was %d of %d", last, all)
	}
}

func parseReport(t *testing.T, line string) (n, fds int) {
	t.Helper()
	var whole bool
	if _, err := fmt.Sscan(line, &n, &whole, &fds); err != nil || !whole {
		t.Fatalf("the reader says %q: %v", line, err)
	}
	return n, fds
}

// sendNumbered keeps the channel busy, and returns how many frames it has sent.
func sendNumbered(t *testing.T, a *Conn, stop chan struct{}) int {
	for i := 1; ; i++ {
		var fds []int
		if withFD(i) {
			fds = []int{0}
		}
		if err := a.Send([]byte(numbered(i)), fds...); err != nil {
			t.Error(err)
			return i
		}
		if n, _ := a.Waiting(); n < 100 {
			continue
		}
		if err := a.Flush(within(t)); err != nil {
			t.Error(err)
		}
		select {
		case <-stop:
			return i
		default:
		}
	}
}

// A reader that is killed within a long line leaves the mark; otherwise the next
// one begins with a whole line.
func TestKilledWithinLongLines(t *testing.T) {
	noLeak(t)
	const channels = 15
	torn := 0
	for range channels {
		if longLines(t) {
			torn++
		}
	}
	t.Logf("%d of %d were killed within a line", torn, channels)
}

// longLines kills readers of one channel until one leaves the mark, or five do not.
func longLines(t *testing.T) (torn bool) {
	ours, theirs := rawPair(t)
	defer unix.Close(ours)
	a := Open(theirs, Options{})
	sent := make(chan struct{})
	defer func() { a.Close(); <-sent }()
	go func() {
		defer close(sent)
		for i := 1; a.Send([]byte(fmt.Sprint(i, " ", strings.Repeat("x", 200_000), "!"))) == nil; i++ {
			if n, _ := a.Waiting(); n > 3 && a.Flush(context.Background()) != nil {
				return
			}
		}
	}()
	last := 0
	for range 5 {
		mark := ""
		for _, line := range someLines(t, ours) {
			if strings.HasPrefix(line, "torn") {
				mark = line
			} else {
				last, _ = parseReport(t, line)
			}
		}
		if mark == "torn true" {
			return true // the worker would be replaced
		}
		text := ""
		eventually(t, "the channel is filled again", func() bool { text = left(t, ours); return text != "" })
		var next int // the one in hand may be lost
		if _, err := fmt.Sscanf(text, "%d x", &next); err != nil || next < last+1 || next > last+2 {
			t.Fatalf("after %d is left %.20q: %v", last, text, err)
		}
		last = next - 1
	}
	return false
}

// someLines is what a reader reports until it is killed, at random.
func someLines(t *testing.T, fd int) (reports []string) {
	t.Helper()
	r := startReader(t, fd)
	for range 1 + rand.IntN(20) {
		if !r.reports.Scan() {
			t.Fatal("the reader ended by itself")
		}
		reports = append(reports, r.reports.Text())
	}
	return append(reports, r.end()...)
}

// Whoever drives a Conn and looks while it is being closed is told: nothing else
// would come later.
func TestDrivenClosing(t *testing.T) {
	ours, theirs, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll([]int{theirs})
	c := Open(ours, Options{Peek: true, Driven: true})
	var seen error
	err = c.Attach(func(int) error { return nil }, func(int) { _, _, seen = c.Next() })
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(seen, ErrClosed) {
		t.Errorf("Next said %v while it was closed", seen)
	}
}
