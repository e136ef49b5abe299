package supervisor

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/process/processtest"
	"github.com/muster-run/muster/spec"
)

func TestMain(m *testing.M) {
	processtest.Setup()
	goleak.VerifyTestMain(m)
}

// switchboard is an op.Exchange that does what a party asks of muster itself, and keeps
// the rest.
type switchboard struct {
	mu    sync.Mutex
	seats []*chair
}

// chair is one party's Seat.
type chair struct {
	sw      *switchboard
	party   op.Party
	adopted bool
	pid     int
	ready   bool
	gone    bool
	heard   []string // the ops, in order
	changed []op.Settings
}

func (s *switchboard) Enter(p op.Party, adopted bool) op.Seat {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &chair{sw: s, party: p, adopted: adopted}
	s.seats = append(s.seats, c)
	return c
}

// Hear implements op.Seat.
func (c *chair) Hear(data []byte) {
	f, err := op.Parse(data)
	if err != nil {
		return
	}
	switch f.Op {
	case op.Heartbeat:
		c.party.Beat()
	case op.Crash:
		var b op.CrashBody
		_ = json.Unmarshal(f.Body, &b)
		c.party.Crash(b)
	case op.Lifecycle:
		var b op.TextBody
		_ = json.Unmarshal(f.Body, &b)
		c.party.Lifecycle(b.Text)
	}
	c.sw.mu.Lock()
	c.heard = append(c.heard, f.Op)
	c.sw.mu.Unlock()
	if f.ID != 0 {
		_ = c.party.Send(op.Frame{Cmd: op.CmdReply, ID: f.ID, Body: json.RawMessage(`"yes"`)}.Append(nil))
	}
}

func (c *chair) set(do func()) { c.sw.mu.Lock(); defer c.sw.mu.Unlock(); do() }

func (c *chair) Ready(pid int, ready bool) { c.set(func() { c.pid, c.ready = pid, ready }) }
func (c *chair) Gone()                     { c.set(func() { c.gone = true }) }

// Changed implements op.Seat.
func (c *chair) Changed(s op.Settings, _ []string) {
	c.set(func() { c.changed = append(c.changed, s) })
	body, _ := json.Marshal(s)
	_ = c.party.Send(op.Frame{Cmd: op.CmdOp, Op: op.ConfigChanged, Body: body}.Append(nil))
}

// find is the latest party that is like that.
func (s *switchboard) find(like func(*chair) bool) *chair {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range slices.Backward(s.seats) {
		if like(c) {
			return c
		}
	}
	return nil
}

// host is a Supervisor over real processes.
type host struct {
	*testing.T
	dir    string
	direct *process.Direct
	store  *process.DirectStore
	hub    *event.Hub
	sw     *switchboard
	sup    *Supervisor
}

func newHost(t *testing.T) *host {
	t.Helper()
	direct, err := process.NewDirect(process.Options{Project: t.Name(), NoCgroup: true})
	if err != nil {
		t.Fatal(err)
	}
	h := &host{T: t, dir: t.TempDir(), direct: direct, store: process.NewDirectStore()}
	h.begin()
	t.Cleanup(func() {
		if err := h.sup.Shutdown(context.Background(), true); err != nil {
			t.Error(err)
		}
		h.direct.Close()
		if left := h.store.List(); len(left) > 0 {
			t.Errorf("left in the Store: %q", left)
		}
		h.store.Close()
		if left, _ := filepath.Glob(h.dir + "/c/*"); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
	})
	return h
}

// begin makes a Supervisor, as each agent does.
func (h *host) begin() {
	h.Helper()
	h.hub, h.sw = &event.Hub{}, &switchboard{}
	sup, err := New(Options{
		Project: "test", Node: "here", Starter: h.direct, Store: h.store, Events: h.hub, Exchange: h.sw,
		LogDir: h.dir + "/log", RunDir: h.dir,
	})
	if err != nil {
		h.Fatal(err)
	}
	h.sup = sup
}

