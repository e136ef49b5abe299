package supervisor

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/spec"
	"pgregory.net/rapid"
)

// Record before act: an agent that is killed after any of the things that it does
// leaves a state from which its successor comes to the same end.
func TestKilledAfterEachDeed(t *testing.T) {
	for name, story := range map[string]func(w *world, live func(func()) bool){
		"crash":  storyOfACrash,
		"reload": storyOfAReload,
		"bad":    storyOfABadRelease,
		"scale":  storyOfAScale,
		"stop":   storyOfAStop,
	} {
		t.Run(name, func(t *testing.T) {
			for n := 1; ; n++ {
				cut := false
				inWorld(t, func(w *world) { cut = w.tell(n, story) })
				if t.Failed() {
					t.Fatalf("killed after deed %d", n)
				}
				if !cut {
					t.Logf("%d deeds", n-1)
					return
				}
			}
		})
	}
}

// tell runs a story in which the agent is killed after deed n of what happens in
// live; false: there were not so many.
func (w *world) tell(n int, story func(w *world, live func(func()) bool)) (cut bool) {
	story(w, func(happens func()) bool {
		w.life.CutAfter(n)
		happens()
		for range 600 { // until it is dead, or all has happened
			w.pass(100 * time.Millisecond)
			select {
			case <-w.life.Dead():
				cut = true
				w.renew(w.kill)
				return true
			default:
			}
		}
		w.life.CutAfter(1 << 30)
		return false
	})
	w.pass(10 * time.Minute)
	w.consistent()
	return cut
}

// consistent: no process that nobody knows, each slot as wanted, listeners bound
// once, nothing kept of what is gone.
func (w *world) consistent() {
	w.Helper()
	synctest.Wait()
	pids := map[int]bool{}
	for _, a := range w.sup.Snapshot() {
		for _, v := range a.Workers {
			pids[v.PID] = true
		}
	}
	for _, p := range w.fake.List() {
		if !pids[p.PID] || p.Exit != nil {
			w.Errorf("nobody has %s (pid %d, %v)", p.ID, p.PID, p.Exit)
		}
	}
	for _, name := range w.store.List() {
		if id, ok := strings.CutPrefix(name, "notify/"); ok && !slices.ContainsFunc(w.fake.List(), func(p process.Proc) bool { return p.ID == id }) {
			w.Errorf("%s is left in the store", name)
		}
	}
	if n := len(listening(w)); w.bound != n {
		w.Errorf("%d listeners bound, %d in the store", w.bound, n)
	}
}

// restarts is what the slots of web have counted.
func (w *world) restarts() (n int) {
	for _, v := range w.workers("web") {
		n += v.Restarts
	}
	return n
}

func storyOfACrash(w *world, live func(func()) bool) {
	w.apply(app("web", 2))
	w.pass(2 * time.Second)
	id := w.id(w.pids("web")[1])
	live(func() { w.fake.Exit(id, 3, 0) })
	w.pass(time.Minute)
	v := w.workers("web")[1]
	if w.restarts() != 1 || v.State != event.Ready || v.LastExit == nil || v.LastExit.Code != 3 {
		w.Errorf("%+v", v)
	}
	if n := len(w.fake.Commands()); n != 3 {
		w.Errorf("%d starts", n)
	}
}

func storyOfAReload(w *world, live func(func()) bool) {
	w.apply(app("web", 2))
	w.pass(2 * time.Second)
	if killed := live(w.reload); !killed {
		return
	}
	w.pass(time.Minute)
	list := w.workers("web")
	if len(list) != 2 || list[0].Release != list[1].Release || list[0].State != event.Ready || list[1].State != event.Ready {
		w.Fatalf("%s: %+v", w.states("web"), list)
	}
	// A signal is sent before it is recorded: an old worker may end by it between
	// the two, and be started again.
	if w.restarts() > 1 {
		w.Errorf("%d restarts", w.restarts())
	}
}

func storyOfABadRelease(w *world, live func(func()) bool) {
	w.apply(app("web", 2))
	w.pass(2 * time.Second)
	w.onStart(func(c process.Command) {
		if isNew(c) && strings.Contains(string(c.Meta), `"slot":1`) {
			w.fake.Exit(c.ID, 1, 0)
		}
	})
	live(w.reload)
	w.pass(time.Minute)
	for _, v := range w.workers("web") {
		if v.State != event.Ready || v.Release != "r1" {
			w.Errorf("%+v", v)
		}
	}
	if len(w.workers("web")) != 2 {
		w.Errorf("%s", w.states("web"))
	}
}

func storyOfAScale(w *world, live func(func()) bool) {
	w.apply(app("web", 2))
	if live(func() { go w.sup.Scale(w.Context(), scaleTo("web", 4)) }) {
		if f := w.sup.Scale(w.Context(), scaleTo("web", 4)).Fault(); f != nil {
			w.Error(f)
		}
	}
	wantRelease(w, "web", "r1", 4)
	if n := len(w.fake.Commands()); n != 4 {
		w.Errorf("%d starts", n)
	}
}

