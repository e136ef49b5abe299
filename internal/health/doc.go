// Package health repeats a check of one worker and says what its results mean.
//
// # Model
//
//	spec.Health → NewProbe → Watch (every interval) → Result → Tracker → Verdict
//
//	            first success             failure
//	 Starting ─────────────────▶ Healthy ─────────▶ Failing ──▶ Unhealthy
//	    │ ▲                         ▲                  │  Failures in a row
//	    └─┘ failure                 └── success ───────┴───────────┘
//
// A Probe is one check. Watch repeats it; a Tracker, a plain value of the
// supervisor, turns results into verdicts. Neither acts: what to do with an
// unhealthy worker, and how long a start may take, is for the supervisor.
//
// # Invariants
//
//   - Checks of one worker never overlap, and each has its own timeout.
//   - Checking goes on after a failed, hanging or panicking check, always, until
//     the context ends; an interval is never below MinInterval.
//   - Failures before the first success are start-up and never count (S1.12).
//   - A success resets the count.
package health
