package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/keeper"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/spec"
)

// stand is what stands for a keeper in this process: a Direct and a DirectStore
// that outlive the agents of a test.
type stand struct {
	*process.Direct
	store *process.DirectStore
	gone  chan struct{}

	mu    sync.Mutex
	hello keeper.Hello
	ups   int
	told  []string
}

func newStand(t *testing.T) *stand {
	t.Helper()
	d, err := process.NewDirect(process.Options{Project: "test", NoCgroup: true})
	if err != nil {
		t.Fatal(err)
	}
	k := &stand{
		Direct: d, store: process.NewDirectStore(), gone: make(chan struct{}),
		hello: keeper.Hello{PID: os.Getpid(), Protocol: keeper.Protocol, Started: time.Now().Add(-time.Hour)},
	}
	t.Cleanup(func() {
		for _, p := range d.List() {
			p.Kill()
		}
		d.Close()
		k.store.Close()
	})
	return k
}

func (k *stand) Up() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ups++
	return nil
}

func (k *stand) Notify(state string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.told = append(k.told, state)
	return nil
}

func (k *stand) Lost() <-chan struct{} { return k.gone }

func (k *stand) Upgrade(_ *os.File, what json.RawMessage) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	text, err := json.Marshal(keeper.UpgradeOutcome{What: what})
	k.hello.Upgrade, k.hello.Last = text, "upgraded"
	return err
}

// next is the keeper as the next agent sees it.
func (k *stand) next() *Keeper {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.hello.Agents++
	return &Keeper{Starter: k.Direct, Store: k.store, Link: k, Hello: k.hello}
}

