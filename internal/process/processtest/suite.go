package processtest

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/internal/process"
)

// patience bounds every wait of the suite: only a defect takes as long.
const patience = 30 * time.Second

// New makes a Starter and a Store that end with the test.
type New func(t *testing.T) (process.Starter, process.Store)

// Run holds a Starter and a Store to their contracts, with real processes.
func Run(t *testing.T, start New) {
	t.Helper()
	cases := map[string]func(*testing.T, *bench){
		"ExitOnce":       exitOnce,
		"ExitSignal":     exitSignal,
		"StartTwice":     startTwice,
		"StartFails":     startFails,
		"FailThenWork":   failThenWork,
		"MetaAndList":    metaAndList,
		"Unknown":        unknown,
		"Listen":         listenEnv,
		"OutputComplete": outputComplete,
		"OutputContinue": outputContinue,
		"OutputPlaces":   outputPlaces,
		"OutputStray":    outputStray,
		"KillFamily":     killFamily,
		"SetMain":        setMain,
		"SetMainExited":  setMainExited,
		"KillAt":         killAt,
		"Store":          storeKeeps,
	}
	for name, run := range cases {
		t.Run(name, func(t *testing.T) {
			starter, store := start(t)
			run(t, &bench{t: t, starter: starter, store: store})
		})
	}
}

// bench is what a case works with.
type bench struct {
	t       *testing.T
	starter process.Starter
	store   process.Store
}

// start starts a program with a spool, and ends it with the test.
func (b *bench) start(id string, c process.Command) process.Proc {
	b.t.Helper()
	c.ID = id
	if c.Spool == "" {
		c.Spool = b.t.TempDir() + "/spool"
	}
	p, err := b.starter.Start(c)
	if err != nil {
		b.t.Fatalf("start %s: %v", id, err)
	}
	b.t.Cleanup(func() { _, _ = p.Kill() })
	return p
}

// exit waits for the next exit.
func (b *bench) exit() process.Exit {
	b.t.Helper()
	select {
	case e := <-b.starter.Exits():
		return e
	case <-time.After(patience):
		b.t.Fatal("no exit came")
		return process.Exit{}
	}
}

// output opens the output of a process.
func (b *bench) output(id string) process.Output {
	b.t.Helper()
	out, err := b.starter.Output(id)
	if err != nil {
		b.t.Fatalf("output of %s: %v", id, err)
	}
	b.t.Cleanup(func() { out.Close() })
	return out
}

// line reads up to the n-th line end.
func (b *bench) lines(out process.Output, n int) []string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	text := ""
	for strings.Count(text, "\n") < n {
		_, data, _, err := out.Next(ctx)
		if err != nil {
			b.t.Fatalf("output after %q: %v", text, err)
		}
		text += string(data)
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// pidLine reads the pid that a program prints first.
func (b *bench) pidLine(out process.Output) int {
	b.t.Helper()
	pid, err := strconv.Atoi(b.lines(out, 1)[0])
	if err != nil {
		b.t.Fatal(err)
	}
	return pid
}

// all reads to the end.
func (b *bench) all(out process.Output) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	var text strings.Builder
	for {
		_, data, _, err := out.Next(ctx)
		if errors.Is(err, io.EOF) {
			return text.String()
		}
		if err != nil {
			b.t.Fatalf("output: %v", err)
		}
		text.Write(data)
		if err := Commit(out); err != nil {
			b.t.Fatalf("commit: %v", err)
		}
	}
}

// Commit commits all that was read.
func Commit(out process.Output) error {
	_, next, _ := out.Where()
	return out.Commit(next, [2]int64{})
}

// gone waits until a pid means no living process.
func gone(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); <-time.After(2 * time.Millisecond) {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
	}
	t.Fatalf("process %d is still there", pid)
}

func exitOnce(t *testing.T, b *bench) {
	p := b.start("a", Program("exit", "7"))
	e := b.exit()
	if e.ID != "a" || e.PID != p.PID || e.Code != 7 || e.Signal != 0 || e.Time.IsZero() {
		t.Errorf("exit %+v of %+v", e, p)
	}
	if list := b.starter.List(); len(list) != 1 || list[0].Exit == nil || list[0].Exit.Code != 7 {
		t.Errorf("before Ack, List is %+v", list)
	}
	if err := p.Signal(syscall.SIGTERM); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("a signal after the end: %v", err)
	}
	b.starter.Ack("a")
	b.starter.Ack("a")
	if list := b.starter.List(); len(list) != 0 {
		t.Errorf("after Ack, List is %+v", list)
	}
	if _, err := os.Stat("/proc/" + strconv.Itoa(p.PID)); err == nil {
		t.Error("still in the process table after Ack")
	}
	select {
	case e := <-b.starter.Exits():
		t.Errorf("another exit: %+v", e)
	default:
	}
}

