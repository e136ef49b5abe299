package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/keeper/wire"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/process/processtest"
)

// program is a command of the suite with a spool.
func program(t *testing.T, id, name string, args ...string) process.Command {
	c := processtest.Program(name, args...)
	c.ID, c.Spool = id, t.TempDir()+"/spool"
	return c
}

func start(t *testing.T, c *Client, cmd process.Command) process.Proc {
	t.Helper()
	p, err := c.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func nextExit(t *testing.T, c *Client) process.Exit {
	t.Helper()
	select {
	case e := <-c.Exits():
		return e
	case <-time.After(atMost):
		t.Fatal("no exit came")
		return process.Exit{}
	}
}

// The keeper's end: whoever waits and whoever comes later is told at once.
func TestLost(t *testing.T) {
	ours, theirs, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, process.Options{})
	x := l.server.serve(ours, Hello{}, l.orders)
	c, _, err := Dial(theirs)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := start(t, c, program(t, "a", "sleep"))
	out, err := c.Output("a")
	if err != nil {
		t.Fatal(err)
	}
	waited := make(chan error)
	go func() {
		_, _, _, err := out.Next(t.Context())
		waited <- err
	}()
	until(t, "the reader waits", func() bool {
		x.outs.mu.Lock()
		defer x.outs.mu.Unlock()
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.calls) == 1
	})
	select {
	case <-c.Lost():
		t.Fatal("lost too early")
	default:
	}
	x.close() // as a keeper that is killed
	<-c.Lost()
	if err := <-waited; fault.CodeOf(err) != fault.KeeperLost {
		t.Errorf("a wait that went on: %v", err)
	}
	_, startErr := c.Start(program(t, "b", "sleep"))
	_, mainErr := c.SetMain("a", p.PID)
	_, outputErr := c.Output("a")
	_, getErr := c.Store().Get("x")
	for i, err := range []error{
		startErr, mainErr, outputErr, getErr, c.SetMeta("a", nil), c.SetKillAt("a", time.Now()), c.Up(), c.Notify(""),
		c.Store().Put("x", os.Stdin), c.Upgrade(os.Stdin, nil), c.End(0), out.Commit(1, [2]int64{}),
	} {
		if fault.CodeOf(err) != fault.KeeperLost {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if list := c.List(); len(list) != 1 || list[0].PID != p.PID {
		t.Errorf("what was known: %+v", list)
	}
	if left, err := c.List()[0].Kill(); left != 0 || err != nil {
		t.Errorf("left %d, %v", left, err)
	}
	c.Ack("a")
}

// An agent that leaves by itself is not told that the keeper is gone.
func TestClose(t *testing.T) {
	l := newLab(t, process.Options{})
	c, x := l.dial()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	select {
	case <-c.Lost():
		t.Error("Close is taken for the end of the keeper")
	default:
	}
	if err := errors.Join(c.Up(), c.Close()); !errors.Is(err, process.ErrClosed) {
		t.Errorf("%v", err)
	}
	x.close()
}

// What the agent asked of the root process arrives in order, and signals arrive
// at the agent, also those that came before it said hello.
func TestOrders(t *testing.T) {
	l := newLab(t, process.Options{})
	x, fd := l.attach(Hello{Version: "v7", Agents: 3, Last: "killed by signal SIGKILL", Upgrade: json.RawMessage(`{"ok":true}`), Signals: []int{15}})
	x.forward(syscall.SIGHUP)
	c, h, err := Dial(fd)
	if err != nil {
		t.Fatal(err)
	}
	if h.Version != "v7" || h.Agents != 3 || h.PID != os.Getpid() || h.Protocol != wire.Version || h.Last == "" || string(h.Upgrade) != `{"ok":true}` || !slices.Equal(h.Signals, []int{15}) {
		t.Errorf("%+v", h)
	}
	x.forward(syscall.SIGTTIN)
	for _, want := range []os.Signal{syscall.SIGHUP, syscall.SIGTTIN} {
		select {
		case sig := <-c.Signals():
			if sig != want {
				t.Errorf("%v instead of %v", sig, want)
			}
		case <-time.After(atMost):
			t.Fatalf("no %v", want)
		}
	}
	exe, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	err = errors.Join(c.Up(), c.Upgrade(exe, json.RawMessage(`{"to":"v8"}`)), c.End(7))
	if words := l.orders.words(); err != nil || !slices.Equal(words, []string{"up", "upgrade", "end"}) {
		t.Errorf("%q, %v", words, err)
	}
	if l.orders.code != 7 || string(l.orders.what) != `{"to":"v8"}` {
		t.Errorf("%d %s", l.orders.code, l.orders.what)
	}
	if info, err := l.orders.exe.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		t.Errorf("%v, %v", info, err)
	}
	l.orders.exe.Close()
	c.Close()
	x.close()
}

