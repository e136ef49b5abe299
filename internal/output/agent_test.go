package output

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/internal/output/zst"
	"github.com/muster-run/muster/internal/process/spool"
	"github.com/muster-run/muster/spec"
)

// The test is the keeper: it reads real pipes into spools and serves their
// readers. Its agents are this binary again (TestMain), with a Log; they are
// killed all the time.

// agentEnv holds what an agent is to do, as JSON.
const agentEnv = "MUSTER_TEST_LOG"

// orders for an agent. Its files are the intent (3) and the line to the test (4).
type orders struct {
	File string
	Log  spec.Log
	Dirs []string // of the spools
}

// question is what an agent asks; a commit is not answered.
type question struct {
	Source int
	Commit bool
	Pos    int64
	Skip   [2]int64
}

// answer is the state of a spool.
type answer struct {
	Source int
	State  spool.State
}

// agent is the main program of an agent.
func agent() error {
	var o orders
	if err := json.Unmarshal([]byte(os.Getenv(agentEnv)), &o); err != nil {
		return err
	}
	conn := os.NewFile(4, "line")
	l, err := Open(Options{App: "web", File: o.File, Log: o.Log, Intent: os.NewFile(3, "intent"), Packing: zst.Packing{}})
	if err != nil {
		return err
	}
	tails := make([]*tailLine, len(o.Dirs))
	var all []*Attachment
	out := &sync.Mutex{}
	for i := range o.Dirs {
		tails[i] = &tailLine{i, conn, out, make(chan spool.State, 1)}
	}
	go func() {
		in := json.NewDecoder(conn)
		for {
			var a answer
			if in.Decode(&a) != nil {
				os.Exit(3)
			}
			tails[a.Source].states <- a.State
		}
	}()
	for i, dir := range o.Dirs {
		w := Worker{ID: fmt.Sprint("source ", i), Slot: i, PID: 1000 + i, Adopted: true}
		all = append(all, l.Attach(context.Background(), w, spool.Follow(dir, tails[i], spool.NewBuffers()), nil))
	}
	for _, a := range all {
		<-a.Done()
		if err := a.Err(); err != nil {
			return err
		}
	}
	return l.Close()
}

// tailLine is a spool.Tail over the line to the test.
type tailLine struct {
	source int
	conn   io.Writer
	out    *sync.Mutex // of conn
	states chan spool.State
}

func (r *tailLine) ask(q question) error {
	r.out.Lock()
	defer r.out.Unlock()
	return json.NewEncoder(r.conn).Encode(q)
}

func (r *tailLine) Wait(_ context.Context, pos int64) (spool.State, error) {
	if err := r.ask(question{Source: r.source, Pos: pos}); err != nil {
		return spool.State{}, err
	}
	return <-r.states, nil
}

func (r *tailLine) Commit(pos int64, skip [2]int64) error {
	return r.ask(question{Source: r.source, Commit: true, Pos: pos, Skip: skip})
}

func (*tailLine) Close() error { return nil }

// plant is a test with its sources.
type plant struct {
	t       *testing.T
	orders  orders
	intent  *os.File
	spools  []*spool.Spool
	stop    chan struct{} // closed: the sources end
	sources sync.WaitGroup
	counts  [][2]int // lines printed
}

func newPlant(t *testing.T, o Options, sources int) *plant {
	t.Helper()
	p := &plant{t: t, orders: orders{File: o.File, Log: o.Log}, stop: newDone(), counts: make([][2]int, sources)}
	var err error
	if p.intent, err = NewIntent(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.intent.Close() })
	for i := range sources {
		dir := filepath.Join(t.TempDir(), "spool")
		s, err := spool.Open(dir, 1<<20, spool.NewBuffers())
		if err != nil {
			t.Fatal(err)
		}
		var writers [2]*os.File
		for stream := range 2 {
			w, start, err := s.Pipe(stream+1, -1)
			if err != nil {
				t.Fatal(err)
			}
			start()
			writers[stream] = w
		}
		t.Cleanup(func() {
			s.Finish()
			s.Close(true)
		})
		p.spools, p.orders.Dirs = append(p.spools, s), append(p.orders.Dirs, dir)
		p.sources.Go(func() { p.print(i, writers) })
	}
	return p
}

// print is a program: numbered lines on both streams, in pieces that have nothing
// to do with lines, some lines longer than LineMax.
func (p *plant) print(source int, w [2]*os.File) {
	rnd := rand.New(rand.NewPCG(uint64(source), 5))
	var rest [2]string
	for {
		select {
		case <-p.stop:
			for i := range w {
				io.WriteString(w[i], rest[i]) // the last line has its end
				w[i].Close()
			}
			return
		case <-time.After(time.Duration(rnd.IntN(3000)) * time.Microsecond):
		}
		i := rnd.IntN(2)
		for range rnd.IntN(60) {
			p.counts[source][i]++
			rest[i] += fmt.Sprintf("%d-%d line %d %s\n", source, i, p.counts[source][i], strings.Repeat("x", rnd.IntN(1+rnd.IntN(300))))
		}
		n := rnd.IntN(len(rest[i]) + 1)
		if _, err := io.WriteString(w[i], rest[i][:n]); err != nil {
			return
		}
		rest[i] = rest[i][n:]
	}
}

