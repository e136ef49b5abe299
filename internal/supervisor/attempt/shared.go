package attempt

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/handoff"
	"github.com/muster-run/muster/internal/launch"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/nodejs"
	"github.com/muster-run/muster/internal/op"
	"github.com/muster-run/muster/internal/output"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/sdnotify"
	"github.com/muster-run/muster/internal/supervisor/mail"
	"github.com/muster-run/muster/internal/supervisor/steps"
	"github.com/muster-run/muster/internal/supervisor/voice"
	"golang.org/x/sys/unix"
)

// Notifier is the sd_notify socket of one process.
type Notifier interface {
	Messages() <-chan sdnotify.Message
	// File is a duplicate of the socket; the caller closes it.
	File() (*os.File, error)
	// Leave ends Messages and leaves the socket as it is, for a successor.
	Leave() error
	Close() error
}

// Sys is the kernel's view of processes and sockets; tests without real
// processes replace it.
type Sys struct {
	Accepting func(pids []int, inodes []uint64) listener.Answer
	Foreign   func(pids []int, ours map[uint64]bool) ([]listener.Socket, error)
	Members   func(process.Proc) []int
	Notify    func(path string, uid int) (Notifier, error)
	// Channel makes a channel (channel.Pair); nil: workers get none.
	Channel func() (ours, theirs int, err error)
	// AdoptNotify takes over a socket that Notify has made, and the file with it.
	AdoptNotify func(file *os.File, path string, uid int) (Notifier, error)
}

// Shared is what all attempts of one agent have in common. Its fields are set
// before the first attempt; it is safe for concurrent use.
type Shared struct {
	Starter process.Starter
	// Store keeps the sd_notify sockets of the processes.
	Store  process.Store
	Sys    Sys
	RunDir string // sd_notify sockets in n/, spools in o/
	// Errand is the project's key, see SideCommand; "": none.
	Errand string
	// Errands counts the goroutines that do one thing each; each ends by itself, with its
	// process, its socket or its context.
	Errands steps.Errands
	// Loop hears and deals for Node.js workers; nil: there are none, whatever an app
	// says.
	Loop *handoff.Loop
	// Mail carries the messages of users' code.
	Mail mail.Office
	// Brood makes the Kin of a program that is its own primary, and what the API shows of
	// them. Required with Loop.
	Brood func(context.Context, Config, *Attempt) (Kin, func() *api.NodeWorker)
	// Forgotten is called when a process is given up.
	Forgotten func(id string)

	starts chan struct{} // bounds how many programs start at a time
	nonce  string
	count  atomic.Uint64

	// Exchange that processes take part in; nil: there is none.
	Exchange op.Exchange

	counters voice.Counters

	mu    sync.Mutex
	exits map[string]func(process.Exit)
}

// maxStarts is how many programs are being started at the same moment.
const maxStarts = 8

// NewShared makes the directories below runDir.
func NewShared(starter process.Starter, store process.Store, runDir string) (*Shared, error) {
	sockets, spools, own := filepath.Join(runDir, "n"), filepath.Join(runDir, "o"), filepath.Join(runDir, ownDirs)
	for _, dir := range []string{sockets, spools, own} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fault.New(fault.StateDir, "cannot create %s: %w", dir, err)
		}
	}
	// A worker with a user of its own must reach its notify socket, and its directory.
	err := errors.Join(os.Chmod(sockets, 0o711), os.Chmod(own, 0o711))
	if err == nil {
		err = nodejs.Install(nodeDir(runDir))
	}
	if err != nil {
		return nil, fault.New(fault.StateDir, "cannot use %s: %w", runDir, err)
	}
	return &Shared{
		Starter: starter, Store: store, RunDir: runDir, Forgotten: func(string) {},
		Sys: Sys{
			Accepting: listener.Accepting, Foreign: listener.Foreign,
			Notify:  func(path string, uid int) (Notifier, error) { return sdnotify.Listen(path, uid) },
			Channel: channel.Pair,
			AdoptNotify: func(file *os.File, path string, uid int) (Notifier, error) {
				return sdnotify.Adopt(file, path, uid)
			},
		},
		starts: make(chan struct{}, maxStarts), nonce: fmt.Sprintf("%08x", rand.Uint32()),
		exits: map[string]func(process.Exit){},
	}, nil
}

// DispatchExits hands each exit to the attempt it belongs to, until ctx ends.
func (s *Shared) DispatchExits(ctx context.Context) {
	for {
		select {
		case e, ok := <-s.Starter.Exits():
			if !ok {
				return
			}
			s.mu.Lock()
			deliver := s.exits[e.ID]
			s.mu.Unlock()
			if deliver != nil {
				deliver(e)
			}
		case <-ctx.Done():
			return
		}
	}
}

// expect registers who hears of a process's exit; forget ends that and lets the
// Starter forget the process.
func (s *Shared) expect(id string, deliver func(process.Exit)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exits[id] = deliver
}

func (s *Shared) forget(id string) {
	s.mu.Lock()
	delete(s.exits, id)
	s.mu.Unlock()
	s.Forgotten(id)
	s.Starter.Ack(id)
	s.Errands.Go(func() { s.takeNotify(id); s.lines().Drop(id); _ = os.RemoveAll(s.ownDir(id)) })
}

// takeNotify removes a process's sd_notify socket from the Store.
func (s *Shared) takeNotify(id string) {
	if f, err := s.Store.Take(notifyPrefix + id); err == nil && f != nil {
		f.Close()
	}
}

