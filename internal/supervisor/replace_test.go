package supervisor

import (
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/spec"
)

// memory is a pool.Usage that a test sets, by pid.
type memory struct {
	mu   sync.Mutex
	used map[int]int64
}

func (m *memory) Fill(v *api.Worker, p process.Proc) { v.Memory, _ = m.Memory(p) }

func (m *memory) Memory(p process.Proc) (int64, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used[p.PID], true
}

func (m *memory) set(pid int, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used[pid] = bytes
}

// A worker above limits.memory is replaced without a gap, and counted.
func TestMemoryLimitReplaces(t *testing.T) {
	inWorld(t, func(w *world) {
		m := &memory{used: map[int]int64{}}
		w.sup.shared.Usage = m
		w.apply(app("web", 2, func(a *spec.App) { a.Limits.Memory = 100 << 20 }))
		before := w.pids("web")
		old := w.id(before[0])
		w.setAccepts(listener.No)
		m.set(before[0], 101<<20)
		w.pass(10 * time.Second)
		if got := w.fake.Signals(old); len(got) > 0 {
			t.Fatalf("the old worker got %v before the new one was ready", got)
		}
		w.setAccepts(listener.Yes)
		w.pass(10 * time.Second)
		after := w.workers("web")
		if len(after) != 2 || after[0].PID == before[0] || after[1].PID != before[1] {
			t.Fatalf("pids %v then %v", before, w.pids("web"))
		}
		if after[0].Restarts != 1 || after[0].State != event.Ready {
			t.Errorf("%+v", after[0])
		}
		if a := w.app("web"); len(a.Warnings) == 0 || a.Warnings[0].Code != fault.MemoryLimit {
			t.Errorf("%+v", a.Warnings)
		}
	})
}

// One that cannot be renewed beside the old one is ended and started again.
func TestReplaceFallsBackToRestart(t *testing.T) {
	inWorld(t, func(w *world) {
		m := &memory{used: map[int]int64{}}
		w.sup.shared.Usage = m
		w.apply(app("web", 1, func(a *spec.App) { a.Limits.Memory = 100 << 20 }))
		old := w.pids("web")[0]
		fails := 0
		w.fake.FailStart(func(process.Command) error {
			if fails++; fails == 1 {
				return fault.New(fault.StartFailed, "address already in use")
			}
			return nil
		})
		m.set(old, 1<<30)
		w.pass(time.Minute)
		w.wantStates("web", "ready")
		if now := w.pids("web")[0]; now == old {
			t.Error("the worker was not renewed")
		}
	})
}

// An app whose one worker listens on a port of its own: the old one goes first,
// and a failing release is followed by the old one again.
func TestOwnPortIsReplacedInPlace(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("redis", 1, func(a *spec.App) { a.Listen = nil }))
		w.mu.Lock()
		w.own = []listener.Socket{{Network: "tcp", Address: "127.0.0.1:6379", Port: 6379}}
		w.mu.Unlock()
		peak := w.peak()
		if f := w.sup.Reload(w.Context(), order("redis")).Fault(); f != nil {
			t.Fatal(f)
		}
		if peak() != 1 {
			t.Errorf("%d processes at once", peak())
		}
		w.fake.FailStart(func(c process.Command) error {
			if strings.Contains(string(c.Meta), `"r3"`) {
				return fault.New(fault.CommandNotFound, "gone: %w", syscall.ENOENT)
			}
			return nil
		})
		if f := w.sup.Reload(w.Context(), order("redis")).Fault(); f == nil || f.Code != fault.ReloadFailed {
			t.Fatalf("%v", f)
		}
		if v := w.workers("redis")[0]; v.State != event.Ready || v.Release != "r2" {
			t.Errorf("%+v", v)
		}
	})
}

// A worker that does not use its listeners is told about, with the fix.
func TestIgnoredListenerIsReported(t *testing.T) {
	inWorld(t, func(w *world) {
		w.setAccepts(listener.No)
		w.mu.Lock()
		w.own = []listener.Socket{{Network: "tcp", Address: "127.0.0.1:3000", Port: 3000, PID: 7}}
		w.mu.Unlock()
		w.apply(app("web", 1, func(a *spec.App) { a.Command = []string{"npm", "start"} }))
		a := w.app("web")
		if len(a.Warnings) != 1 || a.Warnings[0].Code != fault.ListenPID {
			t.Fatalf("%+v", a.Warnings)
		}
		if f := a.Warnings[0]; !strings.Contains(f.Text, "127.0.0.1:3000") || !strings.Contains(f.Fix, "npm") {
			t.Errorf("%+v", f)
		}
	})
}

// At most N+1 processes while N workers are reloaded one at a time.
func TestReloadNeverExceedsSurge(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 4))
		peak := w.peak()
		w.fake.OnSignal(func(id string, _ syscall.Signal) bool {
			time.AfterFunc(3*time.Second, func() { w.fake.Exit(id, 0, 0) })
			return true
		})
		if f := w.sup.Reload(w.Context(), order("web")).Fault(); f != nil {
			t.Fatal(f)
		}
		if peak() > 5 {
			t.Errorf("%d processes at once", peak())
		}
		var releases []string
		for _, v := range w.workers("web") {
			releases = append(releases, v.Release)
		}
		if !slices.Equal(releases, []string{"r2", "r2", "r2", "r2"}) {
			t.Errorf("%v", releases)
		}
	})
}

// Batches: two at a time, beside the old ones.
func TestReloadInBatches(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 4, func(a *spec.App) { a.Reload.Batch, a.Reload.Surge = 2, 2 }))
		w.setAccepts(listener.No)
		done := make(chan *fault.Fault, 1)
		go func() { done <- w.sup.Reload(w.Context(), order("web")).Fault() }()
		w.pass(time.Second)
		w.wantStates("web", "ready starting ready starting ready ready")
		w.setAccepts(listener.Yes)
		if f := <-done; f != nil {
			t.Error(f)
		}
	})
}
