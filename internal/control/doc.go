// Package control serves the HTTP API of an agent over a UNIX socket.
//
// Model: one table (api.go) lists every route with its verb, its access, the
// types it reads and answers and one line of text. The table drives the mux,
// prints OpenAPI 3.1 and the Markdown reference, so that none of them can
// differ from another. Each resource is one file here and one of the same stem
// in client: status, apply, orders, logs, events, agent.
//
//	connection → limit → peer credentials → mux → access → decode → call → answer
//
// Invariants:
//   - Who asks is what the kernel says of the peer (SO_PEERCRED), never what the
//     request says. Root and the owner may do everything, members of the group
//     too where there is one; everybody else is answered 403.
//   - Every order is published as event.Order with the uid and pid of its giver
//     before it is carried out.
//   - Size limits hold before anything is decoded; decoding is strict.
//   - Streams (events, logs) never make a publisher wait: a reader that is too
//     slow is cut off or loses records, and is told so.
//   - A client that goes away ends the wait for its order, not the order.
//
// Failures: every answer from 400 on is api.Failure, a fault with a stable
// code; its exit code picks the HTTP status (see statusOf). A panic in a route
// becomes a 500 with E-INTERNAL and a warning event; the agent goes on.
//
// A Server may be used by many goroutines; Serve is called once.
package control
