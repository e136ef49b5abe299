package fault

import "slices"

// The codes. Each has an entry in the table below.
const (
	Usage            Code = "E-USAGE"
	Config           Code = "E-CONFIG"
	PortInUse        Code = "E-PORT-IN-USE"
	Bind             Code = "E-BIND"
	BalanceKept      Code = "E-BALANCE"
	SocketPath       Code = "E-SOCKET-PATH"
	SocketGone       Code = "E-SOCKET-GONE"
	CommandNotFound  Code = "E-COMMAND-NOT-FOUND"
	CommandDenied    Code = "E-COMMAND-DENIED"
	DirMissing       Code = "E-DIR-MISSING"
	UserUnknown      Code = "E-USER-UNKNOWN"
	Permission       Code = "E-PERMISSION"
	StartFailed      Code = "E-START"
	ReadyTimeout     Code = "E-READY-TIMEOUT"
	ExitedEarly      Code = "E-EXITED-EARLY"
	Exited           Code = "E-EXITED"
	Unhealthy        Code = "E-HEALTH"
	CrashLoop        Code = "E-CRASH-LOOP"
	MemoryLimit      Code = "E-MEMORY"
	Watchdog         Code = "E-WATCHDOG"
	ListenPID        Code = "E-LISTEN-PID"
	BuildFailed      Code = "E-BUILD"
	Dependency       Code = "E-DEPENDENCY"
	TaskFailed       Code = "E-TASK"
	ReloadFailed     Code = "E-RELOAD-FAILED"
	ReloadAborted    Code = "E-RELOAD-ABORTED"
	NoHistory        Code = "E-NO-HISTORY"
	StopKilled       Code = "E-STOP-KILLED"
	NoApp            Code = "E-NO-APP"
	NotRunning       Code = "E-NOT-RUNNING"
	AgentRunning     Code = "E-AGENT-RUNNING"
	AgentUnreachable Code = "E-AGENT-UNREACHABLE"
	Denied           Code = "E-DENIED"
	Partly           Code = "E-PARTLY"
	Timeout          Code = "E-TIMEOUT"
	Interrupted      Code = "E-INTERRUPTED"
	LogWrite         Code = "E-LOG-WRITE"
	StateDir         Code = "E-STATE-DIR"
	Cgroup           Code = "E-CGROUP"
	KeeperLost       Code = "E-KEEPER-LOST"
	UpgradeFailed    Code = "E-UPGRADE"
	TornChannel      Code = "E-TORN-CHANNEL"
	BadChannel       Code = "E-BAD-CHANNEL"
	NoChannel        Code = "E-NO-CHANNEL"
	ChannelFull      Code = "E-CHANNEL-FULL"
	ChannelLost      Code = "E-CHANNEL-LOST"
	NodeLauncher     Code = "E-NODE-LAUNCHER"
	NodeFrame        Code = "E-NODE-FRAME"
	Blocked          Code = "E-BLOCKED"
	UnknownOp        Code = "E-UNKNOWN-OP"
	NoPeer           Code = "E-NO-PEER"
	PeerGone         Code = "E-PEER-GONE"
	Deadline         Code = "E-DEADLINE"
	AgentReplaced    Code = "E-AGENT-REPLACED"
	TooLarge         Code = "E-TOO-LARGE"
	TooDeep          Code = "E-TOO-DEEP"
	HandlerFailed    Code = "E-HANDLER"
	NotOwner         Code = "E-NOT-OWNER"
	TableFull        Code = "E-TABLE-FULL"
	Alone            Code = "E-ALONE"
	Heartbeat        Code = "E-HEARTBEAT"
	Crashed          Code = "E-CRASHED"
	NotifyFailed     Code = "E-NOTIFY"
	ConsoleFailed    Code = "E-CONSOLE"
	Saved            Code = "E-SAVED"
	Startup          Code = "E-STARTUP"
	Internal         Code = "E-INTERNAL"
)

// Explanation is what `muster explain` prints.
type Explanation struct {
	Code Code
	// Exit is the exit code of a command that ends with this fault.
	Exit int
	// Summary is one line; Text says how it comes about; Fix what to do.
	Summary, Text, Fix string
}

// Explain finds a code's entry; an unknown code gets Internal's with its own name.
func Explain(code Code) Explanation {
	for i := range table {
		if table[i].Code == code {
			return table[i]
		}
	}
	e := Explain(Internal)
	e.Code = code
	return e
}

// Table lists every code, in the order of the constants. The list is the caller's.
func Table() []Explanation { return slices.Clone(table) }

