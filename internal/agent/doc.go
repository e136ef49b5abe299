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
// # Invariants
//
//   - One agent for a project: the lock is taken on a file in the state
//     directory before anything else is touched, and the kernel gives it up
//     when the process ends, however it ends.
//   - Run returns only when no worker, and nothing that came from one, is left.
//   - The first stop request decides the exit code; a later one can only make
//     the end faster.
//   - A configuration that cannot be loaded changes nothing that runs.
//
// # Failures
//
// Only the control server and the supervisor are essential: when one of them
// cannot start, New returns its fault and undoes what it had acquired. A hook
// that fails or hangs is reported and never keeps the agent from ending.
package agent
