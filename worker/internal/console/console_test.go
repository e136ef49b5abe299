package console

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/muster-run/muster/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// text is a fmt.Stringer.
type text string

func (t text) String() string { return string(t) }

func program() Program {
	return Program{
		Name: "web#0",
		Commands: func() []Command {
			return []Command{{Name: "greet", Pattern: "NAME", Help: "greets"}, {Name: "fail"}, {Name: "panic"}, {Name: "json"}, {Name: "odd"}, {Name: "nothing"}}
		},
		Run: func(_ context.Context, c Command, words []string) (any, error) {
			switch c.Name {
			case "greet":
				return "hi " + strings.Join(words, "+"), nil
			case "fail":
				return nil, errors.New("no milk")
			case "panic":
				panic("spilled")
			case "json":
				return map[string]int{"n": len(words)}, nil
			case "odd":
				return make(chan int), nil
			}
			return nil, nil
		},
		Vars: func(show func(string, fmt.Stringer)) { show("hits", text("7")) },
	}
}

func opened(t *testing.T, dir string, port int) *Console {
	t.Helper()
	c, err := Open(dir, port, program())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// typist is somebody at the console.
type typist struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func dial(t *testing.T, network, address string) *typist {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	return &typist{t, c, bufio.NewReader(c)}
}

// prompt reads up to the next prompt, and gives what stood before it.
func (y *typist) prompt() string {
	y.t.Helper()
	var got strings.Builder
	for !strings.HasSuffix(got.String(), "web#0> ") {
		b, err := y.in.ReadByte()
		if err != nil {
			y.t.Fatalf("%v after %q", err, got.String())
		}
		got.WriteByte(b)
	}
	return strings.TrimSuffix(got.String(), "web#0> ")
}

func (y *typist) types(line string) string {
	y.t.Helper()
	if _, err := io.WriteString(y.conn, line+"\n"); err != nil {
		y.t.Fatal(err)
	}
	return y.prompt()
}

// over says that the other side has closed.
func (y *typist) over() bool {
	rest, err := io.ReadAll(y.in)
	return len(rest) == 0 && !errors.Is(err, os.ErrDeadlineExceeded)
}

func TestCommands(t *testing.T) {
	c := opened(t, t.TempDir(), 0)
	y := dial(t, "unix", c.Path())
	if greeting := y.prompt(); !strings.HasPrefix(greeting, "web#0, pid ") {
		t.Error(greeting)
	}
	for line, want := range map[string]string{
		"":               "",
		"  ":             "",
		"greet bob  eve": "hi bob+eve\n",
		"fail":           "no milk\n",
		"panic":          "panic has panicked: spilled\n",
		"json a b":       "{\n  \"n\": 2\n}\n",
		"nothing":        "",
		"none":           "there is no \"none\" here: help lists the commands\n",
		"vars":           "hits 7\n",
	} {
		if got := y.types(line); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
	for line, part := range map[string]string{
		"help": "greet NAME   greets", "goroutines": "console.(*Console).accept", "heap": "in use", "gc": "MiB now",
		"metrics": "/sched/goroutines:goroutines ", "version": "go1.", "odd": "0x",
	} {
		if got := y.types(line); !strings.Contains(got, part) {
			t.Errorf("%q: %.400q, want %q in it", line, got, part)
		}
	}
	if _, err := io.WriteString(y.conn, "quit\n"); err != nil || !y.over() {
		t.Error("it goes on after quit", err)
	}
	without := program()
	without.Vars = nil
	var out strings.Builder
	vars(&out, without)
	if !strings.Contains(out.String(), "Options.Vars") {
		t.Error(out.String())
	}
}

// S0.12: the owner's alone, and nothing is left of it.
func TestSocket(t *testing.T) {
	dir := t.TempDir()
	c := opened(t, dir, 0)
	info, err := os.Stat(c.Path())
	if err != nil || info.Mode().Perm() != 0o600 || filepath.Dir(c.Path()) != dir {
		t.Errorf("%s: %v, %v", c.Path(), info.Mode(), err)
	}
	y := dial(t, "unix", c.Path())
	y.prompt()
	c.Close()
	c.Close()
	if !y.over() {
		t.Error("it goes on after Close")
	}
	if _, err := os.Stat(c.Path()); !os.IsNotExist(err) {
		t.Error("the socket is still there", err)
	}
	if mayLook(os.Geteuid()+1) || !mayLook(os.Geteuid()) || !mayLook(0) {
		t.Error("who may look")
	}
	if address, token := c.Address(); address != "" || token != "" {
		t.Error(address, token)
	}
}

// A port asks for the token first, and is on loopback only.
func TestPort(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	_, err = Open("", port, program())
	if fault.CodeOf(err) != fault.ConsoleFailed {
		t.Error("on a port in use:", err)
	}
	free.Close()
	c := opened(t, "", port)
	address, token := c.Address()
	if address != fmt.Sprint("127.0.0.1:", port) || len(token) < 20 || c.Path() != "" {
		t.Error(address, token, c.Path())
	}
	for _, wrong := range []string{"\n", "help\n", token[1:] + "\n", token + "x\n"} {
		y := dial(t, "tcp", address)
		if _, err := io.WriteString(y.conn, wrong); err != nil || !y.over() {
			t.Errorf("%q was let in (%v)", wrong, err)
		}
	}
	y := dial(t, "tcp", address)
	if got := y.types(token); !strings.HasPrefix(got, "web#0, pid") {
		t.Error(got)
	}
	if got := y.types("greet bob"); got != "hi bob\n" {
		t.Error(got)
	}
}

func TestNoPlace(t *testing.T) {
	for _, dir := range []string{"", filepath.Join(t.TempDir(), "none"), filepath.Join(t.TempDir(), strings.Repeat("x", 100))} {
		_, err := Open(dir, 0, program())
		if fault.CodeOf(err) != fault.ConsoleFailed {
			t.Errorf("%q: %v", dir, err)
		}
	}
}

// Few at a time, and no endless lines.
func TestBounds(t *testing.T) {
	c := opened(t, t.TempDir(), 0)
	first := dial(t, "unix", c.Path())
	first.prompt()
	for range connsMax - 1 {
		dial(t, "unix", c.Path()).prompt()
	}
	if !dial(t, "unix", c.Path()).over() {
		t.Error("one too many was let in")
	}
	if _, err := io.WriteString(first.conn, strings.Repeat("x", lineMax+1)); err == nil && !first.over() {
		t.Error("an endless line was read")
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		y := dial(t, "unix", c.Path())
		_ = y.conn.SetReadDeadline(deadline)
		if _, err := y.in.Peek(1); err == nil {
			break // there is room again
		}
		if time.Now().After(deadline) {
			t.Fatal("no room again")
		}
	}
}
