// Package operations composes what the processes of a project ask of each other and
// of muster: the exchange, the primitives, the orders that a worker may give, the
// clients of the control API that take part, and the life of workers as messages.
//
//	worker ─► attempt ─► exchange ─┬─► other workers, clients
//	client ─► control ─► Join ─────┤
//	                               ├─► primitives (limiter, lock, counter, cache)
//	                               └─► orders ─► supervisor, agent
//	event.Hub ─► life ─► exchange, channel "muster:life"
//
// A worker may order what concerns its own app; other apps need allow: [orders], the
// agent itself allow: [stop_agent]. Clients may do what the control API lets them do.
package operations
