package op

// What a process asks of muster (a Frame without To). Each has its body in bodies.go
// and is described in OPERATIONS.md.
const (
	Hello     = "hello"     // takes part from now on
	Ping      = "ping"      // answered with its own body
	Heartbeat = "heartbeat" // a sign of life
	Crash     = "crash"     // an error that nobody caught; the exit follows
	Lifecycle = "lifecycle" // a line about itself for people
	Peers     = "peers"     // who could hear a selector

	Publish     = "publish"
	Subscribe   = "subscribe"
	Unsubscribe = "unsubscribe"
	Listen      = "listen"   // hear what others send to muster
	Unlisten    = "unlisten" // not any more
	AddCommands = "commands:add"
	DelCommands = "commands:remove"
	Commands    = "commands" // which there are

	Kill         = "kill"
	Restart      = "restart"
	Reload       = "reload"
	Status       = "status"
	SetPort      = "set-port"
	SetProbe     = "set-probe"
	ConfigReload = "config:reload"

	LimiterTake = "limiter:take"
	LockAcquire = "lock:acquire"
	LockRenew   = "lock:renew"
	LockRelease = "lock:release"
	CounterAdd  = "counter:add"
	CounterGet  = "counter:get"
	CacheUse    = "cache:use"  // hear what is removed from a cache
	CacheDel    = "cache:del"  // remove a key everywhere
	CacheDrop   = "cache:drop" // remove all keys everywhere
)

// What muster tells or asks a process.
const (
	AgentNew      = "agent:new"      // another agent goes on
	Gap           = "gap"            // messages were dropped, as too much waited
	Message       = "message"        // something published (Frame.Channel)
	ConfigChanged = "config:changed" // the process's app has other settings
	ConsoleOpen   = "console:open"   // open a console, answer where
	ConsoleClose  = "console:close"
	CommandRun    = "commands:run" // somebody typed a command of the process's
	// CacheDel and CacheDrop, too.
)

// LifeChannel is where the life of workers is published: worker:start, worker:online,
// worker:ready, worker:listen, worker:drain, worker:disconnect, worker:exit,
// worker:failed, reload:progress and reload:end, each as the message's op.
const LifeChannel = "muster:life"
