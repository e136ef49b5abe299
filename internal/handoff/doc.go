// Package handoff deals connections to workers, on one thread of its own: it
// accepts for workers that take connections over their channel, and watches over
// workers that accept for themselves.
//
// # Model
//
//	clients ──► listening socket ──accept──► Door ──Give──► Receiver ≈≈ channel ≈≈ worker
//	                                          ▲   Seat 0                              │
//	                                          │   Seat 1      First(frame)            │
//	                                          └── Answer ◄──── Ear ◄──── ≈≈ channel ≈≈┘
//	                                                            └─► Rest(frame), beside the thread
//
// A Loop is a thread that is locked to its goroutine, with an epoll set and raw
// system calls: nothing in it is known to Go's poller, and one connection costs no
// change of goroutines. It hears channels (Ear) and runs doors. A Door is one
// listening address; a Seat is a worker's place at it. A connection is
//
//	in the kernel's queue → in hand → under way to a Seat → taken
//	                           ▲             │ refused, not sent, the Seat is Gone
//	                           └─────────────┘
//
// and is accepted only when a Seat is free, so that what nobody can take waits in
// the kernel's queue, where a successor of the agent finds it.
//
// # Policies
//
//   - round-robin: the Seat that has been free longest is next.
//   - least-connections: the one with the fewest connections open (Seat.Load), of
//     equals the one that has been free longest. Who never said a word has none.
//   - both wait up to 20 ms for a worker that is far behind the only free ones
//     (even.go), so that a burst does not end up with who happened to be quick.
//   - slots: a socket of a SO_REUSEPORT group for each slot; the kernel spreads, and
//     workers accept. The Door steers the kernel (listener.Steer) to slots that have
//     a Seat and are not stuck, and deals what waits in the queues of the others, in
//     order of arrival at the Door, to free Seats.
//
// Of a live slot nothing is polled: its socket is in the epoll set for one event.
// 50 ms after that the queue is looked at until it is empty. While it is not, the
// workers of the slot are pinged; who does not answer within 150 ms is stuck until
// it gives a sign of life. A worker that cannot be asked (Join with nil) is stuck
// when its queue does not shrink for a second and the kernel knows of a connection that
// has waited for so long (listener.Waits); it is then only steered around.
//
// # Invariants
//
//   - A connection is under way to at most one Seat at a time, under a number of its
//     own for each offer. It is taken once, or goes on: none is lost, none doubled.
//   - Every accepted descriptor is closed here, once: when it was taken, or with the
//     Door. Only the thread uses and closes one that is not under way.
//   - The thread never blocks. Loop.mu is never held while code of others runs.
//   - Nothing spins. A Seat that refuses is left alone for 5 ms, then twice as long,
//     at most 25 ms for each Seat of the Door (between 100 ms and 1 s), or until its
//     worker takes a connection or tells its load. With no descriptors left accepting
//     rests for 100 ms at a time. A listening socket whose connections nobody can
//     take is taken out of the epoll set until it was empty.
//   - A channel's frames are dealt with in order, one at a time; no channel has more
//     than 64 frames looked at before the others have their turn.
//
// # Failures
//
// Whoever gives up a worker calls Gone: only then are its connections dealt again,
// as a blocked worker may still take what it was offered. Errors of accept, of
// steering and of the epoll set are told by DoorOptions.Warn, and tried again.
// Close of a Door drops what is in hand.
package handoff