func storyOfAStop(w *world, live func(func()) bool) {
	w.apply(app("web", 2))
	w.pass(2 * time.Second)
	if live(func() { go w.sup.Stop(w.Context(), order("web")) }) {
		if f := w.sup.Stop(w.Context(), order("web")).Fault(); f != nil {
			w.Error(f)
		}
	}
	w.wantStates("web", "stopped stopped")
	if left := w.fake.List(); len(left) > 0 || len(listening(w)) > 0 {
		w.Errorf("left %v, %q", left, listening(w))
	}
	w.bound = 0
}

// model is what a random story must come to.
type model struct {
	size     int
	restarts int // -1: not known
}

// Whatever happens, and whenever the agent is killed or leaves: everything comes
// to rest as wanted, with each accident counted once.
func TestRandomLives(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		where, err := os.MkdirTemp(dir, "")
		if err != nil {
			rt.Fatal(err)
		}
		script := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) deed {
			return deed{rapid.IntRange(0, 10).Draw(t, "what"), rapid.IntRange(0, 1000).Draw(t, "how")}
		}), 5, 30).Draw(rt, "deeds")
		var wrong []string
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, where)
			w.wrong = &wrong
			defer w.store.Close()
			defer close(w.over)
			w.randomLife(script)
			w.end()
		})
		if len(wrong) > 0 {
			rt.Fatal(strings.Join(wrong, "\n"))
		}
	})
}

type deed struct{ what, how int }

func (w *world) randomLife(script []deed) {
	m := model{size: 3}
	w.apply(app("web", 3, func(a *spec.App) { a.Restart.Limit = 0 }))
	for _, d := range script {
		w.happens(d, &m)
		synctest.Wait()
	}
	w.setAccepts(listener.Yes)
	w.fake.FailStart(nil)
	w.pass(20 * time.Minute)
	w.consistent()
	list := w.workers("web")
	ready := 0
	for _, v := range list {
		if v.State == event.Ready {
			ready++
		}
	}
	if len(list) != m.size || ready != m.size {
		w.Errorf("%s, want %d ready", w.states("web"), m.size)
	}
	if got := w.restarts(); got != m.restarts && m.restarts >= 0 {
		w.Errorf("%d restarts, want %d", got, m.restarts)
	}
}

// happens lets one thing happen. Restarts are known as long as nothing ends that
// may have been ending anyway.
func (w *world) happens(d deed, m *model) {
	switch d.what {
	case 0:
		go w.sup.Reload(w.Context(), api.Order{Selector: "web", Now: d.how%3 == 0})
	case 1:
		w.pass(2 * time.Minute) // at rest: orders in line are lost with the agent
		w.setAccepts(listener.Yes)
		w.pass(2 * time.Minute)
		size := 1 + d.how%5
		if f := w.sup.Scale(w.Context(), scaleTo("web", size)).Fault(); f != nil {
			w.Error(f)
		}
		if size < m.size {
			m.restarts = -1 // counters of slots that are gone
		}
		m.size = size
	case 2:
		w.pass(3 * time.Second)
		if v := w.calm(d.how); v != nil {
			w.fake.Exit(w.id(v.PID), d.how%3, 0)
			w.pass(time.Minute) // a reload would spare it the restart
			if m.restarts >= 0 {
				m.restarts++
			}
		}
	case 3:
		w.setAccepts(listener.Answer(1 + d.how%2))
		m.restarts = -1 // ready timeouts
	case 4:
		go w.sup.Restart(w.Context(), order("web"))
	case 5, 6:
		w.pass(time.Duration(d.how) * 10 * time.Millisecond)
	case 7:
		w.renew(w.kill)
	case 8:
		w.renew(w.leave)
	case 9: // dead in the middle of what comes next
		w.life.CutAfter(1 + d.how%20)
		if d.how%2 == 0 {
			w.reload()
		}
		w.pass(time.Duration(d.how) * time.Millisecond)
		m.restarts = -1 // a stop signal that is not recorded
		w.renew(w.kill)
	case 10: // ends while no agent is there
		v := w.calm(d.how)
		w.kill()
		if v != nil {
			for _, p := range w.fake.List() {
				if p.PID == v.PID {
					w.fake.Exit(p.ID, 1, 0)
				}
			}
			if m.restarts >= 0 {
				m.restarts++
			}
		}
		w.begin()
		w.pass(time.Minute)
	}
}

// calm picks a worker that is ready while nothing else is under way.
func (w *world) calm(n int) *api.Worker {
	a := w.app("web")
	if a.Reload != nil || a.Status != event.Healthy || len(a.Workers) == 0 {
		return nil
	}
	return &a.Workers[n%len(a.Workers)]
}
