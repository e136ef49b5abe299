// Package keeper is the root process of muster and the seam to it: the keeper
// starts programs and holds what must outlive an agent, and the agent works with
// it through a Client as it would with a process.Direct of its own.
//
//	keeper                                agent
//	  root ── starts, watches ──────────►
//	  server ─ Direct, DirectStore ◄────► Client: process.Starter, process.Store
//	           one socketpair, PROTOCOL.md
//
// # What is where
//
// The keeper forks, waits and reaps; reads the workers' pipes into spools; keeps
// descriptors by name, exits until they are acknowledged, and deadlines. The agent
// decides. It signals processes and looks at them itself, on /proc and by pidfd:
// the keeper leaves an ended process a zombie until Ack, so numbers stay true. It
// reads the files of a spool itself and asks only how far they go.
//
// # Invariants
//
//   - One session at a time. What an agent had sent before it was killed is carried
//     out before the next one is served.
//   - Requests are carried out in the order in which they came, in one goroutine;
//     only Start goes on beside. No request of an agent makes the keeper wait for
//     another process, but for a Start, and the disk of a spool.
//   - No frame makes the keeper end, and none longer than 8 MiB is read.
//   - A worker costs the keeper no goroutine and no buffer beyond Direct's.
//   - The client delivers each exit once, whether the keeper told of it in a list,
//     by itself or both; the server tells it to every agent until Ack.
//
// # Failures
//
// An agent that dies is started again by the root process. A client whose keeper
// is gone closes Lost, and every call fails at once with E-KEEPER-LOST; methods of
// a Proc work on, so that the agent can end everything. What fails of a call that
// did not wait is told by Troubles.
package keeper
