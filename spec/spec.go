// Package spec is the vocabulary of what to run: apps, their workers,
// listeners, readiness, health, restart, reload and stop rules.
//
// A Spec is a value. It is made once (by config.Load, by `muster run`, or by a
// program that uses the library), checked by Validate, compared by Diff, and
// never changed afterwards. Every field holds its final value: defaults are
// filled in by the maker (see DefaultApp), so that nothing below has to know
// what "not set" means.
//
// The JSON form is the wire form of the control API and the text of
// `muster config show -o json`; its keys are those of muster.yaml.
package spec

// Spec is everything that one agent runs.
type Spec struct {
	// Project names the set of apps; it names the state directory and the
	// control socket. [a-z0-9._-], 1 to 64 bytes.
	Project string `json:"project"`
	// File is the absolute path of the configuration file, "" when there is none.
	File string `json:"file,omitempty"`
	// Environ is the environment every worker starts from ("K=V", sorted by K):
	// that of the caller of `up` or `run`, without what belongs to its
	// terminal session.
	Environ []string `json:"environ,omitempty"`
	// Control says who may use the control socket.
	Control Control `json:"control"`
	// OnExit are commands run before the agent ends, each with MUSTER_REASON
	// set, at most OnExitTimeout each.
	OnExit [][]string `json:"on_exit,omitempty"`
	// Notify says who is told of what happens.
	Notify []Notifier `json:"notify,omitempty"`
	// Apps is sorted by name; names are unique.
	Apps []App `json:"apps"`
}

// Control is the access rule of the control socket.
type Control struct {
	// Group may use the API as well as the owner; "" means the owner only.
	Group string `json:"group,omitempty"`
	// Mode of the socket file: 0600, or 0660 with a Group.
	Mode FileMode `json:"mode"`
	// Listen is a loopback address (127.0.0.1:9009) where stop and restart may be
	// asked for by HTTP with the session key; "": nowhere.
	Listen string `json:"listen,omitempty"`
}

// Kind is what an app is.
type Kind string

// The kinds of app.
const (
	Service Kind = "service" // runs until it is stopped
	Task    Kind = "task"    // runs to its end once per `up`, e.g. a migration
)

// App is one declared program and the pool of workers that runs it.
type App struct {
	// Name is [a-z0-9][a-z0-9._-]*, at most 63 bytes.
	Name string `json:"name"`
	Type Kind   `json:"type"`
	// Role is what its workers are for: RoleWeb, RoleWorker, or a word of the user's.
	// Selectors know it as role:NAME.
	Role string `json:"role"`
	// Command is the argument vector. With Shell, Command is {script} and is
	// run as `/bin/sh -c "exec script"` where the script is a simple command.
	// {{fd:NAME}} and {{port:NAME}} in an argument or an environment value
	// stand for a descriptor number and a port.
	Command []string `json:"command"`
	Shell   bool     `json:"shell,omitempty"`
	// Build is a command run in Dir before a generation starts; its failure
	// fails the reload. nil: none.
	Build []string `json:"build,omitempty"`
	// Dir is absolute. Symlinks in it are resolved anew for each generation.
	Dir string `json:"dir"`
	// Env is added to Spec.Environ; it already holds what the env files said.
	Env map[string]string `json:"env,omitempty"`
	// SlotEnv is added for one slot.
	SlotEnv map[int]map[string]string `json:"slot_env,omitempty"`
	// User and Group are names or numbers; "" means the agent's own.
	User  string `json:"user,omitempty"`
	Group string `json:"group,omitempty"`
	// Umask of the workers; nil: the agent's own.
	Umask *FileMode `json:"umask,omitempty"`
	// Workers is the number of slots, 0 to 1024 ("auto" is already a number).
	Workers int `json:"workers"`
	// Stdin is "" (/dev/null) or "inherit" (one worker only).
	Stdin string `json:"stdin,omitempty"`

	Listen []Listener `json:"listen,omitempty"`
	// Balance of the listeners that say nothing of their own, also of those that
	// Node.js workers ask for while they run. "": BalanceAuto.
	Balance Balance `json:"balance,omitempty"`
	Ports   []Port  `json:"ports,omitempty"`
	// Node rules what is done for a Node.js program; ignored for others.
	Node   Node    `json:"node,omitzero"`
	Ready  Ready   `json:"ready"`
	Health *Health `json:"health,omitempty"`
	// Watchdog is the interval within which a worker must send WATCHDOG=1 by
	// sd_notify (WATCHDOG_USEC in its environment); 0: none.
	Watchdog  Duration     `json:"watchdog,omitempty"`
	Restart   Restart      `json:"restart"`
	Stop      Stop         `json:"stop"`
	Reload    Reload       `json:"reload"`
	Limits    Limits       `json:"limits"`
	DependsOn []Dependency `json:"depends_on,omitempty"`
	Log       Log          `json:"log"`
	Tags      []string     `json:"tags,omitempty"`
	// Allow names what its workers may ask of the agent: AllowStopAgent, AllowOrders.
	Allow []string `json:"allow,omitempty"`
	// Heartbeat that workers send over their channel.
	Heartbeat Heartbeat `json:"heartbeat,omitzero"`
	// Console of each worker.
	Console Console `json:"console,omitzero"`
	// Labels are opaque to the supervisor: other rooms keep their settings here.
	Labels map[string]string `json:"labels,omitempty"`
}

