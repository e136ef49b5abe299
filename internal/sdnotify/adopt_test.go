package sdnotify

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What a worker says while no agent is there is read by the next one, from the
// same file.
func TestAdopt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n")
	first, err := Listen(path, os.Geteuid())
	if err != nil {
		t.Fatal(err)
	}
	kept, err := first.File()
	if err != nil {
		t.Fatal(err)
	}
	worker := dial(t, first)
	say(t, worker, "STATUS=one")
	if m := next(t, first); m.Status != "one" {
		t.Errorf("%+v", m)
	}
	if err := first.Leave(); err != nil {
		t.Fatal(err)
	}
	if _, open := <-first.Messages(); open {
		t.Error("messages after the end")
	}
	say(t, worker, "STATUS=two")
	say(t, worker, "READY=1")
	second, err := Adopt(kept, path, os.Geteuid())
	if err != nil {
		t.Fatal(err)
	}
	var ready bool
	status := ""
	for !ready {
		m := next(t, second)
		ready = m.Ready
		if m.HasStatus {
			status = m.Status
		}
	}
	if status != "two" {
		t.Errorf("status %q", status)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the file stayed: %v", err)
	}
}

// What is no such socket is refused, and closed.
func TestAdoptOther(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	if s, err := Adopt(f, "/x", 0); err == nil {
		s.Close()
		t.Error("taken for a socket of sd_notify")
	}
	if f.Close() == nil {
		t.Error("left open")
	}
}

// kept is a socket and the copy that a Store would hold.
func kept(t *testing.T) (s *Socket, copied *os.File) {
	t.Helper()
	s, err := Listen(t.TempDir()+"/n", os.Geteuid())
	if err != nil {
		t.Fatal(err)
	}
	if copied, err = s.File(); err != nil {
		t.Fatal(err)
	}
	return s, copied
}

// succeed ends one agent's reading and begins the next one's.
func succeed(t *testing.T, first *Socket, copied *os.File) *Socket {
	t.Helper()
	if err := first.Leave(); err != nil {
		t.Fatal(err)
	}
	second, err := Adopt(copied, first.Path(), os.Geteuid())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { second.Close() })
	return second
}

// What is not dealt with comes again; what is, does not.
func TestDone(t *testing.T) {
	first, copied := kept(t)
	worker := dial(t, first)
	say(t, worker, "MAINPID=1")
	say(t, worker, "MAINPID=2")
	gate := barrier(t, worker, "BARRIER=1")
	fds := openFDs(t)
	m := <-first.Messages()
	if m.MainPID != 1 {
		t.Fatalf("%+v", m)
	}
	m.Done()
	m.Done()
	if m = <-first.Messages(); m.MainPID != 2 {
		t.Fatalf("%+v", m)
	}
	if now := openFDs(t); now != fds {
		t.Errorf("%d descriptors, %d before", now, fds)
	}
	second := succeed(t, first, copied)
	m.Done() // too late, and without effect
	if m := next(t, second); m.MainPID != 2 {
		t.Errorf("%+v", m)
	}
	passed(t, gate)
	say(t, worker, "MAINPID=3")
	if m := next(t, second); m.MainPID != 3 {
		t.Errorf("%+v", m)
	}
}

// A barrier opens once the message before it is dealt with, and not before,
// unless that takes too long.
func TestBarrierWaitsForDone(t *testing.T) {
	s := listen(t)
	worker := dial(t, s)
	for _, done := range []bool{true, false} {
		say(t, worker, "READY=1")
		gate := barrier(t, worker, "BARRIER=1")
		m := <-s.Messages()
		if p := []unix.PollFd{{Fd: int32(gate.Fd()), Events: unix.POLLIN}}; done {
			if n, err := unix.Poll(p, 0); n != 0 {
				t.Errorf("open before the message is dealt with: %v", err)
			}
			m.Done()
		}
		if n, err := unix.Poll([]unix.PollFd{{Fd: int32(gate.Fd()), Events: unix.POLLIN}}, 10_000); n != 1 {
			t.Errorf("stays closed: %v", err)
		}
	}
}

// A message of Parse can be Done, too.
func TestDoneOfNothing(*testing.T) {
	m, _ := Parse("READY=1")
	m.Done()
}

// playReader says what it has received, and deals with it, until it is killed.
func playReader(path string) {
	s, err := Adopt(os.NewFile(3, "notify"), path, os.Geteuid())
	if err != nil {
		fmt.Println(err)
		return
	}
	for m := range s.Messages() {
		fmt.Println(m.MainPID)
		m.Done()
	}
}

// Consumers are killed at random: all messages are received in order, and only the
// one that was in hand comes again.
func TestKilledConsumer(t *testing.T) {
	first, copied := kept(t)
	defer copied.Close()
	path := first.Path()
	worker := dial(t, first)
	if err := first.Leave(); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path)
	const messages, kills = 4000, 20
	var wg sync.WaitGroup
	defer wg.Wait()
	defer worker.Close()
	wg.Go(func() {
		for i := 1; i <= messages; i++ {
			if _, err := fmt.Fprintf(worker, "MAINPID=%d", i); err != nil {
				t.Error(err)
				return
			}
		}
	})
	last, doubled := 0, 0
	for kill := 0; last < messages; kill++ {
		limit := messages
		if kill < kills {
			limit = min(messages, last+1+rand.IntN(messages/kills))
		}
		for i, n := range readUntil(t, copied, path, limit) {
			switch {
			case n == last+1:
				last = n
			case i == 0 && n == last:
				doubled++
			default:
				t.Fatalf("%d after %d (number %d of this consumer)", n, last, i)
			}
		}
	}
	t.Logf("%d of %d were doubled", doubled, messages)
}

// readUntil starts a consumer, kills it soon after it has received a number, and
// returns all that it has received.
func readUntil(t *testing.T, copied *os.File, path string, number int) (got []int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), readerEnv+"="+path)
	cmd.ExtraFiles = []*os.File{copied}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Error(lines.Text())
		}
		if got = append(got, n); n == number {
			_ = cmd.Process.Kill()
		}
	}
	_ = cmd.Wait() // killed
	return got
}
