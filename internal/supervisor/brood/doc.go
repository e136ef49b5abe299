// Package brood is the forks of a Node.js program that is its own primary: one that
// calls cluster.fork() in an app with `node: {cluster: delegate}`
// (internal/nodejs/PROTOCOL-delegate.md).
//
// # Model
//
//	program ── MUSTER_FORK ─→ Brood.Take ─→ fork: an attempt.Attempt, member of the app's Primary
//	   ↑                                      │
//	   └────────── NODE_MUSTER ←── online, listening, message, output, disconnect, exit
//
// A Brood belongs to one process of the program, and hangs on its Attempt as
// attempt.Kin. Each fork is an Attempt like that of a worker: a process of its own with
// a channel, started by the Starter, asked to end in Node's way. What is told of a
// worker to its owner is told of a fork to the program. Everything is in the goroutine
// of the pool, but for Take and what passes messages on.
//
// # Invariants
//
//   - A fork is recorded before it is started, and its frame leaves the program's
//     socket once it runs or could not be started. So a successor finds it running, or
//     hears the frame again.
//   - Nothing is told before it is recorded. What may have been told already a
//     successor tells again; delegate.cjs takes each once.
//   - Forks end with their program: Gone of the program comes after theirs.
//
// # Failures
//
// A fork that cannot be started is told as failed, with a code and what to do, and
// warned of. One whose channel cannot be understood is killed; the program hears of its
// exit. A message for a fork that does not read is dropped, with a warning; a fork
// whose program does not read waits with what it says.
package brood