// table is read only: a fault is made for every request that is refused, so looking its
// code up must cost next to nothing.
var table = []Explanation{
	{Usage, 2, "the command line is not understood", "A flag or argument is unknown, missing or out of range. Nothing was done.", "see `muster help COMMAND`"},
	{Config, 2, "the configuration is not valid", "muster.yaml (or a flag of `run`) breaks a rule. All problems are listed at once with line and column, and nothing that runs was changed.", "correct the places listed; `muster validate` checks them again"},
	{PortInUse, 1, "an address is already in use", "Another process holds the address that an app wants to listen on. muster names its pid where it may see it, else the uid and the socket's inode.", "stop that process, or choose another address under listen:"},
	{Bind, 1, "a listener cannot be bound", "The system refused the address: it is not on this host, needs a privilege (ports below 1024), or its directory is missing.", "correct the address under listen:, or run muster with the privilege"},
	{BalanceKept, 1, "a listener keeps its balance", "balance: was changed, and the listener is in use. Connections may wait in its sockets, which are made for one balance, so it keeps that until the app is stopped. It serves on.", "stop the app and start it again when a short gap does no harm"},
	{SocketPath, 2, "a socket path is too long", "The kernel allows at most 104 bytes here, counting the terminating zero, so that it also holds on other systems.", "choose a shorter path, or set MUSTER_RUNTIME_DIR to a shorter directory"},
	{SocketGone, 1, "the file of a unix socket was removed", "A worker (php-fpm does so when it ends), or somebody else, removed the file of a socket that muster holds. muster looks when a worker ends, and puts the file back; until then nobody could connect.", "give the program another path to remove (php-fpm: a listen = that differs from the real path, named in FPM_SOCKETS), or find out who removes it"},
	{CommandNotFound, 1, "a program does not exist", "The first word of command: was found neither as a path nor in the worker's PATH.", "install the program, or correct command:, dir: or PATH under env:"},
	{CommandDenied, 1, "a program may not be executed", "The file exists but is not executable for the worker's user, or its interpreter is missing.", "chmod +x the file, correct its #! line, or change user:"},
	{DirMissing, 1, "a working directory does not exist", "dir: (or what its symlink points to) has vanished or is no directory.", "create the directory, or correct dir:"},
	{UserUnknown, 2, "a user or group does not exist", "user:, group: or owner: names nobody on this host.", "create the user, or correct the name"},
	{Permission, 1, "a permission is missing", "The system refused an operation that needs another user or a capability, such as changing the user of a worker.", "run muster as root, or remove the setting that needs it"},
	{StartFailed, 1, "a process could not be started", "fork or the steps before exec failed (limits, identity, cgroup).", "look at the cause in the text; it is the system's own"},
	{ReadyTimeout, 1, "a worker was not ready in time", "The process ran, but what ready: waits for did not come within its timeout. It was stopped again.", "look at its last lines; raise ready.timeout, or correct ready:"},
	{ExitedEarly, 1, "a worker ended before it was ready", "The process ended during its start.", "look at its last lines; run `muster exec APP -- COMMAND` to try it by hand"},
	{Exited, 1, "a worker ended by itself", "It had been ready, and nobody asked it to end. restart: says whether it is started again.", "look at its last lines and at the exit code or signal; `muster start APP` starts what restart: does not"},
	{Unhealthy, 1, "a worker failed its health check", "The check failed more times in a row than health.failures allows; the worker is replaced.", "look at the worker's log at that time; try the check by hand"},
	{CrashLoop, 1, "a worker keeps failing and was given up", "restart.limit starts failed within restart.window. It is not started again until someone asks for it.", "look at its last lines, correct the cause, then `muster start APP` or `muster reload APP`"},
	{MemoryLimit, 1, "a worker grew above its memory limit", "The memory of its whole group was above limits.memory; it is replaced by a new one.", "raise limits.memory, or look for the leak"},
	{Watchdog, 1, "a worker missed its watchdog", "It asked to be watched (WATCHDOG=1) and then was silent for longer than the interval.", "look at what blocked it; raise the interval"},
	{ListenPID, 1, "a worker does not use the sockets it was given", "It listens on a port of its own, or nobody accepts on an inherited listener. Usually a wrapper (npm, poetry run, uv run, sh) stands between muster and the server, so that LISTEN_PID names the wrapper.", "start the server itself: write the real command, `exec` it in the wrapper, or use {{fd:NAME}} or {{port:NAME}}"},
	{BuildFailed, 1, "the build command failed", "build: ended with a code other than 0; no worker was touched.", "look at its output, correct it, reload again"},
	{Dependency, 1, "an app waits for one that will not come", "What depends_on names has failed or was stopped.", "start or repair the dependency; the app follows by itself"},
	{TaskFailed, 1, "a task failed", "An app of type task ended with a code other than 0.", "look at its last lines; `muster start APP` runs it again"},
	{ReloadFailed, 1, "the reload was given up and undone", "A new worker failed, so every new worker was stopped; the old release serves on.", "look at the failing worker's last lines, correct the release, reload again"},
	{ReloadAborted, 1, "the reload was ended by another order", "A stop, or a reload with --now, came while it ran.", "look at `muster status`, then reload again if it is still wanted"},
	{NoHistory, 1, "there is no earlier release", "rollback goes to the release that ran before; this app has had only one.", "`muster reload APP` with the release you want"},
	{StopKilled, 0, "a worker had to be killed", "It, or a process it left behind, did not end within stop.timeout.", "raise stop.timeout, or correct stop.signal (unicorn, nginx and php-fpm want SIGQUIT)"},
	{NoApp, 4, "there is no such app or worker", "The selector matches nothing.", "`muster status` lists the names"},
	{NotRunning, 3, "it is not running", "The app or worker is stopped, so the order has nothing to act on.", "`muster start APP`"},
	{AgentRunning, 1, "an agent runs already for this project", "One agent per state directory.", "`muster status` shows it; `muster down` ends it"},
	{AgentUnreachable, 5, "no agent answers", "The control socket is missing or nobody listens on it.", "`muster up -d` starts one"},
	{Denied, 6, "not allowed", "The control socket belongs to another user, or the operation needs more rights.", "use the owner's account (sudo), or open the API to a group with control: {group: NAME}"},
	{Partly, 7, "done only in part", "Some of the selected apps or workers failed.", "the list above says which and why"},
	{Timeout, 124, "it took longer than --timeout", "The order itself goes on.", "`muster status` and `muster events` show how it ends"},
	{Interrupted, 130, "interrupted", "Ctrl-C, or a signal, ended the command. An order already given goes on.", "`muster status` shows how it ends"},
	{LogWrite, 1, "output cannot be written", "The log file's disk is full, or the file cannot be opened. Workers run on; lines stay in memory until it works again, and what had to be dropped is counted.", "free space, or correct log: (target or file) in muster.yaml"},
	{StateDir, 1, "the state directory cannot be used", "It cannot be created or written, or belongs to another user.", "correct its owner and mode, or set MUSTER_STATE_DIR"},
	{Cgroup, 1, "cgroups are not available for what was asked", "limits.cpu needs a writable cgroup v2 with the cpu controller.", "remove limits.cpu, or delegate a cgroup with that controller"},
	{KeeperLost, 1, "the keeper was killed", "The keeper, the process that muster was started as, is gone. What it held (listeners, exit codes, output) is gone with it, so the agent has ended every worker and then itself.", "`muster up` starts everything again; find out who killed it (out of memory? `journalctl -k`)"},
	{UpgradeFailed, 1, "the agent could not be replaced", "The new binary is no muster that can take over, or its agent did not come up in time. The agent before runs on (or again); no worker was touched.", "look at the cause in the text, then `muster upgrade BINARY` again"},
	{TornChannel, 1, "a worker's channel was left torn", "The agent before was killed in the middle of a large message to or from this worker. What follows cannot be read, so the worker is replaced.", "nothing; send fewer messages above 32 KiB to make it rarer"},
	{BadChannel, 1, "a worker's channel was closed", "The worker sent a line of more than 16 MiB on its channel (MUSTER_CHANNEL_FD), or a frame of Node.js's own protocol that cannot be understood. What follows cannot be told apart, so muster has closed the channel. The worker runs on without it; a Node.js worker is replaced.", "end each message with a line end, and leave cmd names that begin with NODE_ to Node.js; send what is large by a file or a socket of your own"},
	{NoChannel, 1, "a worker cannot get messages", "The worker has closed its end of the channel (MUSTER_CHANNEL_FD), or never had one that could be used. It runs on; messages do not reach it any more.", "`muster restart APP#N` gives it a new channel; a Node.js program must not call process.disconnect()"},
	{ChannelFull, 1, "a worker does not read its messages", "So much waits for this worker already that nothing more was sent to it. It is blocked, or its program does not read its channel (MUSTER_CHANNEL_FD) at all. Other workers got theirs.", "look at what blocks it (`muster logs`, `muster inspect` for Node.js), or `muster restart APP#N`; send nothing to programs that do not read"},
	{ChannelLost, 1, "a Node.js worker left its channel", "The worker closed its channel (process.disconnect()) without being asked to stop, and lives on. It gets no connections any more, so it is replaced.", "remove process.disconnect() from the program; `cluster.worker.disconnect()` is how a worker leaves"},
	{NodeLauncher, 2, "a launcher stands in front of a Node.js program", "npm, npx, tsx, nodemon and their kin are Node.js programs themselves and start the server in a process of its own. They would take the channel that the server needs, so it is no worker of Node's cluster: its workers cannot share a port, and connections cannot be handed over. muster looks through `npm start`, `npx NAME`, yarn, pnpm, cross-env and tsx where the script in package.json is one simple command.", "write the node command itself (`command: node server.js`), or `node: {cluster: off}` for a program that shares no port"},
	{NodeFrame, 1, "a Node.js worker says what it cannot mean", "On the channel of Node.js's cluster a worker sent something that nobody asked for, or that muster does not know. It was ignored; each kind is told once for a worker.", "nothing, if the worker serves; else look for a library that speaks on process.channel by itself"},
	{Blocked, 1, "a worker takes no connections", "Connections wait in the queue of the worker's own socket (balance: slots), and it has taken none of them for more than a second: it is blocked, or waits for something. New connections go to the other workers, and so do those that wait, where the program can be given connections (Node.js). What the worker has accepted already waits with it.", "look at what blocks it (`muster logs`, `muster inspect` for Node.js); more workers, or `balance: shared` for a program that takes one request at a time"},
	{UnknownOp, 1, "nobody knows this operation", "The operation is none of muster's own, and no listener of the application answers it; or the worker that it was sent to has no code for it.", "check the spelling of the op; register a handler for it in the receiver"},
	{NoPeer, 1, "there is nobody to ask", "The selector matches no running process that takes part in operations. A worker takes part once its program has opened the SDK (or said hello on its channel).", "`muster status -o json` says which workers run and have joined; open the SDK in the program (docs/tasks/operations.md)"},
	{PeerGone, 1, "who was asked has ended", "The process ended, or left its channel, before it replied. What it had done by then is not known.", "ask again if that does no harm"},
	{Deadline, 124, "no reply before the deadline", "The request reached its receiver, or muster, but no reply came in time. A reply that comes later is dropped. What was asked may have been done.", "give it more time; look at what keeps the receiver busy"},
	{AgentReplaced, 1, "the agent was replaced meanwhile", "The agent was killed or upgraded while this was under way. It may have been done, or not. muster never repeats by itself what would do harm twice.", "ask again if that does no harm"},
	{TooLarge, 2, "the message is too large", "A body may have 1 MiB of JSON. Nothing was sent.", "send less at a time, or the name of a file"},
	{TooDeep, 1, "messages answer each other in a circle", "The message was sent while handling a message, that one while handling another, and so on, 16 times. Usually two handlers broadcast to each other.", "look for a handler that sends what it handles itself; send it from outside the handler if it is meant"},
	{HandlerFailed, 1, "the receiver's own code failed", "The code that handles this operation returned an error or threw. Its text is in the message; the receiver runs on.", "look at the receiver's log"},
	{NotOwner, 1, "the lock belongs to somebody else", "The token is not that of the present owner: the lease has ended, or the owner's process has, and the lock may have been given to another.", "stop what the lock protected; take the lock again"},
	{TableFull, 1, "too many names are in use", "A table of limiters, locks, counters, caches or subscriptions is full. Names in use are never dropped for new ones.", "use fewer names: a limiter per user is fine, one per request is not"},
	{Alone, 1, "the program does not run under muster", "The operation needs other processes, and this one has none: it was started by hand.", "start it by `muster run` or `muster up`"},
	{Heartbeat, 1, "a worker has been silent", "It has sent no sign of life for longer than heartbeat.interval. After heartbeat.kill it is stopped and replaced.", "look at what blocks it; raise heartbeat.interval"},
	{Crashed, 1, "a worker's own code failed", "A panic or an exception that nobody caught; the worker's SDK has reported it with its stack.", "look at the stack; correct the code"},
	{NotifyFailed, 1, "a notification was not delivered", "The receiver did not answer in time, or with an error. Workers are not affected.", "`muster notify test NAME` tries it again; correct notify: in muster.yaml"},
	{ConsoleFailed, 1, "the console cannot be opened", "The worker takes part in no operations, has no console of its own, or its socket cannot be reached.", "open the SDK in the program (docs/tasks/console.md)"},
	{Saved, 1, "what ran cannot be saved or read back", "muster keeps in its state directory what a project ran, so that it starts again after a reboot. That file is missing, damaged, or cannot be written. What runs is not touched.", "free space, or correct the owner and mode of the state directory; a damaged file may be removed"},
	{Startup, 1, "the start at boot cannot be arranged", "The unit cannot be written or enabled, is not muster's own, or this host is started by something else than systemd.", "look at the cause in the text; `muster startup systemd --print` shows the unit, to install it by hand"},
	{Internal, 1, "an error inside muster", "Something failed that muster has no better word for.", "`muster events` and the agent's log say more; please report it"},
}

// ExitCode is the exit code for an error: 0 for nil, its code's for a fault, else 1.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	if code := CodeOf(err); code != "" {
		return Explain(code).Exit
	}
	return 1
}