// program is an app of one worker that is a shell script. In it say TEXT says something
// on the channel, and hear NAME reads a line of it into a file.
func (h *host) program(script string, change ...func(*spec.App)) spec.App {
	a := spec.DefaultApp("web")
	a.Command = []string{"/bin/sh", "-c", `
say() { printf '%s\n' "$1" >&"$MUSTER_CHANNEL_FD"; }
ask() { say '{"cmd":"MUSTER_OP","op":"'"$1"'","id":'"${3:-0}"',"body":'"${2:-null}"'}'; }
hear() {
	line=; while [ -z "$line" ]; do IFS= read -r line <&"$MUSTER_CHANNEL_FD" || sleep 0.01; done
	printf '%s\n' "$line" >"$1.new"; mv "$1.new" "$1"
}
` + script}
	a.Dir, a.Workers, a.Log.Target = h.dir, 1, spec.LogNone
	a.Ready.Mode = spec.ReadyNotify
	a.Restart.Jitter = 0
	for _, c := range change {
		c(&a)
	}
	return a
}

func (h *host) apply(app spec.App) {
	h.Helper()
	if r := h.sup.Apply(h.Context(), specOf(app)); r.Fault() != nil {
		h.Fatalf("apply: %v %+v", r.Fault(), r.Results)
	}
}

// until waits for something that happens by itself.
func (h *host) until(what string, ok func() bool) {
	h.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			h.Fatalf("not: %s\n%s\n%v", what, text(h.sup.Snapshot()), h.hub.Past())
		}
	}
}

func there(path string) bool { _, err := os.Stat(path); return err == nil }

