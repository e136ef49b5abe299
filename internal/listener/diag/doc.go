// Package diag asks the kernel for TCP sockets (NETLINK_SOCK_DIAG) and lets it choose
// them by port and state. The tables of /proc/net print every socket of the host
// first, those in TIME_WAIT included, which takes seconds where there are many.
//
// # Model
//
// TCP is one question on a socket of its own: a dump of the caller's network
// namespace. It needs no privilege. The kernel goes through its table without
// printing what was not asked for: milliseconds for a hundred thousand sockets.
//
// # Invariants
//
//   - A dump is whole, or an error: half of an answer is never returned.
//   - A question takes a second at most.
//   - Nothing is remembered: every call is one look. Safe for concurrent use.
//
// # Failures
//
// A kernel without sock_diag, a sandbox that forbids it, or one that plays a kernel:
// every error means that the caller is to look elsewhere.
package diag
