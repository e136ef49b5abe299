package keeper

import (
	"encoding/json"
	"os"
	"syscall"
)

// orders are what an agent may ask of the root process beside Starter and Store.
// The server calls them in the order in which the agent asked; they do not block.
type orders interface {
	// up: the agent serves.
	up()
	// end: the agent is about to exit orderly; code is that of muster.
	end(code int)
	// upgrade: start exe, which is taken over, when this agent has left; what is
	// told to the next agent in Hello.Upgrade (with the fault where it failed).
	upgrade(exe *os.File, what json.RawMessage)
	// obeys: a successor of this agent shall be told of the signal, too, until
	// muster has ended. (TERM, INT and QUIT are told without being asked for; HUP
	// asks for the end only of a muster in the foreground of a terminal.)
	obeys(sig syscall.Signal)
}

// What the root process uses of the server:
//
//	newServer(d *process.Direct, s *process.DirectStore) *server   one for the keeper's life: exits are delivered through it
//	(*server) serve(fd int, h Hello, o orders) *session            takes the keeper's end of the socket over; answers the handshake
//	(*session) forward(sig syscall.Signal)                         never blocks; waits for the handshake
//	(*session) close()                                             after the agent has exited: carries out what it had sent
//	                                                               up to the end of the socket, then returns
//	(*server) close()
