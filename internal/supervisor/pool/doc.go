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
//   - Record before act: a process is named by the app's record before it is
//     started, and its end is in the record before the Starter may forget it. So
//     is everything else that others see as a fact (steps.Owner.After). Only a
//     signal is sent before it is recorded.
//
// # Taking over (adopt.go)
//
// A pool is made again from its record. Of each process that it names the Starter
// knows whether it lives (it is taken up: same pid, state, what readiness still
// waits for, what is left of its deadline), has ended (as if that came now, with
// its true code), or was never started (it is started; no restart is counted). A
// rollout goes on: what has taken its slot stays, a candidate is taken up as one,
// the rest follows; what was being undone goes on being undone; a preparation is
// done again. Only the renewal of one unwell worker is dropped: its health check
// asks again. Orders that wait in line are lost with their clients, but starts.
package pool
