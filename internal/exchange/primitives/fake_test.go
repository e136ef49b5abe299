package primitives

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/coordination/ledger"
	"github.com/muster-run/muster/internal/coordination/limiter"
	"github.com/muster-run/muster/internal/coordination/lock"
	"github.com/muster-run/muster/internal/op"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is an exchange that gives calls to whom they are for, and no more.
type fake struct {
	mu      sync.Mutex
	ops     map[string]func(Call)
	gone    func(string)
	parties []string
	told    []string // "party op body"
}

func newFake() *fake { return &fake{ops: map[string]func(Call){}} }

func (f *fake) Serve(name string, h func(Call)) { f.ops[name] = h }
func (f *fake) OnGone(g func(string))           { f.gone = g }

func (f *fake) Tell(to func(op.Party) bool, frame op.Frame) (r op.Receivers) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range f.parties {
		if to(op.Party{ID: id}) {
			r.Receivers++
			f.told = append(f.told, fmt.Sprintf("%s %s %s from %s", id, frame.Op, frame.Body, frame.From))
		}
	}
	return r
}

// reply is what a call was answered.
type reply struct {
	body json.RawMessage
	err  error
}

// asker waits for the reply of one call.
type asker struct {
	ctx context.Context
	end context.CancelFunc
	got chan reply
}

func (a *asker) Context() context.Context { return a.ctx }

func (a *asker) Reply(body any, err error) {
	text, _ := json.Marshal(body)
	select {
	case a.got <- reply{text, err}:
	default:
		panic("a second reply")
	}
	a.end()
}

// ask makes a call; its answer comes by the asker.
func (f *fake) ask(party, name string, id int64, body any) *asker {
	return f.send(Call{Party: party, ID: id}, name, body)
}

func (f *fake) send(c Call, name string, body any) *asker {
	a := &asker{got: make(chan reply, 1)}
	a.ctx, a.end = context.WithCancel(context.Background())
	text, isText := body.(string)
	if !isText {
		b, err := json.Marshal(body)
		if err != nil {
			panic(err)
		}
		text = string(b)
	}
	c.Name, c.Body, c.Asker = "name of "+c.Party, json.RawMessage(text), a
	f.ops[name](c)
	return a
}

// as waits for the answer and makes a T of it.
func as[T any](t testing.TB, a *asker) (v T, code fault.Code) {
	t.Helper()
	select {
	case r := <-a.got:
		if r.err != nil {
			return v, fault.CodeOf(r.err)
		}
		if err := json.Unmarshal(r.body, &v); err != nil {
			t.Fatalf("%s: %v", r.body, err)
		}
	default:
		t.Fatal("no answer")
	}
	return v, ""
}

// got is as, where no error is expected.
func got[T any](t testing.TB, a *asker) T {
	t.Helper()
	v, code := as[T](t, a)
	if code != "" {
		t.Fatalf("%s", code)
	}
	return v
}

// store holds the ledger's file.
type store struct {
	t    testing.TB
	file *os.File
}

func newStore(t testing.TB) *store {
	s := &store{t: t}
	t.Cleanup(func() { s.file.Close() })
	return s
}

func (s *store) Put(_ string, f *os.File) error {
	s.file.Close() // nil: an error that nobody needs
	s.file, _ = s.dup(f)
	return nil
}

func (s *store) Get(string) (*os.File, error) {
	if s.file == nil {
		return nil, nil
	}
	return s.dup(s.file)
}

func (s *store) dup(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		s.t.Error(err)
	}
	return os.NewFile(uintptr(fd), "x"), err
}

func (s *store) text() []byte {
	info, err := s.file.Stat()
	if err != nil {
		s.t.Fatal(err)
	}
	b := make([]byte, info.Size())
	if _, err := s.file.ReadAt(b, 0); err != nil && err != io.EOF {
		s.t.Fatal(err)
	}
	return b
}

// holding makes a store whose file is cut off.
func holding(t testing.TB, text []byte) *store {
	t.Helper()
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(t)
	s.file = os.NewFile(uintptr(fd), "x")
	if _, err := s.file.Write(text); err != nil {
		t.Fatal(err)
	}
	return s
}

// clock is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Duration
}

func (c *clock) Now() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now += d
}

// agent is one with its primitives over a store.
type agent struct {
	*fake
	*Primitives
	ledger *ledger.Ledger
	log    *bytes.Buffer
}

func begin(t testing.TB, s *store, now func() time.Duration) *agent {
	t.Helper()
	a := &agent{fake: newFake(), log: &bytes.Buffer{}}
	var err error
	if a.ledger, err = ledger.Open(s, "primitives"); err != nil {
		t.Fatal(err)
	}
	if a.Primitives, err = New(a.fake, Options{Ledger: a.ledger, Now: now, Log: slog.New(slog.NewTextHandler(a.log, nil))}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.end)
	return a
}

// end kills it: nothing is told to anybody.
func (a *agent) end() {
	a.Close()
	a.ledger.Close()
}

// dump is all that must outlive the agent, as text.
func (a *agent) dump() string {
	a.Primitives.mu.Lock()
	defer a.Primitives.mu.Unlock()
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	now := a.now()
	a.limiters.Each(now, func(id limiter.ID, s limiter.State) { say("limiter %v %+v", id, s) })
	a.locks.Each(now, func(s lock.State) { say("lock %+v", s) })
	a.counters.Each(func(name string, value int64) { say("counter %s %d", name, value) })
	for party, used := range a.caches.byParty {
		for name := range used {
			say("cache %s of %s", name, party)
		}
	}
	for party, last := range a.last {
		say("last of %s: %d %s", party, last.id, last.reply)
	}
	slices.Sort(lines)
	return fmt.Sprintf("fence %d\n%s", a.locks.Fence(), fmt.Sprintln(lines))
}

func token(n int) string { return fmt.Sprintf("token-%010d", n) }

func lockBody(name string, n int) op.LockBody {
	return op.LockBody{Name: name, Token: token(n), LeaseMS: 1000}
}

func waitBody(name string, n int) op.LockBody {
	b := lockBody(name, n)
	b.WaitMS = 60_000
	return b
}
