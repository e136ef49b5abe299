package output

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// daemon is a datagram socket in the place of journald's or syslog's.
type daemon struct{ *net.UnixConn }

func listen(t *testing.T, path string) daemon {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return daemon{c}
}

// next receives one datagram, or the memory file that came in its place.
func (d daemon) next(t *testing.T) string {
	t.Helper()
	d.SetReadDeadline(time.Now().Add(10 * time.Second))
	b, oob := make([]byte, 1<<20), make([]byte, 128)
	n, oobn, _, _, err := d.ReadMsgUnix(b, oob)
	if err != nil {
		t.Fatal(err)
	}
	if oobn == 0 {
		return string(b[:n])
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		t.Fatal(err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[0]), "memory")
	defer f.Close()
	if seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0); err != nil || seals&unix.F_SEAL_WRITE == 0 {
		t.Error("not sealed:", seals, err)
	}
	info, _ := f.Stat()
	all := make([]byte, info.Size())
	if _, err := f.ReadAt(all, 0); err != nil {
		t.Fatal(err)
	}
	return string(all)
}

// fields parses journald's protocol.
func fields(t *testing.T, text string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for text != "" {
		i := strings.IndexAny(text, "=\n")
		name, sep := text[:i], text[i]
		text = text[i+1:]
		n := strings.IndexByte(text, '\n')
		if sep == '\n' {
			n = int(binary.LittleEndian.Uint64([]byte(text)))
			text = text[8:]
		}
		out[name] = text[:n]
		if text[n] != '\n' {
			t.Fatal("no newline after", name)
		}
		text = text[n+1:]
	}
	return out
}

func TestJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	d := listen(t, path)
	l := open(t, Options{App: "web", JournalSocket: path, Log: spec.Log{Target: spec.LogJournald, Lines: 10}})
	s := newScript()
	a := l.Attach(t.Context(), Worker{Slot: 2, PID: 4711}, s, nil)
	s.out("hello = world\n")
	s.err("oops\n")
	want := map[string]string{
		"MESSAGE": "hello = world", "PRIORITY": "6", "SYSLOG_IDENTIFIER": "web", "SYSLOG_PID": "4711",
		"MUSTER_APP": "web", "MUSTER_WORKER": "web#2", "MUSTER_STREAM": "stdout",
	}
	if diff := cmp.Diff(want, fields(t, d.next(t))); diff != "" {
		t.Error(diff)
	}
	want["MESSAGE"], want["PRIORITY"], want["MUSTER_STREAM"] = "oops", "3", "stderr"
	if diff := cmp.Diff(want, fields(t, d.next(t))); diff != "" {
		t.Error(diff)
	}
	s.end()
	done(t, a)
	if g, c, _ := s.state(); g != c {
		t.Error("not committed")
	}
	if got := lines(tail(t, l, Filter{}, 5)); !cmp.Equal(got, []string{"hello = world", "oops"}) {
		t.Error(got)
	}
}

func TestJournalLargeLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	d := listen(t, path)
	l := open(t, Options{App: "web", JournalSocket: path, Log: spec.Log{Target: spec.LogJournald, LineMax: 4 << 20}, Warn: func(f *fault.Fault) { t.Log(f) }})
	s := newScript()
	a := l.Attach(t.Context(), Worker{}, s, nil)
	s.out(strings.Repeat("x", 3<<20) + "\n")
	s.end()
	if got := fields(t, d.next(t)); len(got["MESSAGE"]) != 3<<20 || got["MUSTER_WORKER"] != "web#0" {
		t.Error(len(got["MESSAGE"]))
	}
	done(t, a)
}

func TestJournalNewline(t *testing.T) {
	r := api.Record{Slot: 1, Stream: stdout, Line: "two\nlines", Cut: true}
	got := fields(t, string(appendJournal(nil, "web", &r)))
	if got["MESSAGE"] != "two\nlines" || got["MUSTER_CUT"] != "1" {
		t.Error(got)
	}
}

func TestSyslog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	d := listen(t, path)
	l := open(t, Options{App: "web", SyslogSocket: path, Log: spec.Log{Target: spec.LogSyslog, LineMax: 64 << 10}})
	s := newScript()
	a := l.Attach(t.Context(), Worker{Slot: 2, PID: 4711}, s, nil)
	s.out("hello\n")
	s.err(strings.Repeat("y", 20_000) + "\n")
	s.end()
	got := d.next(t)
	stamp := time.Now().Format(time.Stamp)
	if got[:4] != "<30>" || got[4+len(stamp):] != " web[4711]: hello" {
		t.Errorf("%q", got)
	}
	if _, err := time.Parse(time.Stamp, got[4:4+len(stamp)]); err != nil {
		t.Error(err)
	}
	total := 0
	for total < 20_000 {
		got := d.next(t)
		if got[:4] != "<27>" {
			t.Errorf("%q", got[:20])
		}
		total += strings.Count(got, "y")
	}
	if total != 20_000 {
		t.Error(total)
	}
	done(t, a)
}

// TestDaemonAbsentAndRestarted: nothing waits for it, nothing is lost.
func TestDaemonAbsentAndRestarted(t *testing.T) {
	var warned faults
	path := filepath.Join(t.TempDir(), "log")
	l := open(t, Options{App: "web", SyslogSocket: path, Warn: warned.add, Log: spec.Log{Target: spec.LogSyslog, Lines: 10}})
	s := newScript()
	a := l.Attach(t.Context(), Worker{}, s, nil)
	s.out("0\n")
	waitFor(t, "the warning", func() bool { return warned.len() == 1 })
	if f := warned.all()[0]; f.Code != fault.LogWrite {
		t.Error(f)
	}
	for i := range 3 {
		d := listen(t, path)
		if got := d.next(t); !strings.HasSuffix(got, fmt.Sprint(": ", i)) {
			t.Errorf("%q", got)
		}
		d.Close()
		os.Remove(path)
		s.out(strconv.Itoa(i+1) + "\n")
	}
	s.end()
	d := listen(t, path)
	if got := d.next(t); !strings.HasSuffix(got, ": 3") {
		t.Errorf("%q", got)
	}
	done(t, a)
}

// TestDaemonThatDoesNotRead: workers go on, memory is bounded.
func TestDaemonThatDoesNotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	d := listen(t, path)
	l := open(t, Options{App: "web", SyslogSocket: path, Log: spec.Log{Target: spec.LogSyslog, Lines: 10}})
	s := newScript()
	a := l.Attach(t.Context(), Worker{}, s, nil)
	for i := range 100 {
		s.out(numbered("line", i*1000, (i+1)*1000))
	}
	s.end()
	done(t, a)
	if c := l.Counts(); c.Stdout != 100_000 || c.Lost == 0 {
		t.Errorf("%+v", c)
	}
	d.Close()
	if err := l.Close(); fault.CodeOf(err) != fault.LogWrite {
		t.Error(err)
	}
}
