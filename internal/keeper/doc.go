// Package keeper is the seam of process across a socket: the root process (the
// keeper) starts programs and holds what must outlive an agent, and the agent
// works with it through a Client as it would with a process.Direct of its own.
package keeper