// Listener is one listening socket that muster binds and workers inherit.
type Listener struct {
	// Name is what LISTEN_FDNAMES and {{fd:NAME}} call it: [a-z0-9_-]+.
	Name string `json:"name"`
	// Network: tcp, tcp4, tcp6, udp, udp4, udp6, unix, or fd for a descriptor
	// that muster itself has inherited.
	Network string `json:"network"`
	// Address: host:port (host may be empty: every address), an absolute path,
	// or for fd a descriptor number or a LISTEN_FDNAMES name.
	Address string `json:"address"`
	// Mode, Owner, Group of a unix socket's file. Mode defaults to 0600 and
	// Owner to the app's user.
	Mode  FileMode `json:"mode,omitempty"`
	Owner string   `json:"owner,omitempty"`
	Group string   `json:"group,omitempty"`
	// Backlog of pending connections; 0: net.core.somaxconn.
	Backlog int `json:"backlog,omitempty"`
	// Balance of its connections; "": that of the app. It is fixed from the first
	// use of the listener until the app is stopped.
	Balance Balance `json:"balance,omitempty"`
}

// Balance is how the connections of a listener get to the workers.
type Balance string

// The ways to balance.
const (
	// BalanceAuto picks by program and network (launch.BalanceOf).
	BalanceAuto Balance = "auto"
	// BalanceShared gives every worker the one socket; the kernel wakes some.
	BalanceShared Balance = "shared"
	// BalanceSlots gives each slot a socket of its own in a SO_REUSEPORT group that
	// muster holds; the kernel spreads by address, muster rescues what waits behind
	// a worker that is dead or blocked. TCP only.
	BalanceSlots Balance = "slots"
	// BalanceRoundRobin has muster accept and give each connection to the worker
	// that has been idle longest. The program must take connections over its
	// channel: Node.js does, and a Go program by package worker.
	BalanceRoundRobin Balance = "round-robin"
	// BalanceLeast is the same, to the worker with the fewest connections open.
	BalanceLeast Balance = "least-connections"
)

// Node rules what is done for a Node.js program.
type Node struct {
	// Cluster says whether workers find Node's cluster module in its worker
	// flavour. "": NodeAuto.
	Cluster NodeCluster `json:"cluster,omitempty"`
	// NoDrain leaves out muster's preload, which ends keep-alive, WebSocket and
	// HTTP/2 connections politely when a worker is to stop.
	NoDrain bool `json:"no_drain,omitempty"`
}

// NodeCluster is how far muster is the primary of a Node.js program.
type NodeCluster string

// The ways to run a Node.js program.
const (
	NodeAuto NodeCluster = "auto" // on for a service whose command is node and a script
	NodeOn   NodeCluster = "on"
	NodeOff  NodeCluster = "off" // a program like any other
	// NodeDelegate is for a program that is its own primary: its cluster.fork()
	// has muster start the worker.
	NodeDelegate NodeCluster = "delegate"
)

