// Package muster runs your own program as a supervised pool of worker processes: in the
// same binary, without an agent beside it.
//
//	func main() {
//		if worker.IsWorker() {
//			os.Exit(worker.Run(worker.Options{}, serve))
//		}
//		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
//		defer stop()
//		if err := muster.Run(ctx, muster.Options{Workers: 4, Listen: []string{":8080"}}); err != nil {
//			log.Fatal(err)
//		}
//	}
//
// # Model
//
//	this process: Pool ─ supervisor ─ starts, watches, replaces ─► the same binary, as workers
//	                 └─ exchange ◄─ channel of each worker (package worker) ─► Peer of the Pool
//
// The Pool binds the listeners and keeps them: a worker that dies, and a Reload, lose no
// connection. What the workers are, and how they are started, checked, stopped and
// replaced, is a spec.App with the defaults of muster; Self makes one of this program.
// The Pool is a peer.Peer: it asks its workers and is asked by them, publishes, and shares
// limiters, locks, counters and caches with them.
//
// # Invariants
//
//   - One process has one Pool at a time, and a worker has none: Start fails there.
//   - Workers do not outlive this process, also when it is killed.
//   - What the program calls back (On, Handle, OnEnd) may panic or hang without harm to
//     the supervision.
//   - Signals are the program's own affair: the context's end is the graceful stop.
//     Children that the program starts by itself are left alone.
//
// # Importing it
//
// Each start of a worker goes through a step in the worker's own process: this binary,
// run under the name process.StepArg. The package takes it up before main begins, so
// main never sees it.
//
// # Failures
//
// Every error is a *fault.Fault with a stable code. Start returns the reason why no
// worker came up, with its last lines; a Reload that fails has changed nothing.
package muster
