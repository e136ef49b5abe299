// Package agent puts the parts of one agent together and runs them: the
// project's directories and lock, the Starter and the Store, the event hub, the
// supervisor, the control server and the metrics.
//
// # Life of an agent
//
//	New    directories -> lock -> hub -> starter -> supervisor -> control server
//	Run    apply the spec -> READY=1 -> signals, stop requests, "all ended"
//	       -> stop every worker in reverse order -> on_exit hooks -> tear down
//
// Each part registers its teardown on the line after it was acquired; Run
// undoes them last in, first out.
//
// # With a keeper
//
// The keeper starts the processes and holds what must outlive the agent, by name:
// the lock, the control listener, the records. An agent that finds the record of
// one before it goes on where that one was: New takes lock and listener over and
// the supervisor adopts the workers; Run applies nothing, and goes on with an end
// that had begun. An agent that leaves for an upgrade unlinks and releases
// nothing. The lock's text is the keeper's pid, and the lock ends with the keeper.
//
// # Invariants
//
//   - One agent for a project: the lock is taken on a file in the state
//     directory before anything else is touched, and the kernel gives it up
//     when the keeper (without one, the agent) ends, however it ends.
//   - Run returns only when no worker, and nothing that came from one, is left.
//   - The first stop request decides the exit code; a later one can only make
//     the end faster.
//   - A configuration that cannot be loaded changes nothing that runs.
//
// # Failures
//
// When the keeper is gone, everything that runs is killed within a second, and Run
// returns E-KEEPER-LOST: exits, listeners and output are gone with it.
//
// Only the control server and the supervisor are essential: when one of them
// cannot start, New returns its fault and undoes what it had acquired. A hook
// that fails or hangs is reported and never keeps the agent from ending.
package agent