// Key identifies the socket itself: two listeners with one key are one socket.
// It names the socket in the Store and survives an agent.
func (l Listener) Key() string { return l.Network + "://" + l.Address }

// Port is a port number that each worker binds for itself.
type Port struct {
	Name string `json:"name"`
	// Number is the port of slot 0, 1 to 65535.
	Number int `json:"port"`
	// Increment is added per slot; 0: all workers get the same number (they
	// must use SO_REUSEPORT, or there is one worker).
	Increment int `json:"increment"`
	// Env is the variable that carries it; PORT for the first.
	Env string `json:"env"`
}

// For is the number that the worker in a slot gets.
func (p Port) For(slot int) int { return p.Number + slot*p.Increment }

// ReadyMode is how muster learns that a worker is ready.
type ReadyMode string

// The ways to be ready.
const (
	// ReadyAuto picks the strongest that applies: listening when the app
	// inherits listeners and probe when it has a health check (both when it has
	// both), else port when it has ports, else alive. A READY=1 is never needed and never hurts.
	ReadyAuto ReadyMode = "auto"
	// ReadyNotify waits for READY=1 by sd_notify, and then, where the app has
	// listeners, until one of its processes really waits for connections.
	ReadyNotify ReadyMode = "notify"
	// ReadyListening waits until a process of the worker waits for connections
	// on every inherited listener (seen in the kernel, no cooperation needed).
	ReadyListening ReadyMode = "listening"
	// ReadyProbe waits for the first success of the health check.
	ReadyProbe ReadyMode = "probe"
	// ReadyPort waits until a process of the worker listens on every port of Ports.
	ReadyPort ReadyMode = "port"
	// ReadyOutput waits for a line of output that matches Pattern.
	ReadyOutput ReadyMode = "output"
	// ReadyAlive waits until the worker has lived for For.
	ReadyAlive ReadyMode = "alive"
)

// Ready says when a worker counts as ready.
type Ready struct {
	Mode ReadyMode `json:"mode"`
	// Pattern is an RE2 expression, for ReadyOutput.
	Pattern string `json:"pattern,omitempty"`
	// For is the time for ReadyAlive; default 1s.
	For Duration `json:"for,omitempty"`
	// Timeout fails the start; default 60s. EXTEND_TIMEOUT_USEC moves it.
	Timeout Duration `json:"timeout"`
}

// Health is a repeated check of one worker.
type Health struct {
	// Type: http, tcp or cmd.
	Type string `json:"type"`
	// URL for http (a status of 200 to 399 passes); Address (host:port or an
	// absolute path) for tcp; Command (exit 0 passes) for cmd.
	// {{port:NAME}} is replaced in all three.
	URL     string   `json:"url,omitempty"`
	Address string   `json:"address,omitempty"`
	Command []string `json:"command,omitempty"`
	// Interval between checks (default 10s), StartInterval before the first
	// success (default 1s), Timeout of one check (default 1s).
	Interval      Duration `json:"interval"`
	StartInterval Duration `json:"start_interval"`
	Timeout       Duration `json:"timeout"`
	// Failures in a row that make a worker unhealthy (default 3).
	Failures int `json:"failures"`
	// Grace bounds the time to the first success; 0: the ready timeout.
	Grace Duration `json:"grace,omitempty"`
}

// RestartPolicy says after which exits a worker is started again.
type RestartPolicy string

// The restart policies.
const (
	RestartAlways    RestartPolicy = "always"
	RestartOnFailure RestartPolicy = "on-failure" // exit code not 0, or a signal
	RestartNever     RestartPolicy = "never"
)

// Restart rules what happens after an exit that nobody asked for.
type Restart struct {
	Policy RestartPolicy `json:"policy"`
	// The n-th start in a row that failed waits Delay × Factor^(n-1), at most
	// MaxDelay, ± Jitter (0.2 = 20 %). Defaults 100ms, 2, 30s, 0.2.
	Delay    Duration `json:"delay"`
	Factor   float64  `json:"factor"`
	MaxDelay Duration `json:"max_delay"`
	Jitter   float64  `json:"jitter"`
	// MinUptime: an exit before it (or before ready) is a failed start. Default 1s.
	MinUptime Duration `json:"min_uptime"`
	// ResetAfter this long ready, the delay starts from Delay again. Default 30s.
	ResetAfter Duration `json:"reset_after"`
	// Limit failed starts within Window make the worker failed. Defaults 10, 60s.
	// 0: no limit.
	Limit  int      `json:"limit"`
	Window Duration `json:"window"`
}