func exitSignal(t *testing.T, b *bench) {
	p := b.start("a", Program("sleep"))
	if members, err := p.Members(); err != nil || len(members) != 1 || members[0] != p.PID {
		t.Errorf("members %v, %v; the pid is %d", members, err, p.PID)
	}
	if empty, err := p.Empty(); err != nil || empty {
		t.Errorf("empty %v, %v while it runs", empty, err)
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if e := b.exit(); e.Code != -1 || e.Signal != syscall.SIGKILL {
		t.Errorf("exit %+v", e)
	}
	if empty, err := p.Empty(); err != nil || !empty {
		t.Errorf("empty %v, %v after the end", empty, err)
	}
}

func startTwice(t *testing.T, b *bench) {
	first := b.start("a", Program("sleep"))
	second, err := b.starter.Start(process.Command{ID: "a", Argv: []string{"/bin/false"}, Dir: "/"})
	if err != nil || second.PID != first.PID {
		t.Errorf("the second start: %+v, %v; the first: %+v", second, err, first)
	}
	if len(b.starter.List()) != 1 {
		t.Errorf("List is %+v", b.starter.List())
	}
}

func metaAndList(t *testing.T, b *bench) {
	c := Program("sleep")
	c.Meta = []byte("one")
	p := b.start("a", c)
	if string(p.Meta) != "one" || p.StartTime == 0 || p.Leader != p.PID || p.ID != "a" {
		t.Errorf("%+v", p)
	}
	if err := b.starter.SetMeta("a", []byte("two")); err != nil {
		t.Fatal(err)
	}
	if list := b.starter.List(); len(list) != 1 || string(list[0].Meta) != "two" || list[0].PID != p.PID {
		t.Errorf("List is %+v", list)
	}
	if err := b.starter.SetMeta("a", make([]byte, process.MetaMax+1)); err == nil {
		t.Error("a Meta over MetaMax was taken")
	}
}

func unknown(t *testing.T, b *bench) {
	_, setMainErr := b.starter.SetMain("x", 1)
	_, outputErr := b.starter.Output("x")
	for _, err := range []error{
		setMainErr, outputErr,
		b.starter.SetMeta("x", nil), b.starter.SetKillAt("x", time.Now().Add(time.Hour)),
	} {
		if !errors.Is(err, process.ErrUnknownID) {
			t.Errorf("got %v", err)
		}
	}
	b.starter.Ack("x")
}

func killAt(t *testing.T, b *bench) {
	c := Program("stubborn")
	c.KillAt = time.Now().Add(time.Hour)
	b.start("a", c)
	begun := time.Now()
	if err := b.starter.SetKillAt("a", begun.Add(150*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if e := b.exit(); e.Signal != syscall.SIGKILL || time.Since(begun) < 140*time.Millisecond {
		t.Errorf("%+v after %v", e, time.Since(begun))
	}
}

func storeKeeps(t *testing.T, b *bench) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := b.store.Put("pipe", w); err != nil {
		t.Fatal(err)
	}
	w.Close()
	got, err := b.store.Get("pipe")
	if err != nil || got == nil {
		t.Fatalf("%v, %v", got, err)
	}
	if _, err := got.WriteString("x"); err != nil {
		t.Error(err)
	}
	got.Close()
	if names := b.store.List(); len(names) != 1 || names[0] != "pipe" {
		t.Errorf("List is %v", names)
	}
	taken, err := b.store.Take("pipe")
	if err != nil || taken == nil {
		t.Fatalf("%v, %v", taken, err)
	}
	taken.Close()
	if text, err := io.ReadAll(r); err != nil || string(text) != "x" {
		t.Errorf("read %q, %v: an end of the pipe is still open", text, err)
	}
	if again, err := b.store.Get("pipe"); again != nil || err != nil {
		t.Errorf("after Take: %v, %v", again, err)
	}
}