// sd_notify goes out from the keeper, in order.
func TestNotify(t *testing.T) {
	path := t.TempDir() + "/n"
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", path)
	c, x := newLab(t, process.Options{}).dial()
	defer x.close()
	defer c.Close()
	for i := range 5 {
		if err := c.Notify(fmt.Sprint("STATUS=", i)); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 100)
	for i := range 5 {
		n, err := unix.Read(fd, buf)
		if err != nil || string(buf[:n]) != fmt.Sprint("STATUS=", i) {
			t.Errorf("%q, %v", buf[:n], err)
		}
	}
}

// full makes it impossible to open one more descriptor until the test calls back.
func full(t *testing.T) (restore func()) {
	t.Helper()
	next, err := unix.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(next)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	low := old
	low.Cur = uint64(next)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			t.Fatal(err)
		}
	}
}

// Descriptors that do not fit into a process are missed, and said to be.
func TestTooManyFiles(t *testing.T) {
	l := newLab(t, process.Options{})
	c, x := l.dial()
	defer x.close()
	defer c.Close()
	if err := c.Store().Put("kept", os.Stdin); err != nil {
		t.Fatal(err)
	}
	c.Store().List()
	restore := full(t)
	_, getErr := c.Store().Get("kept")
	putErr := c.Store().Put("refused", os.Stdin)
	names := c.Store().List()
	restore()
	if !errors.Is(getErr, syscall.EMFILE) {
		t.Errorf("get: %v", getErr)
	}
	if putErr != nil || !slices.Equal(names, []string{"kept"}) {
		t.Errorf("put: %v; names %q", putErr, names)
	}
	select {
	case err := <-c.Troubles():
		if !errors.Is(err, syscall.EMFILE) || !strings.Contains(err.Error(), "refused") {
			t.Errorf("trouble: %v", err)
		}
	case <-time.After(atMost):
		t.Error("no trouble was told")
	}
	many := make([]process.NamedFD, wire.FDsMax+1)
	for i := range many {
		many[i] = process.NamedFD{File: os.Stdin}
	}
	cmd := program(t, "many", "exit", "0")
	cmd.Files = many
	if _, err := c.Start(cmd); fault.CodeOf(err) != fault.StartFailed || !errors.Is(err, syscall.EINVAL) {
		t.Errorf("%d files: %v", len(many), err)
	}
	cmd.Files = many[1:]
	start(t, c, cmd)
	if e := nextExit(t, c); e.Code != 0 {
		t.Errorf("%+v", e)
	}
}

