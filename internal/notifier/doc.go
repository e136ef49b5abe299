// Package notifier tells people outside what happens to the workers: by a web hook
// (Slack, Discord, Teams and ntfy are bodies of it), by mail, or by a command (S1.8).
//
// # Model
//
//	event.Hub → watch (occasions) → note → one queue per notifier → delivery → event.Notified
//
// Occasions: started (the agent's first start; with the session key where there is a
// control.listen to use it at), crash (a worker went by accident, or is replaced as it
// is not well), gave_up (it will not be started again), recovered (it is ready after
// either). A worker that fails again before it has recovered is not told of again: its
// failures are counted, and the next note says how many.
//
// # Invariants
//
//   - Nobody waits for a notifier: each has a queue of queueMax notes and a goroutine
//     of its own. What does not fit, or exceeds Notifier.Rate in a minute, is counted;
//     the last of it (of gave_up before others) is told with that count when there is
//     room again.
//   - Each delivery has a result, which is an event, without the secrets of its URL.
//   - Texts are masked (spec/secret) and cut; values are put into a body as JSON text,
//     so that no output of a worker can change its shape.
//   - The session key is in the note for started only, and never in an event.
//
// # Failures
//
// A delivery is tried three times (after 1 s and 5 s) where that may help: no
// connection, time out, status 429 or 5xx. Redirects are not followed. What waits when
// the agent is killed is lost.
package notifier
