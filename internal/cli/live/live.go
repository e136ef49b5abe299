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
// does.
func (p *Project) Follow(ctx context.Context, say func(line string)) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	after, out := event.Now, ""
	if p.Attached {
		if !p.Fresh {
			after = 0
		}
		wg.Go(func() { p.output(ctx, say) })
	}
	for ctx.Err() == nil {
		if err := p.await(ctx); err != nil {
			return nil
		}
		if out != "" {
			say(p.Looks.Paint(show.Dim, p.Name+" runs again"))
			p.Look(ctx)
		}
		_ = p.Client.Events(ctx, after, p.teller(ctx, say)) // however it ends: who has the lock counts
		if p.Runs() || ctx.Err() != nil {
			continue
		}
		if p.Attached {
			return nil
		}
		p.Look(ctx)
		after, out = 0, "muster has ended; `up -d` starts it again"
		say(p.Looks.Paint(show.Yellow, out))
	}
	return nil
}

// await waits until an agent answers.
func (p *Project) await(ctx context.Context) error {
	return project.Poll(ctx, func() (bool, error) {
		if !p.Runs() {
			return false, nil
		}
		_, err := p.Client.Version(ctx)
		return err == nil, nil
	})
}

// teller makes lines of events.
func (p *Project) teller(ctx context.Context, say func(line string)) func(event.Event) error {
	n := show.NewNarrator()
	return func(e event.Event) error {
		if _, ok := e.Data.(event.AppState); ok {
			p.Look(ctx)
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
	if p.await(ctx) != nil {
		return
	}
	lines := p.Looks.Through(liner(say))
	view := show.Records{Out: lines, Err: lines}
	shown := map[string]bool{}
	since := time.Now()
	if st, err := p.Client.Status(ctx); err == nil && !p.Fresh {
		since = st.StartedAt
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
