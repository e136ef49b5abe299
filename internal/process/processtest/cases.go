package processtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process"
)

// startFails: every way to fail has a code, and wraps the system's error.
func startFails(t *testing.T, b *bench) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cases := []struct {
		name  string
		c     process.Command
		code  fault.Code
		errno syscall.Errno
		says  string
	}{
		{"no such name", process.Command{Argv: []string{"no-such-program"}}, fault.CommandNotFound, syscall.ENOENT, "PATH"},
		{"no such path", process.Command{Argv: []string{dir + "/none"}}, fault.CommandNotFound, syscall.ENOENT, "none"},
		{"path through a file", process.Command{Argv: []string{"/etc/passwd/x"}}, fault.CommandNotFound, syscall.ENOTDIR, ""},
		{"empty", process.Command{}, fault.CommandNotFound, syscall.ENOENT, ""},
		{"not executable", process.Command{Argv: []string{write("plain", "x", 0o600)}}, fault.CommandDenied, syscall.EACCES, "permission"},
		{"not executable in PATH", process.Command{Argv: []string{"plain"}, Env: []string{"PATH=" + dir}}, fault.CommandDenied, syscall.EACCES, ""},
		{"a directory", process.Command{Argv: []string{dir}}, fault.CommandDenied, syscall.EACCES, ""},
		{"no program", process.Command{Argv: []string{write("text", "hello\n", 0o700)}}, fault.CommandDenied, syscall.ENOEXEC, "#!"},
		{"no interpreter", process.Command{Argv: []string{write("script", "#!/no/such/python3 -u\n", 0o700)}}, fault.CommandDenied, syscall.ENOENT, "/no/such/python3"},
		{"carriage return", process.Command{Argv: []string{write("dos", "#!/bin/sh\r\n", 0o700)}}, fault.CommandDenied, syscall.ENOENT, "carriage return"},
		{"no dir", process.Command{Argv: []string{"/bin/true"}, Dir: dir + "/gone"}, fault.DirMissing, syscall.ENOENT, "gone"},
		{"dir is a file", process.Command{Argv: []string{"/bin/true"}, Dir: "/etc/passwd"}, fault.DirMissing, syscall.ENOTDIR, ""},
		{"zero byte", process.Command{Argv: []string{"/bin/true", "a\x00b"}}, fault.StartFailed, syscall.EINVAL, ""},
	}
	for i, tc := range cases {
		tc.c.ID = strconv.Itoa(i)
		tc.c.Spool = filepath.Join(dir, "spool"+tc.c.ID)
		if tc.c.Dir == "" {
			tc.c.Dir = "/"
		}
		_, err := b.starter.Start(tc.c)
		var f *fault.Fault
		if !errors.As(err, &f) || f.Code != tc.code || !errors.Is(err, tc.errno) || !strings.Contains(f.Text, tc.says) || f.Fix == "" {
			t.Errorf("%s: %#v (%v)", tc.name, err, err)
		}
		if _, err := os.Stat(tc.c.Spool); err == nil {
			t.Errorf("%s: its spool stays", tc.name)
		}
	}
	if list := b.starter.List(); len(list) != 0 {
		t.Errorf("List is %+v", list)
	}
}

// failThenWork: an ID whose start failed can be started once the cause is gone.
func failThenWork(t *testing.T, b *bench) {
	path := filepath.Join(t.TempDir(), "program")
	c := process.Command{ID: "a", Argv: []string{path}, Dir: "/"}
	if _, err := b.starter.Start(c); fault.CodeOf(err) != fault.CommandNotFound {
		t.Fatalf("%v", err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	b.start("a", c)
	if e := b.exit(); e.Code != 3 {
		t.Errorf("%+v", e)
	}
}

// listenEnv: LISTEN_PID is the final pid, files are at 3 and on, nothing else is open.
func listenEnv(t *testing.T, b *bench) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	extra, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer extra.Close()
	c := Program("env")
	c.Env = append(c.Env, "LISTEN_PID=1", "LISTEN_FDS=9", "LISTEN_FDNAMES=x", process.MarkEnv+"=old:1", "RAW=\xff\xfe")
	c.Files = []process.NamedFD{{Name: "http", File: f}, {Name: "admin", File: f}, {Name: "other", File: extra}}
	c.Listen = 2
	p := b.start("a", c)
	env := strings.Split(b.all(b.output("a")), "\n")
	pid := strconv.Itoa(p.PID)
	for _, want := range []string{
		"LISTEN_PID=" + pid, "LISTEN_FDS=2", "LISTEN_FDNAMES=http:admin", process.MarkEnv + "=a:" + pid, "RAW=\xff\xfe",
	} {
		if !slices.Contains(env, want) {
			t.Errorf("no %q in %q", want, env)
		}
	}
	for _, name := range []string{"LISTEN_PID=", "LISTEN_FDS=", process.MarkEnv + "="} {
		if n := strings.Count("\n"+strings.Join(env, "\n"), "\n"+name); n != 1 {
			t.Errorf("%s is there %d times", name, n)
		}
	}
	c = Program("env")
	c.Env = append(c.Env, "LISTEN_PID=1", "LISTEN_FDS=9")
	b.start("b", c)
	if text := b.all(b.output("b")); strings.Contains(text, "LISTEN_") {
		t.Errorf("stale: %q", text)
	}
}

// outputComplete: what was printed before _exit is there to the last byte.
func outputComplete(t *testing.T, b *bench) {
	const n = 200_000 // #2: 200,000 lines, then _exit
	b.start("a", Program("lines", strconv.Itoa(n)))
	text := b.all(b.output("a"))
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) != n {
		t.Fatalf("%d lines of %d", len(lines), n)
	}
	for i, line := range lines {
		if line != "line "+strconv.Itoa(i) {
			t.Fatalf("line %d is %q", i, line)
		}
	}
	b.exit()
	b.starter.Ack("a")
}

