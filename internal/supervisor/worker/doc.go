// Package worker is the state machine of one worker: a slot's process of one
// generation, and what follows it. Package pool owns the workers of an app; a
// worker sees its pool through a Home, and everything of it happens in the pool's
// goroutine.
//
// # The state machine of a worker
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
// timer. A planned end (record.Stop, record.Again) is never an accident; an end that
// muster itself forces on a worker that failed (condemn) always is.
//
// Record before act: the pool records what a step has changed, and only then are
// programs started and exits acknowledged (Home.After).
package worker
