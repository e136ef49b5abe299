package brood

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/handoff"
	"github.com/muster-run/muster/internal/launch"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/output"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/process/processtest"
	"github.com/muster-run/muster/internal/sdnotify"
	"github.com/muster-run/muster/internal/supervisor/attempt"
	"github.com/muster-run/muster/internal/supervisor/primary"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/spec"
)

func TestMain(m *testing.M) {
	processtest.Setup()
	goleak.VerifyTestMain(m)
}

// stage is a program that is its own primary, over a Starter without processes: the
// test speaks for the program and for its forks.
type stage struct {
	*testing.T
	dir     string
	fake    *processtest.Fake
	store   *process.DirectStore
	app     spec.App
	before  []string // what the predecessor listens on
	others  bool
	program *peer
	agent   // the present one

	mu    sync.Mutex
	peers map[string]*channel.Conn // the processes' ends of their channels, by ID
}

// agent is what ends with one.
type agent struct {
	life   *processtest.Life
	cfg    attempt.Config
	a      *attempt.Attempt
	steps  chan func()
	said   chan string
	end    func() // without touching a process
	cancel context.CancelFunc
}

// silent is an sd_notify socket that nobody writes to.
type silent struct{ c chan sdnotify.Message }

func (n silent) Messages() <-chan sdnotify.Message { return n.c }
func (n silent) Close() error                      { close(n.c); return nil }
func (n silent) Leave() error                      { close(n.c); return nil }
func (n silent) File() (*os.File, error)           { return os.Open(os.DevNull) }

// starting keeps the channels of what it starts.
type starting struct {
	*processtest.Life
	s *stage
}

// Start implements process.Starter.
func (s starting) Start(c process.Command) (process.Proc, error) {
	for _, f := range c.Files {
		if f.Name == "channel" {
			s.s.keep(c.ID, f.File)
		}
	}
	return s.Life.Start(c)
}

func (s *stage) keep(id string, f *os.File) {
	raw, err := f.SyscallConn()
	if err != nil {
		s.Error(err)
		return
	}
	_ = raw.Control(func(fd uintptr) {
		own, _ := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.peers[id] = channel.Open(own, channel.Options{})
	})
}

// newStage is one whose program runs.
func newStage(t *testing.T, change func(*spec.App)) *stage {
	t.Helper()
	s := &stage{
		T: t, dir: t.TempDir(), fake: processtest.NewFake(), store: process.NewDirectStore(), app: spec.DefaultApp("web"),
		peers: map[string]*channel.Conn{},
	}
	s.app.Command, s.app.Dir, s.app.Log.Target = []string{"node", "x.js"}, "/", spec.LogNone
	s.app.Node.Cluster, s.app.Ready.For = spec.NodeDelegate, spec.Duration(50*time.Millisecond)
	if change != nil {
		change(&s.app)
	}
	t.Cleanup(s.close)
	s.begin()
	s.a = attempt.New(s.Context(), s.cfg)
	s.do(s.a.Launch)
	s.hears("started")
	s.program = s.peer(1)
	return s
}

// begin is the start of an agent.
func (s *stage) begin() {
	s.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s.life = s.fake.Connect(s.store)
	shared, err := attempt.NewShared(starting{s.life, s}, s.life.Store(), s.dir)
	if err != nil {
		s.Fatal(err)
	}
	shared.Sys.Members = func(process.Proc) []int { return nil }
	shared.Sys.Accepting = func([]int, []uint64) listener.Answer { return listener.No }
	shared.Sys.Notify = func(string, int) (attempt.Notifier, error) { return silent{make(chan sdnotify.Message)}, nil }
	shared.Sys.AdoptNotify = func(f *os.File, _ string, _ int) (attempt.Notifier, error) {
		return silent{make(chan sdnotify.Message)}, f.Close()
	}
	if shared.Loop, err = handoff.NewLoop(); err != nil {
		s.Fatal(err)
	}
	shared.Brood = New
	log, err := output.Open(output.Options{App: "web", Log: s.app.Log})
	if err != nil {
		s.Fatal(err)
	}
	s.steps, s.said = make(chan func(), 1024), make(chan string, 1024)
	over := s.own(ctx)
	shared.Errands.Go(func() { shared.DispatchExits(ctx) })
	p := primary.New(primary.Options{App: "web", Store: s.store, Balance: func(spec.Listener) spec.Balance { return spec.BalanceShared }})
	s.cfg = s.config(shared, log, p)
	s.cancel = cancel
	s.end = func() {
		s.do(func() {
			if s.a != nil {
				s.a.Leave()
			}
			p.Close()
		})
		cancel()
		<-over
		shared.Errands.End()
		_ = log.Close()
		shared.Loop.Close()
	}
}

// own runs the steps of the present agent.
func (s *stage) own(ctx context.Context) (over chan struct{}) {
	over = make(chan struct{})
	steps := s.steps
	go func() {
		defer close(over)
		for {
			select {
			case step := <-steps:
				step()
			case <-ctx.Done():
				return
			}
		}
	}()
	return over
}