// outputContinue: a second reader starts where the first has committed.
func outputContinue(t *testing.T, b *bench) {
	c := process.Command{Argv: []string{"/bin/sh", "-c", "echo one; read x; echo two; echo three >&2"}, Dir: "/"}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	c.Stdin = r
	b.start("a", c)
	out := b.output("a")
	if got := b.lines(out, 1); got[0] != "one" {
		t.Errorf("%q", got)
	}
	if _, err := b.starter.Output("a"); !errors.Is(err, process.ErrOutputBusy) {
		t.Errorf("a second reader: %v", err)
	}
	if err := Commit(out); err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString("go\n"); err != nil {
		t.Fatal(err)
	}
	if got := b.lines(out, 2); got[0] != "two" && got[1] != "two" {
		t.Errorf("%q", got)
	}
	out.Close() // not committed: read again by the next one
	out = b.output("a")
	streams := map[string]int{}
	for len(streams) < 2 {
		stream, data, at, err := out.Next(t.Context())
		if err != nil || at.IsZero() {
			t.Fatalf("%v %v", at, err)
		}
		streams[string(data)] = stream
	}
	if streams["two\n"] != 1 || streams["three\n"] != 2 {
		t.Errorf("%v", streams)
	}
	b.exit()
	b.starter.Ack("a") // with an open reader: it can still read to the end
	if _, _, _, err := out.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("after the last byte: %v", err)
	}
}

// printed is one answer of Next, and of Where after it.
type printed struct {
	stream  int
	text    string
	skipped int
}

// next reads one chunk and returns its position and that of the next, too.
func (b *bench) next(out process.Output) (p printed, pos, next int64) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	stream, data, _, err := out.Next(ctx)
	if err != nil {
		b.t.Fatalf("output: %v", err)
	}
	pos, next, skipped := out.Where()
	return printed{stream, string(data), skipped}, pos, next
}

// outputPlaces: what is committed of each stream is left out, also for a reader
// that only learns of it.
func outputPlaces(t *testing.T, b *bench) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	b.start("a", process.Command{
		Argv: []string{"/bin/sh", "-c", "printf aaaa; read x; printf bbbb >&2; read x; printf cccc; read x; printf dddd"}, Dir: "/", Stdin: r,
	})
	out := b.output("a")
	expect := func(want ...printed) (pos []int64) {
		t.Helper()
		for _, want := range want {
			got, at, next := b.next(out)
			if got != want || next <= at || len(pos) > 0 && at < pos[len(pos)-1] {
				t.Errorf("%+v at %d to %d, want %+v", got, at, next, want)
			}
			pos = append(pos, at, next)
		}
		return pos
	}
	commit := func(pos int64, skip ...int64) {
		t.Helper()
		if err := out.Commit(pos, [2]int64(skip)); err != nil {
			t.Fatal(err)
		}
	}
	again := func() {
		t.Helper()
		out.Close()
		out = b.output("a")
	}
	pos := expect(printed{1, "aaaa", 0})
	first := pos[0]
	for _, want := range []printed{{2, "bbbb", 0}, {1, "cccc", 0}} {
		if _, err := w.WriteString("go\n"); err != nil {
			t.Fatal(err)
		}
		pos = expect(want)
	}
	third, end := pos[0], pos[1]
	again()
	expect(printed{1, "aaaa", 0}) // nothing is committed
	commit(first, 2, 4)
	commit(first, 1, 1) // before that
	again()
	expect(printed{1, "aa", 2}, printed{2, "", 4}, printed{1, "cccc", 0})
	commit(third, 1, 0)
	commit(first, 4, 4)
	again()
	expect(printed{1, "ccc", 1})
	again()
	commit(end, 0, 0) // beyond what was read
	if _, err := w.WriteString("go\n"); err != nil {
		t.Fatal(err)
	}
	expect(printed{1, "dddd", 0})
	b.exit()
	b.starter.Ack("a")
}