// after is a life of a while.
func after(d time.Duration) func() { return func() { <-time.After(d) } }

// run starts an agent, kills it when life returns (nil: never), and returns when
// it has ended and all that it said has been done.
func (p *plant) run(life func()) {
	p.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "theirs")
	ourFile := os.NewFile(uintptr(fds[0]), "ours")
	ours, err := net.FileConn(ourFile)
	ourFile.Close()
	if err != nil {
		p.t.Fatal(err)
	}
	defer ours.Close()
	text, err := json.Marshal(p.orders)
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), agentEnv+"="+string(text))
	cmd.ExtraFiles = []*os.File{p.intent, theirs}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	theirs.Close()
	if life != nil {
		go func() {
			life()
			cmd.Process.Kill()
		}()
	}
	p.serve(ours)
	_ = cmd.Wait()
	st := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if life == nil && st != 0 || life != nil && st.Signal() != syscall.SIGKILL {
		p.t.Fatalf("the agent: %v", cmd.ProcessState)
	}
}

// serve answers an agent until it is gone.
func (p *plant) serve(conn net.Conn) {
	ctx, cancel := context.WithCancel(p.t.Context())
	var waits sync.WaitGroup
	defer waits.Wait()
	defer cancel()
	var out sync.Mutex
	in := bufio.NewScanner(conn)
	for in.Scan() {
		var q question
		if err := json.Unmarshal(in.Bytes(), &q); err != nil {
			return // torn by the kill
		}
		s := p.spools[q.Source]
		if q.Commit {
			if err := s.Commit(q.Pos, q.Skip); err != nil {
				p.t.Error(err)
			}
			continue
		}
		waits.Go(func() {
			st, err := s.Wait(ctx, q.Pos)
			if err != nil {
				return
			}
			out.Lock()
			defer out.Unlock()
			_ = json.NewEncoder(conn).Encode(answer{q.Source, st})
		})
	}
}

// end has the sources end, an agent read what is left, and checks the files.
func (p *plant) end() {
	p.t.Helper()
	close(p.stop)
	last := newDone()
	go func() { p.sources.Wait(); close(last) }()
	p.run(nil)
	<-last
	p.check()
}

// check wants each line of each source once and in order.
func (p *plant) check() {
	p.t.Helper()
	next, parts := make([][2]int, len(p.counts)), make([][2]string, len(p.counts))
	bad := errors.New("bad")
	err := logFile(p.orders.File).Read(Filter{}, -1, func(r api.Record) error {
		i := slices.Index([]string{stdout, stderr}, r.Stream)
		if r.Slot < 0 {
			p.t.Errorf("not of ours: %q", r.Line)
			return bad
		}
		part := &parts[r.Slot][i]
		*part += r.Line
		if r.Cut {
			return nil
		}
		var source, stream, n int
		if _, err := fmt.Sscanf(*part, "%d-%d line %d", &source, &stream, &n); err != nil || source != r.Slot || stream != i {
			p.t.Errorf("%d %s: %q", r.Slot, r.Stream, *part)
			return bad
		}
		if next[source][stream]++; n != next[source][stream] {
			p.t.Errorf("source %d stream %d: line %d comes in the place of %d", source, stream, n, next[source][stream])
			return bad
		}
		*part = ""
		return nil
	})
	if err != nil && !errors.Is(err, bad) {
		p.t.Fatal(err)
	}
	if err == nil && fmt.Sprint(next) != fmt.Sprint(p.counts) {
		p.t.Errorf("recorded %d, printed %d", next, p.counts)
	}
}

// kills is how many agents a test kills.
const kills = 40

func TestKilledAgents(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"one file":  func(o *Options) {},
		"rotated":   func(o *Options) { o.Log.MaxSize, o.Log.MaxFiles = 30_000, 0 },
		"long cuts": func(o *Options) { o.Log.LineMax = 40 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			change(&o)
			p := newPlant(t, o, 3)
			for range kills {
				p.run(after(time.Duration(1+rand.IntN(60)) * time.Millisecond))
			}
			p.end()
			if p.counts[0][0] < 1000 {
				t.Error("hardly anything was printed: ", p.counts)
			}
		})
	}
}

// TestKilledOnAFullDisk: each agent fills the disk, so that its writes are torn,
// is killed, and the next one has a little more room.
func TestKilledOnAFullDisk(t *testing.T) {
	const step = 64 << 10
	o := options(t)
	dir := smallDisk(t, step)
	o.File = filepath.Join(dir, "web.log")
	p := newPlant(t, o, 2)
	full := func() bool {
		var st syscall.Statfs_t
		return syscall.Statfs(dir, &st) == nil && st.Bfree == 0
	}
	for i := range 20 {
		p.run(func() {
			for end := time.Now().Add(20 * time.Second); !full(); <-time.After(2 * time.Millisecond) {
				if time.Now().After(end) {
					t.Error("the disk is not full within 20 s")
					return
				}
			}
			// Far less than patience: after that, lines are given up.
			<-time.After(time.Duration(rand.IntN(100)) * time.Millisecond)
		})
		if err := syscall.Mount("", dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%d", (i+2)*step)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mount("", dir, "tmpfs", syscall.MS_REMOUNT, "size=512m"); err != nil {
		t.Fatal(err)
	}
	p.end()
}