// A large record comes back whole, and Take leaves nothing.
func TestStoreRecords(t *testing.T) {
	c, x := newLab(t, process.Options{}).dial()
	defer x.close()
	defer c.Close()
	records := process.Records{Store: c.Store()}
	text := strings.Repeat("0123456789abcdef", 1<<16)
	if err := records.Save("pool/web\xff", []byte(text)); err != nil {
		t.Fatal(err)
	}
	for i := range 3 * wire.ListPart {
		if err := records.Save(fmt.Sprintf("n%03d", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	if names := records.Names("n"); len(names) != 3*wire.ListPart || names[299] != "n299" {
		t.Errorf("%d names", len(names))
	}
	got, err := records.Load("pool/web\xff")
	if err != nil || string(got) != text {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := records.Forget("pool/web\xff"); err != nil {
		t.Error(err)
	}
	if got, err := records.Load("pool/web\xff"); got != nil || err != nil {
		t.Errorf("after Forget: %d bytes, %v", len(got), err)
	}
}

// Every agent is told of an exit until one acknowledges it, and each once.
func TestExitsUntilAck(t *testing.T) {
	l := newLab(t, process.Options{})
	c, x := l.dial()
	p := start(t, c, program(t, "a", "exit", "5"))
	for range 2 {
		if e := nextExit(t, c); e.Code != 5 || e.PID != p.PID {
			t.Errorf("%+v", e)
		}
		if list := c.List(); len(list) != 1 || list[0].Exit == nil || list[0].Exit.Code != 5 {
			t.Errorf("%+v", list)
		}
		select {
		case e := <-c.Exits():
			t.Errorf("again: %+v", e)
		default:
		}
		c.Close()
		x.close()
		c, x = l.dial()
	}
	c.Ack("a")
	c.Close()
	x.close()
	c, x = l.dial()
	defer x.close()
	defer c.Close()
	if list := c.List(); len(list) != 0 {
		t.Errorf("after Ack: %+v", list)
	}
	select {
	case e := <-c.Exits():
		t.Errorf("after Ack: %+v", e)
	default:
	}
}

// A reader that waits costs nothing: its call ends with its context, its place is
// taken by the next wait, and the slot is free for the next agent.
func TestOutputWaits(t *testing.T) {
	l := newLab(t, process.Options{})
	c, x := l.dial()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	cmd := program(t, "a", "")
	cmd.Argv, cmd.Stdin = []string{"/bin/sh", "-c", "read x; echo $x; read x; echo $x"}, r
	start(t, c, cmd)
	r.Close()
	out, err := c.Output("a")
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if _, _, _, err := out.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		cancel()
	}
	c.mu.Lock()
	if len(c.calls) != 0 {
		t.Errorf("%d calls are left", len(c.calls))
	}
	c.mu.Unlock()
	fmt.Fprintln(w, "one")
	if _, data, _, err := out.Next(t.Context()); err != nil || string(data) != "one\n" {
		t.Errorf("%q, %v", data, err)
	}
	if err := processtest.Commit(out); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Output("a"); !errors.Is(err, process.ErrOutputBusy) {
		t.Errorf("a second reader: %v", err)
	}
	waiting := make(chan struct{})
	go func() { _, _, _, _ = out.Next(t.Context()); close(waiting) }()
	c.Close() // with the reader open
	<-waiting
	x.close()
	c, x = l.dial()
	defer x.close()
	defer c.Close()
	out, err = c.Output("a")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(w, "two")
	if text := readAll(t, out); text != "two\n" {
		t.Errorf("%q", text)
	}
	if err := out.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Output("a"); err != nil {
		t.Errorf("after Close: %v", err)
	}
}

func readAll(t *testing.T, out process.Output) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), atMost)
	defer cancel()
	var text strings.Builder
	for {
		_, data, _, err := out.Next(ctx)
		if errors.Is(err, io.EOF) {
			return text.String()
		}
		if err != nil {
			t.Fatalf("after %d bytes: %v", text.Len(), err)
		}
		text.Write(data)
		if err := processtest.Commit(out); err != nil {
			t.Fatal(err)
		}
	}
}

// What is on no disk yet comes over the socket.
func TestOutputHeld(t *testing.T) {
	c, x := newLab(t, process.Options{}).dial()
	defer x.close()
	defer c.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := program(t, "a", "")
	cmd.Argv, cmd.Stdin = []string{"/bin/sh", "-c", "read x; echo one; echo two >&2"}, r
	start(t, c, cmd)
	r.Close()
	out, err := c.Output("a")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(cmd.Spool, cmd.Spool+".away"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	got := map[int]string{}
	for len(got) < 2 {
		stream, data, at, err := out.Next(t.Context())
		if err != nil || time.Since(at) > atMost {
			t.Fatal(at, err)
		}
		got[stream] += string(data)
	}
	if got[1] != "one\n" || got[2] != "two\n" {
		t.Errorf("%v", got)
	}
	if err := processtest.Commit(out); err != nil {
		t.Error(err)
	}
	select { // the place cannot be saved
	case err := <-c.Troubles():
		if !strings.Contains(err.Error(), "commit") {
			t.Error(err)
		}
	case <-time.After(atMost):
		t.Error("no trouble was told")
	}
}

// Many goroutines use one Client while it is closed.
func TestClientStress(t *testing.T) {
	l := newLab(t, process.Options{})
	for range 5 {
		c, x := l.dial()
		var work sync.WaitGroup
		for i := range 8 {
			work.Go(func() {
				for n := 0; ; n++ {
					id := fmt.Sprint("p", i)
					if err := c.Store().Put(id, os.Stdin); err != nil {
						return
					}
					if f, err := c.Store().Take(id); err != nil {
						return
					} else if f != nil {
						f.Close()
					}
					if n == 0 {
						_, _ = c.Start(process.Command{ID: id, Argv: []string{"/bin/true"}, Dir: "/"})
					}
					for _, p := range c.List() {
						if p.Exit != nil && p.ID == id {
							c.Ack(id)
						}
					}
				}
			})
		}
		<-time.After(100 * time.Millisecond)
		c.Close()
		work.Wait()
		x.close()
	}
}