func (s *stage) config(shared *attempt.Shared, log *output.Log, p *primary.Primary) attempt.Config {
	steps, said := s.steps, s.said
	return attempt.Config{
		Shared: shared, Log: log, ReadyIn: time.Minute, Number: 1, Primary: p,
		Post:   func(step func()) bool { steps <- step; return true },
		Worker: launch.Worker{App: s.app, Dir: "/"},
		Before: func() ([]string, bool) { return s.before, s.others },
		Events: attempt.Events{
			Started: func(error) { said <- "started" },
			Ready:   func() { said <- "ready" },
			Failed:  func(f *fault.Fault) { said <- "failed " + string(f.Code) },
			Torn:    func(f *fault.Fault) { said <- "torn " + string(f.Code) },
			Late:    func() { said <- "late" },
			Exited:  func(process.Exit) { said <- "exited" },
			Gone:    func() { said <- "gone" },
			Warned:  func(f *fault.Fault) { said <- "warned " + string(f.Code) },
		},
	}
}

func (s *stage) close() {
	if s.end != nil {
		s.end()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.peers {
		c.Close()
	}
	s.store.Close()
}

// do runs a step in the owner's goroutine.
func (s *stage) do(step func()) {
	done := make(chan struct{})
	s.steps <- func() { defer close(done); step() }
	<-done
}

// hears waits for what is told to the owner of the program.
func (s *stage) hears(events ...string) {
	s.Helper()
	for _, want := range events {
		select {
		case got := <-s.said:
			if got != want {
				s.Fatalf("heard %q, want %q", got, want)
			}
		case <-time.After(20 * time.Second):
			s.Fatalf("%q was not heard", want)
		}
	}
}

// until waits for something.
func (s *stage) until(what string, cond func() bool) {
	s.Helper()
	end := time.Now().Add(20 * time.Second)
	for !cond() {
		if time.Now().After(end) {
			s.Fatalf("waited in vain: %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

// peer is one process's end of its channel.
type peer struct {
	*stage
	command process.Command
	conn    *channel.Conn
}

// peer is the nth process that was started.
func (s *stage) peer(n int) *peer {
	s.Helper()
	s.until(fmt.Sprintf("%d processes", n), func() bool { return len(s.fake.Commands()) >= n })
	c := s.fake.Commands()[n-1]
	s.mu.Lock()
	defer s.mu.Unlock()
	return &peer{s, c, s.peers[c.ID]}
}

// says sends frames, the descriptor with the first of them.
func (p *peer) says(frames ...string) {
	p.Helper()
	for _, f := range frames {
		if err := p.conn.Send([]byte(f)); err != nil {
			p.Fatal(err)
		}
	}
}

// next is the next frame that comes.
func (p *peer) next() (text string, fds []int) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), 20*time.Second)
	defer cancel()
	f, err := p.conn.Receive(ctx)
	if err != nil {
		p.Fatal(err)
	}
	return string(f.Data), f.FDs
}

// told waits for what the program is told, in this order: each is part of a frame.
func (p *peer) told(frames ...string) {
	p.Helper()
	for _, want := range frames {
		if text, _ := p.next(); !strings.Contains(text, want) {
			p.Fatalf("told %s, want %s", text, want)
		}
	}
}

// gets waits for a frame, part of which is given; muster also asks whether it is idle.
func (p *peer) gets(want string) {
	p.Helper()
	for {
		text, fds := p.next()
		closeAll(fds)
		if strings.Contains(text, want) {
			return
		}
		if !strings.Contains(text, "muster:ping") {
			p.Fatalf("got %s, want %s", text, want)
		}
	}
}

// forks has the program ask for one, and waits until it runs.
func (s *stage) forks(id int, more string) *peer {
	s.Helper()
	n := len(s.fake.Commands())
	s.program.says(asks(id, more))
	s.program.told(fmt.Sprintf(`"act":"forked","cmd":"NODE_MUSTER","id":%d,"pid":`, id))
	return s.peer(n + 1)
}

func asks(id int, more string) string {
	return fmt.Sprintf(`{"cmd":"MUSTER_FORK","act":"fork","id":%d,"argv":["node","x.js"],"env":{"COLOUR":"blue","NODE_CHANNEL_FD":"9","LISTEN_FDS":"3"}%s}`, id, more)
}

const online = `{"cmd":"NODE_CLUSTER","act":"online","seq":0}`

func query(port int) string {
	return fmt.Sprintf(`{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":null,"address":"127.0.0.1","port":%d,"addressType":4,"seq":1}`, port)
}

func listening(port int) string {
	return fmt.Sprintf(`{"cmd":"NODE_CLUSTER","act":"listening","address":"127.0.0.1","port":%d,"addressType":4,"seq":2}`, port)
}

// serves has a fork listen on a port that nobody else has.
func (p *peer) serves(id, port int) {
	p.Helper()
	p.says(online, query(port))
	p.program.told(fmt.Sprintf(`"act":"online","cmd":"NODE_MUSTER","id":%d`, id))
	p.gets(`"ack":1,`)
	p.says(`{"cmd":"NODE_HANDLE_ACK"}`, listening(port))
	p.program.told(fmt.Sprintf(`"act":"listening","address":"127.0.0.1","addressType":4,"cmd":"NODE_MUSTER","id":%d,"port":%d`, id, port))
}

// facts are what a successor would read.
func (s *stage) facts() (facts record.Process) {
	s.Helper()
	var text []byte
	s.do(func() { text, _ = json.Marshal(s.a.Facts()) })
	if err := json.Unmarshal(text, &facts); err != nil {
		s.Fatal(err)
	}
	return facts
}
