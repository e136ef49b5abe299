package supervisor

import (
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/api"
)

// S3.1: processes are numbered per app, over every restart, reload and agent; no
// number comes twice.
func TestProcessesAreNumbered(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 2), app("api", 1))
		seen := map[int]int{} // pid by number
		last := 0
		look := func(what string, fresh int) {
			t.Helper()
			w.wantStates("web", "ready ready")
			for _, v := range w.workers("web") {
				if pid, known := seen[v.ID]; known && pid != v.PID {
					t.Errorf("%s: number %d is of pid %d and of pid %d", what, v.ID, pid, v.PID)
				} else if !known {
					seen[v.ID] = v.PID
					fresh--
				}
				last = max(last, v.ID)
			}
			if fresh != 0 || last != len(seen) {
				t.Errorf("%s: numbers %v, the last is %d", what, seen, last)
			}
		}
		look("first", 2)
		w.crash("web", 0, 1, 0)
		w.pass(time.Second)
		look("after a crash", 1)
		w.renew(w.kill)
		look("after the agent was killed", 0)
		w.crash("web", 1, -1, syscall.SIGKILL)
		w.pass(time.Second)
		look("after a crash of what was adopted", 1)
		if f := w.sup.Reload(w.Context(), api.Order{Selector: "web"}); f.Fault() != nil {
			t.Fatal(f)
		}
		look("after a reload", 2)
		if v := w.workers("api"); v[0].ID != 1 {
			t.Errorf("another app begins with %d", v[0].ID)
		}
	})
}
