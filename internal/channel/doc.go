// Package channel carries frames with file descriptors over a socketpair: the one
// channel between an agent and a worker in any language, compatible on the wire
// with Node.js, and the road of the keeper's protocol. PROTOCOL.md describes it.
//
// # Model
//
//	Send → (queue, when the socket is full) → sendmsg ≈≈ socket ≈≈ recvmsg → Receive
//
// A frame is one JSON value on one line. A descriptor rides on the first byte of
// its frame and belongs to it. The package knows lines and descriptors; what a
// frame says is its users' affair, but for Command, which tells the commands of
// Node.js and muster from messages of user code.
//
// # Invariants
//
//   - Frames leave in the order of Send. A frame of at most AtomicMax bytes leaves
//     whole, in one sendmsg, or not at all.
//   - Send and Close never wait for the other side.
//   - Memory is bounded: by FrameMax for what comes in, by QueueMax (and fdQueueMax
//     descriptors) for what waits to go out.
//   - Each received descriptor is close-on-exec, and is either given to the
//     receiver in a Frame or closed here.
//   - The open files are non-blocking and stay so; received descriptors are never
//     touched by Go's poller.
//   - With Options.Peek the socket loses a line only whole: one without descriptors
//     when the receiver comes for the next one (it has dealt with it then), one with
//     descriptors when it is handed out. So a receiver that is killed leaves to its
//     successor, on a copy of the same descriptor, all it had not dealt with.
//   - With Options.Driven the one who waits asks for frames (Next) instead of being
//     blocked (Receive). Frames that it says do no harm twice (Pass) may stay in the
//     socket, up to 1 KiB of them, until others follow.
//   - Options.Torn is told before the first byte of a frame that cannot leave (or,
//     with Peek, be taken) at one stroke, and after its last.
//
// # Failures
//
// Receive returns io.EOF when the other side has ended, ErrFrameTooLong, or an
// error of the system, and the same ever after. Send returns ErrFull when the
// other side does not read, ErrGone when it has ended. Descriptors that the kernel
// had to drop (the process had too many open) are reported by Frame.Truncated.
package channel