// file is what the program has written.
func (h *host) file(name string) string {
	h.Helper()
	h.until("file "+name, func() bool { return there(filepath.Join(h.dir, name)) })
	b, err := os.ReadFile(filepath.Join(h.dir, name))
	if err != nil {
		h.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// told lists the events of one type so far.
func told[T event.Data](h *host) (list []T) {
	for _, e := range h.hub.Past() {
		if d, ok := e.Data.(T); ok {
			list = append(list, d)
		}
	}
	return list
}

// want waits for an event.
func want[T event.Data](h *host, what string, like func(T) bool) (found T) {
	h.Helper()
	h.until(what, func() bool {
		i := slices.IndexFunc(told[T](h), like)
		if i >= 0 {
			found = told[T](h)[i]
		}
		return i >= 0
	})
	return found
}

// A process takes part in operations from its start to its end: it asks and is answered,
// it is asked, and is told what changes (S0.7, S1.5).
func TestAProcessTakesPart(t *testing.T) {
	h := newHost(t)
	app := h.program(`
printf '%s' "$MUSTER_ROLE" >role
ask hello '{}' 5; hear welcome
say '{"cmd":"MUSTER_READY"}'
ask lifecycle '{"text":"warm"}'
hear changed
sleep 1000`, func(a *spec.App) {
		a.Role, a.Tags, a.Allow, a.Console.Port = spec.RoleWorker, []string{"edge"}, []string{spec.AllowOrders}, 9000
	})
	h.apply(app)
	if got := h.file("welcome"); got != `{"cmd":"MUSTER_REPLY","id":5,"body":"yes"}` {
		t.Errorf("answered %s", got)
	}
	if got := h.file("role"); got != "worker" {
		t.Errorf("MUSTER_ROLE is %q", got)
	}
	want(h, "lifecycle", func(e event.WorkerLifecycle) bool { return e.Text == "warm" })
	c := h.sw.find(func(c *chair) bool { return true })
	p := c.party
	if p.Name != "web#0" || p.App != "web" || p.Role != "worker" || p.Slot != 0 || p.ID == "" || fmt.Sprint(p.Tags, p.Allow) != "[edge] [orders]" {
		t.Errorf("%+v", p)
	}
	if p.Settings.ConsolePort != 9000 || p.Settings.HeartbeatMS != 0 {
		t.Errorf("%+v", p.Settings)
	}
	if info, err := os.Stat(p.Settings.ConsoleDir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%s: %v", p.Settings.ConsoleDir, err)
	}
	h.sw.mu.Lock()
	pid, ready := c.pid, c.ready
	h.sw.mu.Unlock()
	if worker := h.sup.Snapshot()[0].Workers[0]; !ready || pid != worker.PID {
		t.Errorf("pid %d, ready %v, but %d", pid, ready, worker.PID)
	}
	app.Heartbeat.Interval, app.Env = spec.Duration(7*time.Second), nil
	h.apply(app)
	if got := h.file("changed"); !strings.Contains(got, `"heartbeat_ms":7000`) || !strings.Contains(got, `"changes":["heartbeat.interval none → 7s"]`) {
		t.Errorf("told %s", got)
	}
	if worker := h.sup.Snapshot()[0].Workers[0]; worker.PID != pid {
		t.Error("it was replaced for that")
	}
	out := h.sup.Stop(t.Context(), api.Order{Selector: "web"})
	if out.Fault() != nil {
		t.Fatal(out.Fault())
	}
	h.until("gone", func() bool { return h.sw.find(func(c *chair) bool { return c.gone && !c.ready }) == c })
	h.until("its directory gone", func() bool { return !there(p.Settings.ConsoleDir) })
}

// A worker that falls silent is reported with its last sign of life, then stopped by its
// app's own rules, with the whole stop.timeout, and replaced (S0.8).
func TestASilentWorkerIsReplaced(t *testing.T) {
	h := newHost(t)
	const stopIn = 400 * time.Millisecond
	h.apply(h.program(`
if [ -e was ]; then
	trap 'exit 0' TERM
	say '{"cmd":"MUSTER_READY"}'
	while :; do ask heartbeat; sleep 0.05; done
fi
trap : TERM
say '{"cmd":"MUSTER_READY"}'
for i in 1 2 3; do ask heartbeat; sleep 0.05; done
: >was
while :; do sleep 0.1; done`, func(a *spec.App) {
		a.Heartbeat = spec.Heartbeat{Interval: spec.Duration(time.Second), Kill: spec.Duration(2 * time.Second)}
		a.Stop.Timeout = spec.Duration(stopIn)
	}))
	first := h.sup.Snapshot()[0].Workers[0].PID
	silent := want(h, "silence", func(e event.WorkerHeartbeat) bool { return !e.OK })
	if silent.Killed || silent.Last.IsZero() || silent.Age < time.Second {
		t.Errorf("%+v", silent)
	}
	dead := want(h, "a verdict", func(e event.WorkerHeartbeat) bool { return e.Killed })
	if dead.Age < 2*time.Second || !dead.Last.Equal(silent.Last) {
		t.Errorf("%+v", dead)
	}
	exit := want(h, "an exit", func(event.WorkerExit) bool { return true })
	if exit.Planned || exit.Signal != "SIGKILL" {
		t.Errorf("%+v", exit)
	}
	var begun, ended time.Time
	for _, e := range h.hub.Past() {
		if s, ok := e.Data.(event.WorkerState); ok && s.To == event.Draining {
			begun = e.Time
		}
		if _, ok := e.Data.(event.WorkerExit); ok {
			ended = e.Time
		}
	}
	if d := ended.Sub(begun); d < stopIn {
		t.Errorf("it got %s to end", d)
	}
	h.until("another worker", func() bool {
		w := h.sup.Snapshot()[0].Workers[0]
		return w.State == event.Ready && w.PID != first
	})
	app := h.sup.Snapshot()[0]
	if f := app.Workers[0].LastExit; f == nil || f.PID != first {
		t.Errorf("%s", text(app))
	}
	want(h, "the reason", func(e event.Warning) bool {
		return e.Fault.Code == fault.Heartbeat && strings.Contains(e.Fault.Where, fmt.Sprint(first))
	})
	if all := told[event.WorkerHeartbeat](h); len(all) != 2 {
		t.Errorf("%+v", all)
	}
}

// What a worker says of its own end stands in everything that tells of it (S1.13), also
// when it ends in the next moment.
func TestACrashIsTold(t *testing.T) {
	h := newHost(t)
	h.apply(h.program(`
say '{"cmd":"MUSTER_READY"}'
while [ ! -e go ]; do sleep 0.01; done
ask crash '{"error":"x is not a function","stack":"    at run (a.js:1:2)\n    at main (b.js:3:4)","error_type":"TypeError"}'
exit 1`, func(a *spec.App) { a.Restart.Policy = spec.RestartNever }))
	if err := os.WriteFile(h.dir+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	exit := want(h, "an exit", func(event.WorkerExit) bool { return true })
	if exit.Code != 1 || exit.Crash == nil || exit.Crash.Type != "TypeError" || !strings.Contains(exit.Crash.Stack, "a.js:1:2") {
		t.Errorf("%+v", exit)
	}
	if all := told[event.WorkerCrash](h); len(all) != 1 || all[0].Error != "x is not a function" {
		t.Errorf("%+v", all)
	}
	h.until("failed", func() bool { return h.sup.Snapshot()[0].Workers[0].State == event.Failed })
	w := h.sup.Snapshot()[0].Workers[0]
	if w.LastExit.Crash == nil || !strings.Contains(w.Why, "TypeError: x is not a function") {
		t.Errorf("%s", text(w))
	}
	f := want(h, "a fault", func(e event.Warning) bool { return e.Fault.Code == fault.Exited }).Fault
	if !strings.HasSuffix(f.Text, ": TypeError: x is not a function") || len(f.Output) < 2 || f.Output[0] != "    at run (a.js:1:2)" {
		t.Errorf("%+v", f)
	}
}

// The next agent knows the same parties, under the same IDs; who has been heard is
// watched on, from now.
func TestPartiesAreAdopted(t *testing.T) {
	h := newHost(t)
	h.apply(h.program(`
trap 'exit 0' TERM
say '{"cmd":"MUSTER_READY"}'
ask heartbeat
while [ ! -e go ]; do sleep 0.01; done
ask crash '{"error":"late"}'
while :; do sleep 0.05; done`, func(a *spec.App) {
		a.Heartbeat = spec.Heartbeat{Interval: spec.Duration(time.Hour)}
	}))
	h.until("a beat", func() bool {
		return h.sw.find(func(c *chair) bool { return slices.Contains(c.heard, op.Heartbeat) }) != nil
	})
	before := h.sw.find(func(c *chair) bool { return c.ready })
	if before == nil || before.adopted {
		t.Fatalf("%+v", before)
	}
	h.sup.Leave()
	if before.gone || !before.ready {
		t.Errorf("it is gone with its agent: %+v", before)
	}
	h.begin()
	after := h.sw.find(func(c *chair) bool { return c.adopted && c.ready })
	if after == nil || after.party.ID != before.party.ID || after.pid != before.pid {
		t.Fatalf("%+v", after)
	}
	if err := os.WriteFile(h.dir+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want(h, "a crash", func(e event.WorkerCrash) bool { return e.Error == "late" })
	h.sup.Leave() // and what it has said of its end is known to the one after
	h.begin()
	app, environ := h.sup.pool("web").Declared()
	app.Heartbeat.Interval = spec.Duration(100 * time.Millisecond)
	if r := h.sup.Apply(t.Context(), spec.Spec{Project: "test", Control: spec.Control{Mode: 0o600}, Apps: []spec.App{app}, Environ: environ}); r.Fault() != nil {
		t.Fatal(r.Fault())
	}
	want(h, "silence", func(e event.WorkerHeartbeat) bool { return !e.OK && e.Last.IsZero() })
	if f := told[event.Warning](h); len(f) > 0 {
		t.Errorf("%+v", f)
	}
	if out := h.sup.Stop(t.Context(), api.Order{Selector: "web"}); out.Fault() != nil {
		t.Fatal(out.Fault())
	}
	if exit := want(h, "an exit", func(event.WorkerExit) bool { return true }); exit.Crash == nil || exit.Crash.Error != "late" {
		t.Errorf("%+v", exit)
	}
}
