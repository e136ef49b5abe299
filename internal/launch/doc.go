// Package launch turns an app's command line into the process of one worker, and
// knows the programs that really serve behind it.
//
// # Model
//
//	spec.App ─ ResolveDir ─▶ Worker ─ Command ─▶ process.Command
//	argv ─ through env, bundle exec, python -m, #! … ─▶ program ─▶ hint (stop signal, warning)
//
// Command is pure but for looking up users: the same Worker gives the same
// process. Files, output and Meta are added by the supervisor, LISTEN_FDS and its
// kin by the exec step of process.
//
// # The environment of a worker
//
// Later lines win:
//
//	Spec.Environ        without what was meant for muster itself (LISTEN_FDS …)
//	HOME USER LOGNAME   of the app's user, when it has one; NODE_APP_INSTANCE
//	App.Env, SlotEnv    with {{fd:NAME}} and {{port:NAME}} replaced
//	PORT, PORT_NAME     as the app's ports say for this slot
//	MUSTER_APP, MUSTER_ROLE, MUSTER_WORKER (slot), MUSTER_GENERATION, MUSTER_RELEASE,
//	MUSTER_NODE
//	NOTIFY_SOCKET, WATCHDOG_USEC, MUSTER_CHANNEL_FD, PWD
//	NODE_CHANNEL_FD, NODE_UNIQUE_ID … for Node.js; MUSTER_DEALT=1 for any other program
//	that is to take connections over its channel, MUSTER_COUNT=1 beside both for one
//	that is to tell how many it has open
//	MUSTER_FORK=1 (internal/supervisor/brood) for a fork of a program that is its own
//	primary: it takes no part in operations
//
// # Invariants
//
//   - A simple shell command is exec'd, so that its pid is the program's own.
//   - Hints and advice never change what is run; only StopSignal is a default that
//     the configuration overrules.
//
// # Failures
//
// Errors are faults: DirMissing, UserUnknown, Config (an unknown {{fd:NAME}}).
package launch