// notifyPrefix of the names of sd_notify sockets in the Store.
const notifyPrefix = "notify/"

// Drop removes what the Store keeps for a process by this name, unless keep says
// that the process is there. Other names are left alone.
func (s *Shared) Drop(name string, keep func(id string) bool) {
	if id, ok := strings.CutPrefix(name, notifyPrefix); ok && !keep(id) {
		s.takeNotify(id)
		_ = os.Remove(s.notifyPath(id))
	}
	if id, ok := voice.Of(name); ok && !keep(id) {
		s.lines().Drop(id)
		_ = os.RemoveAll(s.ownDir(id))
	}
}

func (s *Shared) notifyPath(id string) string {
	return filepath.Join(s.RunDir, "n", short(id))
}

// short is the last part of a process ID, which is unique in the project.
func short(id string) string { return strings.TrimPrefix(filepath.Ext(id), ".") }

// nextID is "web.2.5f3a9c01-17": app, slot, this agent, count.
func (s *Shared) nextID(app string, slot int) string {
	return fmt.Sprintf("%s.%d.%s-%d", app, slot, s.nonce, s.count.Add(1))
}

// starter does the blocking part of a start; it owns copies only.
type starter struct {
	shared *Shared
	cfg    Config
	id     string
	onLine func(api.Record)
	// delegates: it is its own primary.
	delegates bool
}

type started struct {
	proc    process.Proc
	notify  Notifier
	channel *channel.Conn
	output  *output.Attachment
}

// leave ends what is in this process of it.
func (s started) leave() {
	if s.notify != nil {
		s.notify.Leave()
	}
	if s.channel != nil {
		s.channel.Close()
	}
}

// drop gives up what was started for an owner that is no longer there.
func (s started) drop() {
	if s.proc.PID != 0 {
		_, _ = s.proc.Kill()
	}
	if s.notify != nil {
		s.notify.Close()
	}
	if s.channel != nil {
		s.channel.Close()
	}
}

// firstFD is the descriptor that the first of a command's Files becomes.
const firstFD = 3

func (s starter) start() (out started, err error) {
	s.shared.starts <- struct{}{}
	defer func() { <-s.shared.starts }()
	w := s.cfg.Worker
	w.ID, w.NotifySocket = s.id, s.shared.notifyPath(s.id)
	if s.shared.Loop != nil {
		w.Number, w.Preload = s.cfg.Number, nodejs.PreloadIn(nodeDir(s.shared.RunDir))
		if s.delegates {
			w.Preload = nodejs.DelegateIn(nodeDir(s.shared.RunDir))
		}
	}
	var theirs *os.File
	if out.channel, theirs, err = s.shared.lines().Open(s.id, s.driven()); err != nil {
		return out, err
	}
	if theirs != nil {
		defer theirs.Close()
		w.ChannelFD = firstFD + len(s.cfg.Listeners)
	}
	cmd, err := launch.Command(w)
	if err != nil {
		return out, err
	}
	cmd.Cgroup, cmd.Meta = true, s.cfg.Meta
	cmd.Spool = filepath.Join(s.shared.RunDir, "o", short(s.id))
	if w.App.Stdin == "inherit" {
		cmd.Stdin = os.Stdin
	}
	for _, l := range s.cfg.Listeners {
		if l.File.File == nil {
			return out, fault.New(fault.Bind, "the listener %s is lost", l.Address)
		}
		cmd.Files = append(cmd.Files, l.File)
		if launch.NonBlocking(w.App) {
			setNonBlocking(l.File.File)
		}
	}
	cmd.Listen = len(cmd.Files)
	if theirs != nil {
		cmd.Files = append(cmd.Files, process.NamedFD{Name: "channel", File: theirs})
	}
	uid, gid := os.Geteuid(), os.Getegid()
	if cmd.Identity != nil {
		uid, gid = int(cmd.Identity.UID), int(cmd.Identity.GID)
	}
	if s.cfg.Fork == nil {
		s.shared.makeOwnDir(s.id, uid, gid)
	}
	notify, err := s.shared.Sys.Notify(w.NotifySocket, uid)
	if err != nil {
		return out, err
	}
	out.notify = notify
	if err = s.keep(out.notify); err != nil {
		return out, err
	}
	if out.proc, err = s.shared.Starter.Start(cmd); err != nil {
		return out, err
	}
	if out.output, err = s.attach(out.proc, false); err != nil {
		_, _ = out.proc.Kill()
	}
	return out, err
}

// keep puts the socket into the Store before somebody may write to it.
func (s starter) keep(n Notifier) error {
	f, err := n.File()
	if err == nil {
		defer f.Close()
		err = s.shared.Store.Put(notifyPrefix+s.id, f)
	}
	if err != nil {
		return fault.New(fault.Bind, "cannot keep the notify socket: %w", err)
	}
	return nil
}

// attach begins to read the output of the process; adopted: to go on.
func (s starter) attach(proc process.Proc, adopted bool) (*output.Attachment, error) {
	src, err := s.shared.Starter.Output(s.id)
	if err != nil {
		return nil, err
	}
	who := output.Worker{ID: s.id, Adopted: adopted, Slot: s.cfg.Worker.Slot, PID: proc.PID}
	return s.cfg.Log.Attach(context.Background(), who, src, s.onLine), nil
}

// setNonBlocking changes a socket for everybody who has it. Not by Fd, which may
// change the mode itself.
func setNonBlocking(f *os.File) {
	raw, err := f.SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.SetNonblock(int(fd), true) })
	}
}
