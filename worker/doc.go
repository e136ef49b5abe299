// Package worker is the SDK of a Go program that muster runs. The same program runs
// alone, unchanged, when it is started by hand.
//
//	func main() { os.Exit(worker.Run(worker.Options{}, serve)) }
//
//	func serve(ctx context.Context, w *worker.Worker) error {
//		l, err := w.Listen("tcp", ":8080") // the one that muster holds, or its own
//		if err != nil {
//			return err
//		}
//		return w.Serve(l, &http.Server{Handler: routes(w)}) // ready, and drained at the end
//	}
//
// # Model
//
//	MUSTER_CHANNEL_FD ─► wire ─┬─ operations ─► peer.Peer (embedded in Worker)
//	                           ├─ connections ─► dealer ─► Listen (balance:)
//	                           └─ messages of users, pings
//	SIGTERM, end of the cluster ─► Draining ─► Run's function returns ─► OnStop ─► exit code
//
// A Worker is a peer.Peer: it asks, answers, publishes and shares limiters, locks,
// counters and caches with the other processes of the project. Besides it listens, says
// that it is ready and alive, ends in order, and reports what nobody caught.
//
// # Invariants
//
//   - One process has one Worker, however often it is opened.
//   - Opening takes the channel from the environment, so that programs it starts do not
//     take themselves for workers.
//   - Outside muster, or with MUSTER_SDK=off, nothing fails for want of it: Listen binds,
//     Ready does nothing, primitives work within the process, and only what needs others
//     says E-ALONE.
//   - A panic in Run's function, or in a goroutine begun by Go, is reported with its
//     stack; then OnStop's functions run, at most for Options.StopTimeout, and the exit
//     code is 1. Nothing that hangs keeps the process from its end.
//   - The console listens only while muster wants it to, for the owner alone.
//
// # Failures
//
// Every error is a *fault.Fault with a stable code (see package peer). When the channel
// ends, the program serves on by itself.
package worker
