// Package supervisor owns the workers of one host. It knows no bus, no HTTP and
// no metrics: it gets a spec, a Starter, a Store and an event hub, and offers
// Apply, the orders (Start, Stop, Restart, Reload, Rollback, Scale, Signal, Message),
// Snapshot and Shutdown.
//
// # Inner rooms
//
//	supervisor            which apps there are, selectors, order by depends_on
//	supervisor/pool       the workers of one app: slots, orders, rollout
//	supervisor/worker     one worker: its state machine
//	supervisor/generation what they run: release, directory, listeners, build
//	supervisor/attempt    one process of a worker: readiness, health, stop, clearing
//	supervisor/primary    what Node.js workers listen on, and what they are answered
//	supervisor/mail       messages to workers, and between them
//	supervisor/steps      one goroutine that owns something; record before act
//	supervisor/record     what is written down for a successor
//	supervisor/backoff, human, need, surge   decisions, apart from the state they need
//
// Facts rise as calls in the owner's goroutine (attempt → worker → event.Hub);
// orders fall as method calls (Supervisor → Pool → worker → attempt). Read
// worker/worker.go for the state machine; its diagram stands in worker/doc.go.
//
// # Dependencies between apps
//
// A start waits, in the background, until every dependency has reached its
// condition; when one has failed for good the order is told at once (E-DEPENDENCY),
// but the app still follows by itself once the dependency was repaired. Stops
// of several apps end dependents first. A dependency that goes away later does
// not touch its dependents.
//
// # Successors
//
// What must outlive a Supervisor is with the Starter (processes and their exits)
// and in the Store (listeners, sd_notify sockets, records, the logs' intents).
// One that finds the records of another goes on where that one was, wherever that
// was: New returns when everything is taken over. Leave is the orderly way to make
// room; being killed at any moment is the other, and comes to the same. What no
// record names is killed, or closed.
package supervisor