// binary writes a program that answers `agent --check` so.
func (s site) binary(t *testing.T, name, script string) string {
	t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func able(protocol, records int) string {
	return fmt.Sprintf(`echo '{"version":"v2","protocol_min":%d,"protocol_max":%d,"records":%d}'`, protocol, protocol, records)
}

// leave makes an agent go for another one.
func (r *subject) leave(s site) api.Upgrade {
	r.t.Helper()
	u, err := r.Upgrade(context.Background(), api.UpgradeRequest{Binary: s.binary(r.t, "muster2", able(keeper.Protocol, recordsVersion))})
	if err != nil {
		r.t.Fatal(err)
	}
	if code, err := r.ended(); !errors.Is(err, ErrLeft) || code != 0 {
		r.t.Fatalf("ended with %d, %v", code, err)
	}
	return u
}

func TestTheNextAgentGoesOn(t *testing.T) {
	s, k := newSite(t), newStand(t)
	o := s.options(s.sh("web", server))
	o.Keeper = k.next()
	first := start(t, o)
	pid := first.state("web#0", event.Ready).PID
	if first.Succeeds() {
		t.Error("the first agent succeeds another")
	}
	planned := first.leave(s)
	paths := first.Paths()
	if _, held := LockHolder(paths); !held || syscall.Kill(pid, 0) != nil {
		t.Fatal("between two agents the lock or the worker is gone")
	}
	if _, err := os.Stat(paths.Socket); err != nil {
		t.Fatal(err)
	}
	// Who asks now waits in the queue of the socket.
	asked := make(chan error, 1)
	go func() {
		_, err := client.New(client.Options{Socket: paths.Socket}).Status(context.Background())
		asked <- err
	}()
	o.Keeper = k.next()
	second := start(t, o)
	e := second.until("its start", func(e event.Event) bool { _, ok := e.Data.(event.AgentStarted); return ok })
	if d := e.Data.(event.AgentStarted); d.Adopted != 1 || d.Why != "upgraded" || d.Before != os.Getpid() {
		t.Errorf("%+v", d)
	}
	if err := <-asked; err != nil {
		t.Errorf("asked between two agents: %v", err)
	}
	st := second.Status()
	if st.KeeperPID != os.Getpid() || st.AgentStarts != 2 || st.Upgrade == nil || st.Upgrade.Fault != nil || !st.Upgrade.Time.Equal(planned.Time) ||
		st.Upgrade.To != "v2" || !st.AgentStartedAt.After(st.StartedAt) {
		t.Errorf("status %+v, upgrade %+v", st, st.Upgrade)
	}
	if w := st.Apps[0].Workers[0]; w.PID != pid || w.State != event.Ready || w.Restarts != 0 {
		t.Errorf("the worker was pid %d and is %+v", pid, w)
	}
	go second.Stop(api.StopRequest{ExitCode: 5})
	if code, err := second.ended(); code != 5 || err != nil {
		t.Errorf("ended with %d, %v", code, err)
	}
	if syscall.Kill(pid, 0) == nil {
		t.Error("the worker is left")
	}
	if _, err := os.Stat(paths.Socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
	if _, held := LockHolder(paths); !held {
		t.Error("the lock must last as long as the keeper")
	}
	if k.ups != 2 {
		t.Errorf("told %d times that an agent is up", k.ups)
	}
}

// An agent that was killed while it began has left its lock and its socket with
// the keeper, and not yet a record.
func TestTheNextAgentAfterOneThatHadJustBegun(t *testing.T) {
	s, k := newSite(t), newStand(t)
	o := s.options(s.sh("web", server))
	o.Keeper = k.next()
	full := o.withDefaults()
	killed := &Agent{opts: full, keeper: o.Keeper, paths: FindRoots(o.Environ).Project(o.Spec.Project, full.origin())}
	if err := errors.Join(killed.inherit(), killed.claim()); err != nil {
		t.Fatal(err)
	}
	killed.leaveBehind() // as a kill does: what is on disk stays
	if err := killed.teardown.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(killed.paths.Socket); err != nil {
		t.Fatal(err)
	}
	asked := make(chan error, 1)
	go func() { // waits in the queue
		_, err := client.New(client.Options{Socket: killed.paths.Socket}).Status(context.Background())
		asked <- err
	}()
	o.Keeper = k.next()
	next := start(t, o)
	if next.Paths() != killed.paths || next.Succeeds() {
		t.Errorf("%+v", next.Paths())
	}
	next.state("web#0", event.Ready)
	if err := <-asked; err != nil {
		t.Errorf("asked between two agents: %v", err)
	}
}

// An end that was begun, or asked for while nobody was there, is gone on with.
func TestTheNextAgentEndsWhatIsToEnd(t *testing.T) {
	for _, c := range []struct {
		signals []int
		now     bool
	}{{[]int{15}, false}, {[]int{2, 2}, true}} {
		s, k := newSite(t), newStand(t)
		app := s.sh("web", server)
		if c.now {
			app = s.sh("web", "trap '' TERM; echo up; while :; do sleep 0.02; done")
			app.Stop.Timeout = spec.Duration(time.Hour)
		}
		o := s.options(app)
		o.Keeper = k.next()
		first := start(t, o)
		first.state("web#0", event.Ready)
		first.leave(s)
		k.hello.Signals = c.signals
		o.Keeper = k.next()
		want := 0
		if c.now {
			want = 130
		}
		if code, err := start(t, o).ended(); code != want || err != nil {
			t.Errorf("%v: ended with %d, %v", c.signals, code, err)
		}
	}
}

func TestAnEndIsBequeathed(t *testing.T) {
	s, k := newSite(t), newStand(t)
	text, err := json.Marshal(legacy{PID: 1, Version: "old", Ending: &ending{Reason: "asked", Code: 7}})
	if err != nil {
		t.Fatal(err)
	}
	if err := (process.Records{Store: k.store}).Save(recordName, text); err != nil {
		t.Fatal(err)
	}
	k.hello.Signals = []int{int(syscall.SIGTERM)} // it does not hurry what has begun, nor change its code
	o := s.options(s.sh("web", server))
	o.Keeper = k.next()
	if code, err := start(t, o).ended(); code != 7 || err != nil {
		t.Errorf("ended with %d, %v", code, err)
	}
}

func TestAllEndsWithTheKeeper(t *testing.T) {
	s, k := newSite(t), newStand(t)
	o := s.options(s.sh("web", "trap '' TERM; setsid sh -c \"trap '' TERM; echo \\$\\$ >stray; echo up; while :; do sleep 0.02; done\" & while :; do sleep 0.02; done"))
	o.Keeper = k.next()
	r := start(t, o)
	pid := r.state("web#0", event.Ready).PID
	began := time.Now()
	close(k.gone)
	if code, err := r.ended(); code != 1 || fault.CodeOf(err) != fault.KeeperLost {
		t.Errorf("ended with %d, %v", code, err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
	text, _ := os.ReadFile(filepath.Join(s.dir, "stray"))
	var stray int
	fmt.Sscan(string(text), &stray)
	if left, _ := Leftovers(r.Paths()); stray == 0 || len(left) > 0 {
		t.Errorf("left of %d and %d: %v", pid, stray, left)
	}
	if _, err := os.Stat(r.Paths().Socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

func TestUpgradeRefuses(t *testing.T) {
	s, k := newSite(t), newStand(t)
	o := s.options(s.sh("web", server))
	o.Keeper = k.next()
	r := start(t, o)
	r.state("web#0", event.Ready)
	plain := filepath.Join(s.dir, "plain")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for binary, want := range map[string]string{
		"":                                       "no absolute path",
		"muster":                                 "no absolute path",
		filepath.Join(s.dir, "none"):             "no such file",
		s.dir:                                    "is no file",
		plain:                                    "not executable",
		s.binary(t, "mute", "exit 0"):            "does not answer",
		s.binary(t, "dies", "echo boom; exit 3"): "refuses",
		s.binary(t, "new", able(keeper.Protocol+1, recordsVersion)): "protocol",
		s.binary(t, "old", able(keeper.Protocol, recordsVersion-1)): "too old",
	} {
		_, err := r.Upgrade(context.Background(), api.UpgradeRequest{Binary: binary})
		if fault.CodeOf(err) != fault.UpgradeFailed || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", binary, err, want)
		}
	}
	if st := r.Status(); st.Apps[0].Ready != 1 || st.Upgrade != nil {
		t.Errorf("%+v", st)
	}
}

func TestUpgradeWantsAKeeper(t *testing.T) {
	s := newSite(t)
	r := start(t, s.options(s.sh("web", server)))
	r.state("web#0", event.Ready)
	_, err := r.Upgrade(context.Background(), api.UpgradeRequest{Binary: "/bin/true"})
	if fault.CodeOf(err) != fault.UpgradeFailed || !strings.Contains(err.Error(), "without a keeper") {
		t.Error(err)
	}
}

// What came of an upgrade that failed is told by the agent that runs again.
func TestAFailedUpgradeIsTold(t *testing.T) {
	s, k := newSite(t), newStand(t)
	o := s.options(s.sh("web", server))
	o.Keeper = k.next()
	first := start(t, o)
	first.state("web#0", event.Ready)
	first.leave(s)
	var outcome keeper.UpgradeOutcome
	if err := json.Unmarshal(k.hello.Upgrade, &outcome); err != nil {
		t.Fatal(err)
	}
	outcome.Reason = "it was not up within 30s"
	k.hello.Upgrade, _ = json.Marshal(outcome)
	o.Keeper = k.next()
	second := start(t, o)
	if f := second.warning(fault.UpgradeFailed); !strings.Contains(f.Text, "not up within 30s") {
		t.Errorf("%+v", f)
	}
	if u := second.Status().Upgrade; u == nil || fault.CodeOf(u.Fault) != fault.UpgradeFailed {
		t.Errorf("%+v", u)
	}
}
