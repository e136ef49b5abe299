package notifier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

const (
	// queueMax notes wait for one notifier.
	queueMax = 64
	// behind is how many events the watch may fall behind.
	behind = 4096
)

// Options of Notifiers. Hub is required.
type Options struct {
	Project, Node string
	Hub           *event.Hub
	// Session is the key that authorises orders from outside, and the address where
	// it does; "": there is none. nil: never.
	Session func() (key, address string)
	// Dir and Environ are for commands.
	Dir     string
	Environ []string
	Log     *slog.Logger

	// pauses between tries, and how often is looked for room for what was held;
	// shorter in tests.
	pauses []time.Duration
	late   time.Duration
}

// Notifiers tell of what happens. Its methods are safe for concurrent use.
type Notifiers struct {
	opts   Options
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu   sync.Mutex
	list map[string]*line
}

// line is one notifier and what waits for it.
type line struct {
	spec.Notifier
	notes  chan Note
	cancel context.CancelFunc

	mu     sync.Mutex
	held   int
	last   *Note // of those held: what is told when there is room again
	tokens float64
	filled time.Time
}

// New makes Notifiers that tell nobody until Apply. Close ends them.
func New(o Options) *Notifiers {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.pauses == nil {
		o.pauses = []time.Duration{time.Second, 5 * time.Second}
	}
	if o.late <= 0 {
		o.late = time.Second
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := &Notifiers{opts: o, ctx: ctx, cancel: cancel, list: map[string]*line{}}
	sub := o.Hub.Subscribe(0, behind)
	n.wg.Go(func() { n.watch(sub) })
	return n
}

// Close ends them; deliveries under way are broken off.
func (n *Notifiers) Close() error {
	n.cancel()
	n.wg.Wait()
	return nil
}

// Apply makes these the notifiers there are. What waits for one that stays as it was
// is still delivered.
func (n *Notifiers) Apply(list []spec.Notifier) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := map[string]*line{}
	for _, s := range list {
		if old := n.list[s.Name]; old != nil && same(old.Notifier, s) {
			now[s.Name] = old
			continue
		}
		now[s.Name] = n.start(s)
	}
	for name, old := range n.list {
		if now[name] != old {
			old.cancel()
		}
	}
	n.list = now
}

func same(a, b spec.Notifier) bool { return fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b) }

func (n *Notifiers) start(s spec.Notifier) *line {
	ctx, cancel := context.WithCancel(n.ctx)
	l := &line{Notifier: s, notes: make(chan Note, queueMax), cancel: cancel, tokens: float64(s.Rate), filled: time.Now()}
	n.wg.Go(func() {
		late := time.NewTicker(n.opts.late)
		defer late.Stop()
		for {
			select {
			case note := <-l.notes:
				_ = n.deliver(ctx, l, note) // its event says what went wrong
			case <-late.C:
				l.release()
			case <-ctx.Done():
				return
			}
		}
	})
	return l
}

// watch makes notes of events until Close. Events that it was too slow for are lost.
func (n *Notifiers) watch(sub *event.Subscription) {
	stop := context.AfterFunc(n.ctx, sub.Close)
	defer stop()
	w := newWatch()
	for {
		for e := range sub.C {
			if note := w.see(e); note != nil {
				n.tell(*note)
			}
		}
		if n.ctx.Err() != nil || !errors.Is(sub.Err(), event.ErrSlow) {
			return
		}
		n.opts.Log.Warn("notifiers were too slow for the events; some were missed")
		sub = n.opts.Hub.Subscribe(event.Now, behind)
		defer context.AfterFunc(n.ctx, sub.Close)()
	}
}

// tell puts a note into the queues of those it is for.
func (n *Notifiers) tell(note Note) {
	note.Project = n.opts.Project
	if note.Node == "" {
		note.Node = n.opts.Node
	}
	if note.Event == Started && n.opts.Session != nil {
		if key, address := n.opts.Session(); address != "" {
			note.Key, note.Control = key, address
		}
	}
	note = note.clean()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.list {
		if l.wants(note) {
			l.push(note)
		}
	}
}

// wants says whether a note is for it.
func (l *line) wants(n Note) bool {
	if l.On != nil && !slices.Contains(l.On, n.Event) {
		return false
	}
	return l.Apps == nil || n.App == "" || slices.ContainsFunc(l.Apps, func(glob string) bool {
		ok, _ := path.Match(glob, n.App)
		return ok
	})
}

// push never blocks: what is too much is counted, and the last of it kept.
func (l *line) push(n Note) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fill()
	n.Held = l.held
	if l.tokens >= 1 && l.queue(n) {
		return
	}
	l.held++
	if l.last == nil || l.last.Event != GaveUp || n.Event == GaveUp {
		l.last = &n
	}
}

// release tells the last of those held, so that nobody waits for the next accident to
// hear that a worker was given up.
func (l *line) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil {
		return
	}
	if l.fill(); l.tokens >= 1 {
		n := *l.last
		n.Held = l.held - 1
		l.queue(n)
	}
}

// fill adds the tokens of the time that has passed.
func (l *line) fill() {
	now := time.Now()
	l.tokens = min(float64(l.Rate), l.tokens+now.Sub(l.filled).Minutes()*float64(l.Rate))
	l.filled = now
}

// queue says whether there was room.
func (l *line) queue(n Note) bool {
	select {
	case l.notes <- n:
		l.tokens--
		l.held, l.last = 0, nil
		return true
	default:
		return false
	}
}

// Names lists the notifiers there are.
func (n *Notifiers) Names() (names []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name := range n.list {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Test has one notifier deliver a note now, whatever its rate. A name that there is
// not is a fault of code E-NO-APP.
func (n *Notifiers) Test(ctx context.Context, name string) error {
	n.mu.Lock()
	l := n.list[name]
	n.mu.Unlock()
	if l == nil {
		return fault.New(fault.NoApp, "there is no notifier %q", name).WithFix("`muster config show` lists notify:")
	}
	note := Note{Event: Test, Time: time.Now(), Project: n.opts.Project, Node: n.opts.Node}
	return n.deliver(ctx, l, note)
}

// deliver tries until it is done or cannot be, and publishes the result.
func (n *Notifiers) deliver(ctx context.Context, l *line, note Note) error {
	began := time.Now()
	err := n.try(ctx, l, note)
	for _, pause := range n.opts.pauses {
		var again retry
		if !errors.As(err, &again) || ctx.Err() != nil {
			break
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		err = n.try(ctx, l, note)
	}
	done := event.Notified{Notifier: l.Name, Occasion: note.Event, Took: time.Since(began), Held: note.Held}
	var f *fault.Fault
	if err != nil {
		f = fault.New(fault.NotifyFailed, "%s was not delivered: %w", note.Event, err).At("notify." + l.Name)
		done.Fault = f // muster's log is made of events, too
	}
	n.opts.Hub.Publish(event.Event{Node: n.opts.Node, App: note.App, Slot: event.NoSlot, Data: done})
	if f != nil {
		return f
	}
	return nil
}

// retry is an error after which another try may help.
type retry struct{ error }

// Unwrap is the error itself.
func (r retry) Unwrap() error { return r.error }
