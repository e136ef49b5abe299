// Package pool is the workers of one app: it starts them, starts them again
// after accidents, replaces them by new releases, and ends them.
//
// # Model
//
//	Pool (one app, one goroutine) ─ slot (0 … n-1) ─ worker ─ attempt
//
// The pool's goroutine owns everything below it. Whatever happens (an exit, a
// timer, an order) is a step in the pool's inbox; steps never block, and after
// each one the pool settles: the rollout takes its next step, waiters are told,
// the human state is computed.
//
// A slot outlives its workers and holds what an operator counts by: restarts,
// last exit. In a rollout a slot has two or three workers: the one that counts
// (cur), the candidate (next), and those that drain (old).
//
// # The state machine of a worker (worker.go)
//
//	           ┌────────────── start ◄──────────────┐
//	           ▼                                    │ back-off over
//	       starting ── ready ────► ready            │
//	        │  │  └─────┐          │  │             │
//	 start  │  │ stop,  │ exit     │  │ exit        │
//	failed  │  │ late   ▼          │  ▼             │
//	        │  │      stopping ◄───┼──────────┐     │
//	        │  └──► draining ◄─────┘          │     │
//	        │          │  exit, or too late:  │     │
//	        │          └── SIGKILL ───────────┘     │
//	        │        stopping: the group is cleared │
//	        │          │ gone                       │
//	        ▼          ▼                            │
//	       accident? ──► stopped (planned) · failed · backoff
//
// Every state that waits has an exit on failure: starting has the ready
// timeout, draining the stop timeout, stopping ends by SIGKILL, back-off by its
// timer. A planned end (goalStop, goalAgain) is never an accident; an end that
// muster itself forces on a worker that failed (condemn) always is.
//
// # Invariants
//
//   - A worker counts as gone only when its main process, its process group,
//     its strays and its cgroup are empty and its output is recorded.
//   - A listener is bound before the first worker that gets it and closed after
//     the last process of its app, or of the rollout that gave it up, is gone.
//   - At most one rollout runs; orders that need the pool at rest wait in line
//     behind it. A stop ends the rollout, clears the line, and makes starts void
//     that still wait for a dependency. A retired pool is not started again.
//   - A panic in one step marks the app as failed and touches no worker (S1.7).
package pool
