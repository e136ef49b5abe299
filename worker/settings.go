package worker

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/op"
	"github.com/muster-run/muster/peer"
)

// beatsPerInterval: a sign of life is sent every fifth of heartbeat.interval (S0.8).
const beatsPerInterval = 5

// settings of the worker's app, and who wants to know of changes.
type settings struct {
	mu      sync.Mutex
	now     peer.Settings
	told    bool // by muster's word after the welcome
	wanted  []*func(peer.Settings)
	changed chan struct{}
}

func (s *settings) begin() { s.changed = make(chan struct{}, 1) }

// set notes other settings; late is the word of an older state, which counts only when
// there is none yet.
func (s *settings) set(now peer.Settings, late bool) (tell []*func(peer.Settings)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if late && s.told {
		return nil
	}
	s.now, s.told = now, true
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return s.wanted
}

// Settings are those of the worker's app as muster has last said; zero before.
func (w *Worker) Settings() peer.Settings {
	w.settings.mu.Lock()
	defer w.settings.mu.Unlock()
	return w.settings.now
}

// OnConfig has f called when the settings of the app are changed while it runs; Changes
// says what.
func (w *Worker) OnConfig(f func(peer.Settings)) (remove func()) {
	s, own := &w.settings, &f
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = append(slices.Clone(s.wanted), own)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.wanted = slices.DeleteFunc(slices.Clone(s.wanted), func(x *func(peer.Settings)) bool { return x == own })
	}
}

// configChanged is muster's word of a change.
func (w *Worker) configChanged(_ context.Context, r *peer.Request) (any, error) {
	var now peer.Settings
	if err := r.Decode(&now); err != nil {
		return nil, err
	}
	for _, f := range w.settings.set(now, false) {
		w.safely("OnConfig", func() { (*f)(now) })
	}
	return nil, nil
}

// beat sends signs of life for as long as they are wanted.
func (w *Worker) beat() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		select {
		case <-w.Done():
			stop()
		case <-ctx.Done():
		}
	}()
	welcome, err := w.Hello(ctx)
	if err != nil {
		return // the channel has ended
	}
	w.settings.set(welcome.Settings, true)
	var last time.Time
	for {
		var tick <-chan time.Time
		if every := w.beatEvery(); every > 0 {
			if time.Since(last) >= every {
				w.beatOnce()
				last = time.Now()
			}
			tick = time.After(time.Until(last.Add(every)))
		}
		select {
		case <-tick:
		case <-w.settings.changed:
		case <-ctx.Done():
			return
		}
	}
}

// beatOnce sends a sign of life, if the program says that it is alive.
func (w *Worker) beatOnce() {
	if w.o.Alive == nil || w.o.Alive() {
		_ = w.send(op.Frame{Cmd: op.CmdOp, Op: op.Heartbeat}.Append(nil)) // the next one may leave
	}
}

// beatEvery is the time between signs of life; 0: none are wanted.
func (w *Worker) beatEvery() time.Duration {
	ms := w.Settings().HeartbeatMS
	if ms <= 0 {
		return 0
	}
	return max(time.Millisecond, time.Duration(ms)*time.Millisecond/beatsPerInterval)
}

// Ready says that the worker can serve. Apps with `ready: notify` wait for it.
func (w *Worker) Ready() error {
	if w.Alone() {
		return nil
	}
	return w.send([]byte(`{"cmd":"` + channel.CmdReady + `"}`))
}

// Status says in one line what the worker does; it is shown by `muster status`, and
// replaces the one before.
func (w *Worker) Status(text string) error {
	if w.Alone() {
		return nil
	}
	quoted, err := json.Marshal(text)
	if err != nil { // a string
		return nil
	}
	return w.send(append(append([]byte(`{"cmd":"`+channel.CmdStatus+`","text":`), quoted...), '}'))
}
