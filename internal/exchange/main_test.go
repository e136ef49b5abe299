package exchange

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = time.Minute

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func newExchange(t testing.TB, ledgers ...Ledger) *Exchange {
	t.Helper()
	o := Options{Project: "p", Node: "n", Agent: 100, Epoch: 1, Log: quiet()}
	for _, l := range ledgers {
		o.Ledger = l
	}
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// fake is a party in the test's hands.
type fake struct {
	t    testing.TB
	seat op.Seat
	name string
	pid  int
	id   int64

	mu      sync.Mutex
	frames  []op.Frame // not taken yet
	stirred chan struct{}
	waiting [2]int
	refuse  error // what Send says
	beats   int
	crashes []op.CrashBody
	lines   []string
}

func (p *fake) send(data []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse != nil {
		return p.refuse
	}
	if strings.Contains(string(data), "\n") {
		p.t.Errorf("%s gets a line end: %q", p.name, data)
	}
	f, err := op.Parse(append([]byte(nil), data...))
	if err != nil {
		p.t.Errorf("%s gets %.200q: %v", p.name, data, err)
	}
	p.frames = append(p.frames, f)
	select {
	case p.stirred <- struct{}{}:
	default:
	}
	return nil
}

// blocked has so much wait for it, and lets the Exchange see it, as it does with every
// frame that it sends.
func (p *fake) blocked(frames, bytes int) {
	p.mu.Lock()
	p.waiting = [2]int{frames, bytes}
	p.mu.Unlock()
	p.seat.(*seat).look()
}

// reads has nothing wait any more; the Exchange has to see that by itself.
func (p *fake) reads() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = [2]int{}
}

// unsent has Send fail.
func (p *fake) unsent(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = err
}

func (p *fake) party(id string) op.Party {
	return op.Party{
		ID: id, Name: p.name, Send: p.send,
		Waiting: func() (int, int) {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.waiting[0], p.waiting[1]
		},
		Beat:      func() { p.beats++ },
		Crash:     func(b op.CrashBody) { p.crashes = append(p.crashes, b) },
		Lifecycle: func(text string) { p.lines = append(p.lines, text) },
	}
}

// stranger enters a worker that has not said hello: web#0 of role web with tag edge.
func stranger(t testing.TB, e *Exchange, app string, slot int, adopted bool) *fake {
	p := &fake{t: t, name: fmt.Sprintf("%s#%d", app, slot), pid: 1000 + slot, id: 1000, stirred: make(chan struct{}, 1)}
	party := p.party(p.name + "/1")
	party.App, party.Slot, party.Role, party.Tags = app, slot, "r-"+app, []string{"edge"}
	p.seat = e.Enter(party, adopted)
	return p
}

// worker enters one that takes part and is ready.
func worker(t testing.TB, e *Exchange, app string, slot int) *fake {
	p := stranger(t, e, app, slot, false)
	p.seat.Ready(p.pid, true)
	p.must(op.Hello, nil)
	return p
}

// client enters a client.
func client(t testing.TB, e *Exchange, name string) *fake {
	p := &fake{t: t, name: "client:" + name, id: 5000, stirred: make(chan struct{}, 1)}
	p.seat = e.Enter(p.party("client/"+name), false)
	p.seat.Ready(77, true)
	var w op.Welcome
	p.read(p.must(op.Hello, nil), &w)
	p.name = w.Name
	return p
}

func (p *fake) say(f op.Frame) {
	if f.Cmd == "" {
		f.Cmd = op.CmdOp
	}
	p.seat.Hear(f.Append(nil))
}

// ask sends a request and returns its ID.
func (p *fake) ask(f op.Frame) int64 {
	p.id++
	f.ID = p.id
	p.say(f)
	return f.ID
}

// next waits for a frame for which ok holds, and takes it out.
func (p *fake) next(what string, ok func(op.Frame) bool) op.Frame {
	p.t.Helper()
	end := time.After(patience)
	for {
		p.mu.Lock()
		for i, f := range p.frames {
			if ok(f) {
				p.frames = append(p.frames[:i:i], p.frames[i+1:]...)
				p.mu.Unlock()
				return f
			}
		}
		got := fmt.Sprintf("%+v", p.frames)
		p.mu.Unlock()
		select {
		case <-p.stirred:
		case <-end:
			p.t.Fatalf("%s gets no %s, but %.2000s", p.name, what, got)
		}
	}
}

func (p *fake) reply(id int64) op.Frame {
	p.t.Helper()
	return p.next(fmt.Sprintf("reply to %d", id), func(f op.Frame) bool { return f.Cmd == op.CmdReply && f.ID == id })
}

func (p *fake) gets(name string) op.Frame {
	p.t.Helper()
	return p.next(name, func(f op.Frame) bool { return f.Cmd == op.CmdOp && f.Op == name })
}

// got is all that came and was not taken.
func (p *fake) got() []op.Frame {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.frames
	p.frames = nil
	return list
}

func (p *fake) nothing() {
	p.t.Helper()
	if got := p.got(); len(got) > 0 {
		p.t.Errorf("%s gets %+v", p.name, got)
	}
}

// must asks muster, and wants no error.
func (p *fake) must(name string, body any) op.Frame {
	p.t.Helper()
	f := p.reply(p.ask(op.Frame{Op: name, Body: raw(body)}))
	if f.Error != nil {
		p.t.Fatalf("%s %s: %+v", p.name, name, f.Error)
	}
	return f
}

// fails asks, and wants a code.
func (p *fake) fails(f op.Frame, code fault.Code) op.Frame {
	p.t.Helper()
	r := p.reply(p.ask(f))
	if r.Error == nil || r.Error.Code != code || r.More {
		p.t.Errorf("%s asks %+v and gets %+v %+v, not %s", p.name, f, r, r.Error, code)
	}
	return r
}

func (p *fake) read(f op.Frame, to any) {
	p.t.Helper()
	if f.Error != nil || json.Unmarshal(f.Body, to) != nil {
		p.t.Fatalf("%s cannot read %+v %+v", p.name, f, f.Error)
	}
}

func raw(body any) json.RawMessage {
	if body == nil {
		return nil
	}
	if text, ok := body.(string); ok && json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	return mustJSON(body)
}

// answer replies to a request as it was received.
func (p *fake) answer(f op.Frame, body string) {
	p.say(op.Frame{Cmd: op.CmdReply, ID: f.ID, Body: raw(body)})
}
