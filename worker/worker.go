package worker

import (
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/op"
	"github.com/muster-run/muster/peer"
)

const (
	// stopDefault is Options.StopTimeout's.
	stopDefault = 10 * time.Second
	// queueMax is how many bytes may wait to be sent to muster.
	queueMax = 8 << 20
	// sdk is what the worker says of itself.
	sdk = "go/1"
)

// Options of a Worker. The zero value is what most want.
type Options struct {
	// Off: the program takes no part in operations, as if muster had not started it; it
	// still gets the listeners that muster holds. MUSTER_SDK=off in the environment says
	// the same.
	Off bool
	// Log is where the library reports what nobody else hears; nil: the default logger.
	Log *slog.Logger
	// Alive is asked before each sign of life, where heartbeat: is configured; while it
	// says no, or does not return, there is none. nil: the process is alive as long as
	// its goroutines run.
	Alive func() bool
	// StopTimeout bounds what OnStop's functions may take; 0: 10 s.
	StopTimeout time.Duration
	// Signals that ask the program to end; nil: SIGTERM and SIGINT. stop.signal must be
	// one of them.
	Signals []os.Signal
	// OnMessage gets messages that are no operations: those of `muster message`, and of
	// Node.js programs. One at a time; nil: they are dropped.
	OnMessage func(message []byte)
	// OnGap and OnAgent: see peer.Options.
	OnGap   func(missed int)
	OnAgent func(peer.AgentInfo)
	// Vars lists what the console's command vars shows. For package expvar:
	//
	//	func(show func(string, fmt.Stringer)) { expvar.Do(func(v expvar.KeyValue) { show(v.Key, v.Value) }) }
	Vars func(show func(name string, value fmt.Stringer))
}

// withDefaults completes the options.
func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.StopTimeout <= 0 {
		o.StopTimeout = stopDefault
	}
	if o.Signals == nil {
		o.Signals = []os.Signal{syscall.SIGTERM, syscall.SIGINT}
	}
	return o
}

// Worker is this process as muster sees it. Its methods are safe for concurrent use.
type Worker struct {
	*peer.Peer
	o    Options
	log  *slog.Logger
	env  environment
	conn *channel.Conn // nil: alone
	deal dealer        // nil: connections are accepted, not dealt

	sockets  sockets
	stop     stopping
	crashes  crashes
	settings settings
	console  consoles
	messages chan []byte
	closing  sync.Once
	tasks    sync.WaitGroup // goroutines that run no code of the program
	running  atomic.Bool
}

// theWorker is the one of this process (S0.1): opening it twice gives it twice.
var theWorker struct {
	sync.Mutex
	opened *Worker
}

// Open makes the Worker of this process, and says hello to muster. It waits for nothing:
// the agent may just be being replaced. Calling it again gives the same one, whatever the
// options. An error is one of the descriptors that muster has promised.
func Open(o Options) (*Worker, error) {
	theWorker.Lock()
	defer theWorker.Unlock()
	if theWorker.opened != nil {
		return theWorker.opened, nil
	}
	w, err := open(ofProcess(), o)
	if err != nil {
		return nil, err
	}
	forgetChannel()
	theWorker.opened = w
	return w, nil
}

// IsWorker says whether muster runs this process, and it may take part in operations.
func IsWorker() bool {
	theWorker.Lock()
	defer theWorker.Unlock()
	if w := theWorker.opened; w != nil {
		return w.conn != nil
	}
	env := ofProcess()
	_, ok := env.channel()
	return ok && !env.off()
}

// open makes a Worker of an environment.
func open(env environment, o Options) (*Worker, error) {
	w := &Worker{o: o.withDefaults(), env: env}
	w.log = w.o.Log
	w.stop.begin()
	w.crashes.begin()
	w.settings.begin()
	w.messages = make(chan []byte, messagesMax)
	inherited, err := env.inherited()
	if err != nil {
		return nil, err
	}
	w.sockets.all = inherited
	fd, ok := env.channel()
	if !ok || o.Off || env.off() {
		w.Peer = peer.Alone(w.peerOptions())
		return w, nil
	}
	w.conn = channel.Open(fd, channel.Options{QueueMax: queueMax})
	w.deal = newDealer(w)
	w.Peer = peer.New(&wire{w}, w.peerOptions())
	go w.beat() // these two end with the Peer; the program's code in them may hang
	go w.deliver()
	return w, nil
}

// peerOptions are those of the Peer within.
func (w *Worker) peerOptions() peer.Options {
	return peer.Options{
		SDK: sdk, App: w.env.get("MUSTER_APP"), Log: w.log, OnGap: w.o.OnGap, OnAgent: w.o.OnAgent,
		Handlers: map[string]peer.HandleFunc{
			op.ConfigChanged: w.configChanged,
			op.ConsoleOpen:   w.openConsole,
			op.ConsoleClose:  w.closeConsole,
		},
	}
}

// Alone says that the program runs without muster.
func (w *Worker) Alone() bool { return w.conn == nil }

// Name is the worker's name, such as web#1; "" when it runs alone.
func (w *Worker) Name() string {
	if w.Alone() {
		return ""
	}
	return w.env.get("MUSTER_APP") + "#" + w.env.get("MUSTER_WORKER")
}

// Close ends the worker's part in operations, and its console, and closes what it has
// inherited; listeners that Listen gave stay open. Programs that use Run need not call it.
func (w *Worker) Close() error {
	var err error
	w.closing.Do(func() {
		w.console.close()
		if w.deal != nil {
			w.deal.close()
		}
		err = w.Peer.Close()
		w.stop.end()
		w.sockets.close()
		w.tasks.Wait()
	})
	return err
}
