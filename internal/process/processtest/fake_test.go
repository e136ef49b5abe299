package processtest

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/muster-run/muster/internal/process"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// actor makes a Fake's processes behave like the suite's programs.
type actor struct{ *Fake }

// Start implements process.Starter.
func (a actor) Start(c process.Command) (process.Proc, error) {
	known := len(a.Commands())
	p, err := a.Fake.Start(c)
	if err != nil || len(a.Commands()) == known {
		return p, err
	}
	name := ""
	for _, kv := range c.Env {
		if v, ok := strings.CutPrefix(kv, programEnv+"="); ok {
			name = v
		}
	}
	number := 0
	if len(c.Argv) > 1 {
		number, _ = strconv.Atoi(c.Argv[1])
	}
	a.act(c.ID, name, number)
	return p, nil
}

func (a actor) act(id, name string, number int) {
	switch name {
	case "exit":
		a.Exit(id, number, 0)
	case "lines":
		var text strings.Builder
		for i := range number {
			fmt.Fprintf(&text, "line %d\n", i)
		}
		a.Print(id, 1, text.String())
		a.Exit(id, 0, 0)
	case "family":
		a.Print(id, 1, fmt.Sprintf("%d\nignoring\nfamily\n", a.Stray(id)))
	case "wrap":
		a.Print(id, 1, fmt.Sprintln(a.Child(id)))
	case "daemon":
		a.Print(id, 1, fmt.Sprintln(a.Child(id)))
		a.Exit(id, number, 0)
	}
}

// The parts of the suite that need no operating system.
func TestFakeConforms(t *testing.T) {
	for name, run := range map[string]func(*testing.T, *bench){
		"ExitOnce": exitOnce, "ExitSignal": exitSignal, "StartTwice": startTwice, "MetaAndList": metaAndList,
		"Unknown": unknown, "OutputComplete": outputComplete, "OutputStray": outputStray, "KillFamily": killFamily,
		"SetMain": setMain, "SetMainExited": setMainExited, "KillAt": killAt,
	} {
		t.Run(name, func(t *testing.T) {
			run(t, &bench{t: t, starter: actor{NewFake()}})
		})
	}
}

func TestFakeStartFails(t *testing.T) {
	f := NewFake()
	f.FailStart(func(process.Command) error { return os.ErrPermission })
	if _, err := f.Start(process.Command{ID: "a", Argv: []string{"x"}}); !errors.Is(err, os.ErrPermission) {
		t.Errorf("%v", err)
	}
	if len(f.Commands()) != 0 || len(f.List()) != 0 {
		t.Error("a failed start is listed")
	}
	f.FailStart(nil)
	if _, err := f.Start(process.Command{ID: "a", Argv: []string{"x"}}); err != nil {
		t.Errorf("%v", err)
	}
	if c := <-f.Starts(); c.ID != "a" {
		t.Errorf("%+v", c)
	}
}

func TestFakeSignals(t *testing.T) {
	f := NewFake()
	p, err := f.Start(process.Command{ID: "a", Argv: []string{"x"}})
	if err != nil {
		t.Fatal(err)
	}
	f.OnSignal(func(id string, sig syscall.Signal) bool { return sig == syscall.SIGHUP })
	for _, sig := range []syscall.Signal{0, syscall.SIGHUP, syscall.SIGTERM} {
		if err := p.Signal(sig); err != nil {
			t.Errorf("%v: %v", sig, err)
		}
	}
	if e := <-f.Exits(); e.Signal != syscall.SIGTERM || e.Code != -1 {
		t.Errorf("%+v", e)
	}
	if got := f.Signals("a"); len(got) != 3 {
		t.Errorf("%v", got)
	}
}

func TestFakeInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFake()
		begun := time.Now()
		c := process.Command{ID: "a", Argv: []string{"x"}, KillAt: begun.Add(time.Hour)}
		if _, err := f.Start(c); err != nil {
			t.Fatal(err)
		}
		if e := <-f.Exits(); e.Signal != syscall.SIGKILL || e.Time.Sub(begun) != time.Hour {
			t.Errorf("%+v after %v", e, e.Time.Sub(begun))
		}
	})
}

func TestFakeManyUnreadExits(t *testing.T) {
	const n = 5000 // more than the channel holds
	f := NewFake()
	for i := range n {
		id := strconv.Itoa(i)
		if _, err := f.Start(process.Command{ID: id, Argv: []string{"x"}}); err != nil {
			t.Fatal(err)
		}
		f.Exit(id, i, 0)
	}
	for i := range n {
		if e := <-f.Exits(); e.Code != i {
			t.Fatalf("exit %d is %+v", i, e)
		}
	}
}

// An agent that dies leaves processes, what it has not acknowledged, and what it
// has not read; nothing that it tries afterwards has an effect.
func TestLives(t *testing.T) {
	f, store := NewFake(), process.NewDirectStore()
	defer store.Close()
	first := f.Connect(store)
	start := func(id string) process.Proc {
		t.Helper()
		p, err := first.Start(process.Command{ID: id, Argv: []string{"x"}, Spool: "/spool"})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	a, _ := start("a"), start("b")
	f.Exit("b", 3, 0)
	if e := <-first.Exits(); e.ID != "b" {
		t.Fatalf("%+v", e)
	}
	f.Print("a", 1, "one\n")
	out, err := first.Output("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, data, _, _ := out.Next(t.Context()); string(data) != "one\n" {
		t.Fatalf("%q", data)
	}
	if err := first.Store().Put("x", os.Stdin); err != nil {
		t.Fatal(err)
	}
	first.CutAfter(1)
	first.Ack("nobody")
	<-first.Dead()
	_, started := first.Start(process.Command{ID: "c", Argv: []string{"x"}})
	for what, err := range map[string]error{
		"Start": started, "Signal": a.Signal(syscall.SIGTERM), "Put": first.Store().Put("y", os.Stdin), "Commit": out.Commit(1, [2]int64{}),
	} {
		if !errors.Is(err, ErrCut) {
			t.Errorf("%s after the end: %v", what, err)
		}
	}
	if first.Ack("b"); len(f.List()) != 2 || len(store.List()) != 1 {
		t.Errorf("a dead agent had an effect: %v, %q", f.List(), store.List())
	}
	second := f.Connect(store)
	if e := <-second.Exits(); e.ID != "b" || e.Code != 3 {
		t.Errorf("%+v", e)
	}
	out, err = second.Output("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, data, _, _ := out.Next(t.Context()); string(data) != "one\n" {
		t.Errorf("%q", data)
	}
	if p := second.List()[0]; p.Signal(syscall.SIGTERM) != nil || f.List()[0].Exit == nil {
		t.Error("the successor cannot signal")
	}
}
