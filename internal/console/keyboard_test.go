package console

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
)

func TestKeyboard(t *testing.T) {
	for keys, want := range map[string]string{
		"abc":             "abc",
		"é€😀":             "é€😀",
		"a\x03":           "a\x05\x15\r",
		"\x1b[1~\x1bOF":   "\x01\x05",
		"\x1b[1;5C\x1bOA": "\x1b[1;3C\x1b[A",
		"a\xffb\x1a":      "ab",
		"\xc3(":           "(",
	} {
		got, err := io.ReadAll(newKeyboard(strings.NewReader(keys)))
		if err != nil || string(got) != want {
			t.Errorf("%q: %q %v", keys, got, err)
		}
	}
	// A rune may come in parts.
	got, err := io.ReadAll(newKeyboard(iotest.OneByteReader(strings.NewReader("aé€😀b"))))
	if err != nil || string(got) != "aé€😀b" {
		t.Errorf("%q %v", got, err)
	}
	if _, err := newKeyboard(strings.NewReader("a")).Read(nil); err != io.ErrShortBuffer {
		t.Errorf("no room: %v", err)
	}
}

// What is typed after the end of the context is for somebody else.
func TestInput(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	in, done, err := NewInput(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	io.WriteString(w, "a")
	var b [8]byte
	if n, err := in.Read(b[:]); n != 1 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	ended := make(chan error)
	go func() {
		_, err := in.Read(b[:])
		ended <- err
	}()
	cancel()
	if err := <-ended; err != io.EOF {
		t.Errorf("%v", err)
	}
	io.WriteString(w, "b")
	if n, err := in.Read(b[:]); n != 0 || err != io.EOF {
		t.Errorf("%d %v", n, err)
	}
	if n, err := r.Read(b[:]); n != 1 || b[0] != 'b' || err != nil {
		t.Errorf("%d %q %v", n, b[:n], err)
	}
}

// remote is a console as a worker has it: it answers each line, and ends with the input.
func remote(t *testing.T, network, address string) (at string) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		lines := bufio.NewScanner(c)
		for lines.Scan() {
			if lines.Text() == "end" {
				return
			}
			io.WriteString(c, "<"+lines.Text()+">\n")
		}
		io.WriteString(c, "bye\n")
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

func piped(t *testing.T, text string) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, text)
	w.Close()
	t.Cleanup(func() { r.Close() })
	return r
}

func TestJoin(t *testing.T) {
	dir := t.TempDir()
	path := remote(t, "unix", filepath.Join(dir, "c"))
	var out strings.Builder
	if err := Join(t.Context(), api.ConsolePlace{Path: path}, piped(t, "1+1\n2\n"), &out); err != nil || out.String() != "<1+1>\n<2>\nbye\n" {
		t.Errorf("%q %v", &out, err)
	}
	address := remote(t, "tcp", "127.0.0.1:0")
	out.Reset()
	if err := Join(t.Context(), api.ConsolePlace{Address: address, Token: "secret"}, piped(t, "x\n"), &out); err != nil || out.String() != "<secret>\n<x>\nbye\n" {
		t.Errorf("%q %v", &out, err)
	}
	if err := Join(t.Context(), api.ConsolePlace{Path: dir + "/none"}, piped(t, ""), &out); fault.CodeOf(err) != fault.ConsoleFailed {
		t.Errorf("nobody there: %v", err)
	}
}

// The worker ends it, and keys typed afterwards are not swallowed; Ctrl-C leaves.
func TestJoinEnds(t *testing.T) {
	path := remote(t, "unix", filepath.Join(t.TempDir(), "c"))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	io.WriteString(w, "end\n")
	if err := Join(t.Context(), api.ConsolePlace{Path: path}, r, io.Discard); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	io.WriteString(w, "status\n")
	if line, err := bufio.NewReader(r).ReadString('\n'); line != "status\n" || err != nil {
		t.Errorf("%q %v", line, err)
	}
	path = remote(t, "unix", filepath.Join(t.TempDir(), "c"))
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if err := Join(ctx, api.ConsolePlace{Path: path}, r, io.Discard); fault.CodeOf(err) != fault.Interrupted {
		t.Errorf("left: %v", err)
	}
}

// A secret of the application's own commands is not kept.
func TestSecretWordsOfCommands(t *testing.T) {
	d := &desk{commands: []api.Command{{Name: "login", Pattern: "USER PASSWORD"}, {Name: "greet", Pattern: "TO"}}}
	o := d.options()
	o.History = &History{}
	c := newConsole(o)
	for _, line := range []string{"login ann hunter2", "greet ann ", "login"} {
		c.remember(t.Context(), line)
	}
	if got := strings.Join(o.History.lines, "|"); got != "greet ann|login" {
		t.Errorf("kept: %q", got)
	}
}
