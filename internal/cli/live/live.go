// Package live is what a console shows of its project while nobody asks: the state in
// the prompt, and lines about what happens.
//
// It follows the events of the agent and, for a console that was started with the
// session, the output of the workers. An agent that is replaced is followed on. When
// the session ends, a client's console tells so once and waits for the next one; an
// attached one has nothing more to say.
package live

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/internal/cli/project"
	"github.com/muster-run/muster/internal/cli/show"
)

// lookTime bounds the question for the state in the prompt.
const lookTime = 300 * time.Millisecond

// Project is one that is shown. Its methods are safe for concurrent use.
type Project struct {
	Name   string
	Client *client.Client
	// Runs says that there is an agent, or is just going to be one again.
	Runs func() bool
	// Looks are those of the terminal.
	Looks *show.Printer
	// Verbose shows every lifecycle line, Quiet only the bad ones.
	Verbose, Quiet bool
	// Fresh shows only what comes.
	Fresh bool
	// Attached: the console was started with the session, and shows what its workers
	// print.
	Attached bool

	state atomic.Pointer[string]
}

// Prompt is what stands before a line: the project and its state, as last seen.
func (p *Project) Prompt() string {
	state := p.state.Load()
	if state == nil {
		return p.Looks.Paint(show.Bold, p.Name) + "> "
	}
	return p.Looks.Paint(show.Bold, p.Name) + " " + *state + "> "
}

// Look asks for the state.
func (p *Project) Look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	state := p.Looks.Paint(show.Red, "not running")
	if p.Runs() {
		st, err := p.Client.Status(ctx)
		if err != nil {
			return // it is just being replaced, or busy: the prompt keeps what it said
		}
		state = show.Status{Printer: p.Looks}.Worst(st.Apps)
	}
	p.state.Store(&state)
}

// Follow tells what happens until ctx ends; of an attached console until the session
// does. An empty line is none: Prompt has become another.
func (p *Project) Follow(ctx context.Context, say func(line string)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	after, gone := event.Now, p.absence(ctx, say)
	if p.Attached {
		if !p.Fresh {
			after = 0
		}
		wg.Go(func() { p.output(ctx, say) })
	}
	var session time.Time
	for first := true; ; first = false {
		st, err := p.await(ctx, func() error { return gone(first) })
		switch {
		case err != nil:
			return // over, one way or the other
		case !first && !st.StartedAt.Equal(session):
			after = 0
			say(p.Looks.Paint(show.Dim, p.Name+" runs again"))
		}
		session = st.StartedAt
		p.Look(ctx)
		say("")
		// However it ends: who answers next counts.
		_ = p.Client.Events(ctx, after, p.teller(ctx, say))
		after = event.Now
	}
}

// errOver ends what has nothing more to follow.
var errOver = errors.New("the session has ended")

// absence is what to do when there is no agent: an attached console that has seen one
// is over.
func (p *Project) absence(ctx context.Context, say func(line string)) func(first bool) error {
	return func(first bool) error {
		switch {
		case p.Attached && first:
			return nil
		case p.Attached:
			return errOver
		}
		p.Look(ctx)
		if first {
			say("")
			return nil
		}
		say(p.Looks.Paint(show.Yellow, p.Name+" has ended; `up -d` starts it again"))
		return nil
	}
}

// await waits until an agent answers. gone is told once that there is none.
func (p *Project) await(ctx context.Context, gone func() error) (st api.Status, err error) {
	told := false
	err = project.Poll(ctx, func() (ok bool, err error) {
		if p.Runs() {
			st, err = p.Client.Status(ctx)
			return err == nil, nil
		}
		if told {
			return false, nil
		}
		told = true
		return false, gone()
	})
	return st, err
}

// teller makes lines of events.
func (p *Project) teller(ctx context.Context, say func(line string)) func(event.Event) error {
	n := show.NewNarrator()
	return func(e event.Event) error {
		if _, ok := e.Data.(event.AppState); ok {
			p.Look(ctx)
			say("")
		}
		text, m := n.Line(e)
		if text == "" || m == show.Quiet && !p.Verbose || p.Quiet && m != show.Bad {
			return nil
		}
		if i := m.Ink(); i != 0 {
			text = p.Looks.Paint(i, text)
		}
		say(p.Looks.Paint(show.Dim, e.Time.Local().Format("15:04:05")) + " " + text)
		return nil
	}
}

// output tells what workers print, of those apps that are to be shown.
func (p *Project) output(ctx context.Context, say func(line string)) {
	st, err := p.await(ctx, func() error { return nil })
	if err != nil {
		return
	}
	lines := p.Looks.Through(liner(say))
	view := show.Records{Out: lines, Err: lines}
	shown := map[string]bool{}
	since := st.StartedAt
	if p.Fresh {
		since = time.Now()
	}
	_ = p.Client.Logs(ctx, client.LogOptions{Lines: -1, Follow: true, Since: since}, func(r api.Record) error {
		show, known := shown[r.App]
		if !known {
			show = p.shows(ctx, r.App)
			shown[r.App] = show
		}
		if !show {
			return nil
		}
		return view.Print(r)
	})
}

// shows says whether an app's output is to be shown in the foreground.
func (p *Project) shows(ctx context.Context, app string) bool {
	s, err := p.Client.Spec(ctx, false)
	if err != nil {
		return true
	}
	for _, a := range s.Apps {
		if a.Name == app {
			return a.Log.Show
		}
	}
	return true
}

// liner passes on whole lines.
type liner func(line string)

// Write implements io.Writer.
func (l liner) Write(b []byte) (int, error) {
	l(strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}