// Stop rules how a worker is ended.
type Stop struct {
	// Signal sent to the main process, e.g. SIGTERM; then, once that has left,
	// to the rest of its group. "": what the program is known to want (launch
	// knows), else SIGTERM.
	Signal string `json:"signal"`
	// Timeout until everything left is killed. Default 30s.
	Timeout Duration `json:"timeout"`
	// Command is run instead of Signal, with MAINPID set. nil: none.
	Command []string `json:"command,omitempty"`
	// Message is a text sent over the worker's channel before the signal, such as
	// "shutdown", for programs that wait for it (process.on('message')). "": none.
	Message string `json:"message,omitempty"`
}

// SurgeAuto lets muster choose: Batch; 0 when the workers hold ports of their own;
// the whole pool for programs that hang up on keep-alive clients when they stop.
const SurgeAuto = -1

// Reload rules a rolling replacement.
type Reload struct {
	// Batch is how many slots are replaced at a time. Default 1.
	Batch int `json:"batch"`
	// Surge is how many workers may run beyond the pool's size, 0 to Batch;
	// with 0 the old worker stops before the new one starts. Default SurgeAuto.
	Surge int `json:"surge"`
	// ReadyTimeout overrides Ready.Timeout during a reload; 0: no override.
	ReadyTimeout Duration `json:"ready_timeout,omitempty"`
	// Soak is how long a new worker must stay ready before the old one drains.
	Soak Duration `json:"soak,omitempty"`
}

// Limits of one worker.
type Limits struct {
	// Memory in bytes, over the whole group: above it the worker is replaced.
	// Checked every 5 s. 0: none.
	Memory Bytes `json:"memory,omitempty"`
	// CPU in cores (0.5 = half a core), by cgroup; 0: none.
	CPU float64 `json:"cpu,omitempty"`
	// NoFile is RLIMIT_NOFILE; 0: unchanged.
	NoFile uint64 `json:"nofile,omitempty"`
	// Nice -20 to 19, OOMScore -1000 to 1000; nil: unchanged.
	Nice     *int `json:"nice,omitempty"`
	OOMScore *int `json:"oom_score,omitempty"`
	// Core is RLIMIT_CORE in bytes; nil: unchanged.
	Core       *Bytes `json:"core,omitempty"`
	NoNewPrivs bool   `json:"no_new_privs,omitempty"`
}

// Condition is what a dependency must have reached.
type Condition string

// The conditions of depends_on.
const (
	Started   Condition = "started"   // its workers have been started
	IsReady   Condition = "ready"     // all of its workers are ready
	Completed Condition = "completed" // a task that has ended with 0
)

// Dependency is one line of depends_on.
type Dependency struct {
	App       string    `json:"app"`
	Condition Condition `json:"condition"`
}

// LogTarget is where an app's output goes besides memory.
type LogTarget string

// The log targets.
const (
	LogFile     LogTarget = "file"
	LogJournald LogTarget = "journald"
	LogSyslog   LogTarget = "syslog"
	LogNone     LogTarget = "none"
)

// Log rules what is done with a worker's output.
type Log struct {
	Target LogTarget `json:"target"`
	// File overrides the path (default: logs/APP.log in the state directory).
	File string `json:"file,omitempty"`
	// Format of the file's lines: json or text.
	Format string `json:"format"`
	// Show prints the lines in the foreground. Default true; output is always captured.
	Show bool `json:"show"`
	// LineMax in bytes: a longer line is cut there and marked. Default 64 KiB.
	LineMax Bytes `json:"line_max"`
	// MaxSize of a file before it is rotated (50 MB), MaxFiles kept (10).
	MaxSize  Bytes `json:"max_size"`
	MaxFiles int   `json:"max_files"`
	// Lines kept in memory per worker. Default 1000.
	Lines int `json:"lines"`
}