// outputStray: output goes on while a stray lives, and ends with it.
func outputStray(t *testing.T, b *bench) {
	p := b.start("a", Program("daemon", "0"))
	out := b.output("a")
	stray := b.pidLine(out)
	if e := b.exit(); e.Code != 0 {
		t.Errorf("%+v", e)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, _, _, err := out.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while the stray lives: %v", err)
	}
	if members, err := p.Members(); err != nil || !slices.Equal(members, []int{stray}) {
		t.Errorf("members %v, %v; the stray is %d", members, err, stray)
	}
	if n, err := p.SignalRest(syscall.SIGTERM); n != 1 || err != nil {
		t.Errorf("SignalRest: %d, %v", n, err)
	}
	b.all(out)
	gone(t, stray)
}

// killFamily: a TERM-ignoring orphan in its own session is found and killed.
func killFamily(t *testing.T, b *bench) {
	p := b.start("a", Program("family"))
	out := b.output("a")
	lines := b.lines(out, 3) // pid, ignoring, family: in any order
	stray := 0
	for _, line := range lines {
		if pid, err := strconv.Atoi(line); err == nil {
			stray = pid
		}
	}
	members, err := p.Members()
	if err != nil || !slices.Contains(members, stray) || !slices.Contains(members, p.PID) {
		t.Fatalf("members %v, %v; the stray is %d", members, err, stray)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if e := b.exit(); e.Signal != syscall.SIGTERM {
		t.Errorf("%+v", e)
	}
	if n, err := p.SignalRest(syscall.SIGTERM); n != 1 || err != nil {
		t.Errorf("SignalRest: %d, %v", n, err)
	}
	if empty, err := p.Empty(); empty || err != nil {
		t.Errorf("empty %v, %v while the stray ignores TERM", empty, err)
	}
	if left, err := p.Kill(); left != 0 || err != nil {
		t.Errorf("left %d, %v", left, err)
	}
	gone(t, stray)
	if empty, err := p.Empty(); !empty || err != nil {
		t.Errorf("empty %v, %v after Kill", empty, err)
	}
}

// setMain: the exit is then that of the new main process.
func setMain(t *testing.T, b *bench) {
	p := b.start("a", Program("wrap", "sleep"))
	child := b.pidLine(b.output("a"))
	if _, err := b.starter.SetMain("a", os.Getpid()); !errors.Is(err, process.ErrNotMember) {
		t.Errorf("a stranger: %v", err)
	}
	if _, err := b.starter.SetMain("a", 1<<22+1); !errors.Is(err, process.ErrNotMember) {
		t.Errorf("nobody: %v", err)
	}
	q, err := b.starter.SetMain("a", child)
	if err != nil || q.PID != child || q.Leader != p.PID || q.StartTime == 0 {
		t.Fatalf("%+v, %v", q, err)
	}
	if again, err := b.starter.SetMain("a", child); err != nil || again.PID != child {
		t.Errorf("repeated: %+v, %v", again, err)
	}
	if err := q.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if e := b.exit(); e.PID != child || e.ID != "a" {
		t.Errorf("%+v; the new main is %d", e, child)
	}
	if _, err := q.Kill(); err != nil {
		t.Error(err)
	}
	b.starter.Ack("a")
	select {
	case e := <-b.starter.Exits():
		t.Errorf("another exit: %+v", e)
	case <-time.After(50 * time.Millisecond):
	}
}

// setMainExited: a main process that has gone can still be followed by another.
func setMainExited(t *testing.T, b *bench) {
	p := b.start("a", Program("daemon", "0"))
	stray := b.pidLine(b.output("a"))
	b.exit()
	q, err := b.starter.SetMain("a", stray)
	if err != nil || q.PID != stray || q.Exit != nil || q.Leader != p.PID {
		t.Fatalf("%+v, %v", q, err)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil { // the old value acts on the new main
		t.Fatal(err)
	}
	// How it ended is known where orphans come to us.
	if e := b.exit(); e.PID != stray || e.ID != "a" {
		t.Errorf("%+v", e)
	}
	if list := fmt.Sprint(b.starter.List()); !strings.Contains(list, strconv.Itoa(stray)) {
		t.Errorf("List is %s", list)
	}
}
