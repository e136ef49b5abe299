package pool

import (
	"fmt"

	"github.com/muster-run/muster/event"
)

func (r *rollout) reason() string {
	switch {
	case r.phase == event.ReloadReverting:
		return "release " + r.want.Name + " failed"
	case r.kind == rollReplace:
		return "replaced: " + r.failing.Text
	}
	return "release " + r.want.Name
}

// String is the progress in words: "release r3, 2/4".
func (r *rollout) String() string {
	return fmt.Sprintf("%s release %s, %d/%d", r.phase, r.want.Name, r.done, r.total)
}

func (r *rollout) progress() event.Reload {
	return event.Reload{Phase: r.phase, Release: r.want.Name, Done: r.done, Total: r.total, Fault: r.fault}
}

func (r *rollout) tell() {
	if !r.quiet() {
		r.p.publish(nil, r.progress())
	}
}
